//! Oversize packets: their senders are told the MTU, by switches and by bridges.

use etherparse::{Icmpv4Slice, Icmpv4Type, Ipv4Header, Ipv4HeaderSlice, icmpv4::DestUnreachableHeader};
use mvpnet_switch::{
    Bridge, BridgeConfig, BridgeVerdict, Config, Delivery, DropReason, Ingress, Instant, MacAddr, MacPolicy,
    ReplyKind, Switch, Topology, Verdict,
};

use crate::frames::*;

const TOO_BIG: Verdict = Verdict::Reply(ReplyKind::TooBig);
const OVERSIZE: Verdict = Verdict::Drop(DropReason::Oversize);

/// From rank 0 to rank 1, one byte too long for the default MTU.
fn packet_v4() -> Vec<u8> {
    ipv4(1501, rank(0), rank(1), |_| ())
}

fn packet_v6() -> Vec<u8> {
    ipv6(1501, rank(0), rank(1), 6, &[])
}

/// What the message says, and what it quotes, if it is a message to rank 0 from the packet's destination.
fn read_v4(reply: &[u8], len_of_tags: usize) -> (u16, Vec<u8>) {
    assert_eq!(reply[..12], [rank(0).mac().octets(), rank(1).mac().octets()].concat());
    let packet = &reply[14 + len_of_tags..];
    let ip = Ipv4HeaderSlice::from_slice(packet).unwrap();
    assert_eq!(ip.to_header().calc_header_checksum(), ip.header_checksum());
    assert_eq!((ip.source_addr(), ip.destination_addr()), (rank(1).ipv4(), rank(0).ipv4()));
    assert_eq!(ip.protocol().0, 1);
    let message = &packet[20..usize::from(ip.total_len())];
    let icmp = Icmpv4Slice::from_slice(message).unwrap();
    assert_eq!(icmp.header().icmp_type.calc_checksum(icmp.payload()), icmp.checksum());
    let Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }) =
        icmp.icmp_type()
    else {
        panic!("{:?}", icmp.icmp_type());
    };
    (next_hop_mtu, icmp.payload().to_vec())
}

fn read_v6(reply: &[u8]) -> (u32, Vec<u8>) {
    assert_eq!(reply[..12], [rank(0).mac().octets(), rank(1).mac().octets()].concat());
    let (ip, message) = icmpv6_of(reply);
    assert_eq!((ip.source, ip.destination), (rank(1).link_local().octets(), rank(0).link_local().octets()));
    assert_eq!(message[..2], [2, 0]);
    assert!(40 + message.len() <= 1280);
    (u32::from_be_bytes(message[4..8].try_into().unwrap()), message[8..].to_vec())
}

#[test]
fn the_sender_of_an_oversize_ipv4_packet_is_told_the_mtu() {
    let mut switch = switch();
    let frame = packet_v4();
    assert_eq!(from_guest(&mut switch, &frame), TOO_BIG);
    let (mtu, quote) = read_v4(switch.reply(), 0);
    assert_eq!((mtu, quote.len()), (1500, 576 - 28));
    assert_eq!(quote, frame[14..14 + quote.len()]);
}

#[test]
fn the_sender_of_an_oversize_ipv6_packet_is_told_the_mtu() {
    let mut switch = switch();
    let frame = packet_v6();
    assert_eq!(from_guest(&mut switch, &frame), TOO_BIG);
    let (mtu, quote) = read_v6(switch.reply());
    assert_eq!((mtu, quote.len()), (1500, 1280 - 48));
    assert_eq!(quote, frame[14..14 + quote.len()]);
}

#[test]
fn packets_of_the_very_mtu_pass() {
    for frame in [ipv4(1500, rank(0), rank(1), |_| ()), ipv6(1500, rank(0), rank(1), 6, &[])] {
        assert!(matches!(from_guest(&mut switch(), &frame), Verdict::Forward(_)));
    }
}

#[test]
fn the_head_alone_is_enough_to_quote() {
    for (frame, quoted) in [(packet_v4(), 576 - 28), (packet_v6(), 640 - 14)] {
        let mut switch = switch();
        let verdict = switch.decide(Instant::ZERO, Ingress::Guest, &frame[..640], frame.len());
        assert_eq!(verdict, TOO_BIG);
        let is_v4 = frame[12] == 0x08;
        let quote = if is_v4 { read_v4(switch.reply(), 0).1 } else { read_v6(switch.reply()).1 };
        assert_eq!(quote, frame[14..14 + quoted]);
    }
    // What is there has to hold the header and eight bytes more.
    for (len, verdict) in [(14 + 28, TOO_BIG), (14 + 27, OVERSIZE), (14 + 19, OVERSIZE)] {
        let frame = packet_v4();
        assert_eq!(switch().decide(Instant::ZERO, Ingress::Guest, &frame[..len], frame.len()), verdict);
    }
}

#[test]
fn the_message_has_the_tags_of_the_frame() {
    for types in [&[0x8100][..], &[0x88a8, 0x8100]] {
        let mut switch = switch();
        let frame = tagged(&packet_v4(), types);
        assert_eq!(from_guest(&mut switch, &frame), TOO_BIG);
        let len_of_tags = 4 * types.len();
        assert_eq!(switch.reply()[12..14 + len_of_tags], frame[12..14 + len_of_tags]);
        assert_eq!(read_v4(switch.reply(), len_of_tags).0, 1500);
    }
}

#[test]
fn where_tags_have_no_room_packets_behind_them_are_told_a_smaller_mtu() {
    let mut switch = Switch::new(Config { mtu: 1450, tag_room: 0, ..config() });
    let tagged_packet = |len| tagged(&ipv4(len, rank(0), rank(1), |_| ()), &[0x8100]);
    assert!(matches!(from_guest(&mut switch, &tagged_packet(1446)), Verdict::Forward(_)));
    assert_eq!(from_guest(&mut switch, &tagged_packet(1447)), TOO_BIG);
    assert_eq!(read_v4(switch.reply(), 4).0, 1446);
}

#[test]
fn the_frame_counts_as_dropped_and_the_message_as_sent_to_the_guest() {
    let mut switch = switch();
    let frame = packet_v6();
    let verdict = from_guest(&mut switch, &frame);
    assert_eq!(verdict.drop_reason(), Some(DropReason::Oversize));
    let (len, counters) = (switch.reply().len(), switch.counters());
    assert_eq!(counters.ingress_drops.by(DropReason::Oversize).bytes, frame.len() as u64);
    assert_eq!(counters.answered(ReplyKind::TooBig), 1);
    assert_eq!(counters.guest.pending().bytes, len as u64);
    switch.sent(mvpnet_switch::PortId::Guest, len);
    assert_eq!(switch.counters().check_settled(), Ok(()));
}

type Change = fn(&mut Ipv4Header);

/// Changes to an IPv4 header that make its packet one that nobody is told about.
fn silent_headers() -> Vec<(&'static str, Change)> {
    vec![
        ("may be fragmented", |ip| ip.dont_fragment = false),
        ("a later fragment", |ip| ip.fragment_offset = 185.try_into().unwrap()),
        ("from nobody", |ip| ip.source = [0, 0, 0, 0]),
        ("from a group", |ip| ip.source = [224, 0, 0, 1]),
        ("from everyone", |ip| ip.source = [255; 4]),
        ("from a reserved address", |ip| ip.source = [240, 0, 0, 1]),
        ("from a loopback address", |ip| ip.source = [127, 0, 0, 1]),
        ("to a group", |ip| ip.destination = [239, 0, 0, 1]),
        ("to everyone", |ip| ip.destination = [255; 4]),
        ("not too long itself", |ip| ip.total_len = 1500),
    ]
}

#[test]
fn nobody_is_told_about_packets_that_rfc_1122_exempts() {
    for (name, change) in silent_headers() {
        let frame = ipv4(1501, rank(0), rank(1), change);
        assert_eq!(from_guest(&mut switch(), &frame), OVERSIZE, "{name}");
    }
    let first_fragment = ipv4(1501, rank(0), rank(1), |ip| ip.more_fragments = true);
    assert_eq!(from_guest(&mut switch(), &first_fragment), TOO_BIG);
    let mut damaged = packet_v4();
    damaged[14 + 8] ^= 1;
    assert_eq!(from_guest(&mut switch(), &damaged), OVERSIZE, "a wrong checksum");
}

#[test]
fn icmp_errors_are_not_answered_and_other_icmp_is() {
    let icmp = |icmp_type| {
        let mut frame = ipv4(1501, rank(0), rank(1), |ip| ip.protocol = etherparse::IpNumber::ICMP);
        frame[34] = icmp_type;
        frame
    };
    for (icmp_type, verdict) in [(0, TOO_BIG), (8, TOO_BIG), (13, TOO_BIG)]
        .into_iter()
        .chain([3, 4, 5, 11, 12].map(|error| (error, OVERSIZE)))
    {
        assert_eq!(from_guest(&mut switch(), &icmp(icmp_type)), verdict, "ICMP type {icmp_type}");
    }
    for (icmp_type, verdict) in [(128, TOO_BIG), (129, TOO_BIG)]
        .into_iter()
        .chain([1, 2, 3, 4, 127, 137].map(|error| (error, OVERSIZE)))
    {
        let plain = ipv6(1501, rank(0), rank(1), 58, &[icmp_type]);
        assert_eq!(from_guest(&mut switch(), &plain), verdict, "ICMPv6 type {icmp_type}");
        // Behind hop-by-hop options and a fragment header of the first fragment.
        let headers = [44, 0, 1, 4, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 7, icmp_type];
        let behind = ipv6(1501, rank(0), rank(1), 0, &headers);
        assert_eq!(from_guest(&mut switch(), &behind), verdict, "ICMPv6 type {icmp_type} behind headers");
    }
}

#[test]
fn later_fragments_of_ipv6_and_extension_headers_without_end_are_not_answered() {
    let later = ipv6(1501, rank(0), rank(1), 44, &[17, 0, 0x05, 0xa8, 0, 0, 0, 7]);
    assert_eq!(from_guest(&mut switch(), &later), OVERSIZE);
    let endless = ipv6(1501, rank(0), rank(1), 60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(182));
    assert_eq!(from_guest(&mut switch(), &endless), OVERSIZE);
}

#[test]
fn groups_and_addresses_that_are_no_hosts_are_not_spoken_for_in_ipv6() {
    let with = |place: std::ops::Range<usize>, address: &str| {
        let mut frame = packet_v6();
        frame[place].copy_from_slice(&address.parse::<std::net::Ipv6Addr>().unwrap().octets());
        frame
    };
    for address in ["::", "::1", "ff02::1"] {
        assert_eq!(from_guest(&mut switch(), &with(22..38, address)), OVERSIZE, "from {address}");
        assert_eq!(from_guest(&mut switch(), &with(38..54, address)), OVERSIZE, "to {address}");
    }
}

#[test]
fn an_mtu_that_ipv6_cannot_have_is_not_told() {
    let mut switch = Switch::new(Config { mtu: 1279, ..config() });
    assert_eq!(from_guest(&mut switch, &packet_v6()), OVERSIZE);
    assert_eq!(from_guest(&mut switch, &packet_v4()), TOO_BIG);
}

#[test]
fn only_what_would_have_gone_somewhere_is_answered() {
    let mut to_everyone = packet_v4();
    to_everyone[..6].fill(0xff);
    let mut forged = packet_v4();
    forged[6..12].copy_from_slice(&rank(2).mac().octets());
    let mut to_itself = packet_v4();
    to_itself[..6].copy_from_slice(&rank(0).mac().octets());
    let mut to_nobody = packet_v4();
    to_nobody[..6].copy_from_slice(&rank(9).mac().octets());
    for frame in [to_everyone, forged, to_itself, to_nobody] {
        assert_eq!(from_guest(&mut switch(), &frame), OVERSIZE);
    }
    let mut from_container = packet_v4();
    from_container[6..12].copy_from_slice(&CONTAINER.octets());
    assert_eq!(from_guest(&mut switch(), &from_container), TOO_BIG);
    let mut strict = Switch::new(Config { mac_policy: MacPolicy::Strict, ..config() });
    assert_eq!(from_guest(&mut strict, &from_container), OVERSIZE);
}

#[test]
fn what_peers_and_tunnels_bring_is_not_answered() {
    let mut frame = packet_v4();
    frame[..12].rotate_left(6);
    let peer = Ingress::Peer { origin: rank(1), delivery: Delivery::Unicast };
    assert_eq!(switch().decide(Instant::ZERO, peer, &frame, frame.len()), OVERSIZE);
    let mut tunnelled = Switch::new(Config { topology: Topology::Tunnel(vni(40)), ..config() });
    let tunnel = Ingress::Tunnel(vni(40));
    assert_eq!(tunnelled.decide(Instant::ZERO, tunnel, &frame, frame.len()), OVERSIZE);
    assert_eq!(from_guest(&mut tunnelled, &packet_v4()), TOO_BIG);
}

#[test]
fn nobody_is_told_more_often_than_a_thousand_times_a_second() {
    let mut switch = switch();
    let frame = packet_v4();
    for _ in 0..1500 {
        let _ = from_guest(&mut switch, &frame);
    }
    assert_eq!(switch.counters().answered(ReplyKind::TooBig), 1000);
    assert_eq!(switch.counters().ingress_drops.by(DropReason::Oversize).frames, 1500);
}

#[test]
fn a_bridge_tells_the_sender_too_and_nobody_else() {
    let mut bridge = Bridge::new(BridgeConfig::default());
    let [here, there] = [40, 41].map(|number| bridge.add_port(vni(number)).unwrap());
    let told = |bridge: &mut Bridge, frame: &[u8]| bridge.decide(Instant::ZERO, here, frame, frame.len());
    let tagged_packet = |len| tagged(&ipv4(len, rank(0), rank(1), |_| ()), &[0x8100]);
    assert_eq!(told(&mut bridge, &ipv4(1450, rank(0), rank(1), |_| ())), BridgeVerdict::Flood);
    assert_eq!(told(&mut bridge, &tagged_packet(1446)), BridgeVerdict::Flood);

    let too_big = BridgeVerdict::Reply(ReplyKind::TooBig);
    assert_eq!(told(&mut bridge, &tagged_packet(1447)), too_big);
    assert_eq!(read_v4(bridge.reply(), 4).0, 1446);
    assert_eq!(told(&mut bridge, &ipv6(1451, rank(0), rank(1), 6, &[])), too_big);
    assert_eq!(read_v6(bridge.reply()).0, 1450);
    assert_eq!(too_big.drop_reason(), Some(DropReason::Oversize));

    let mut to_everyone = packet_v4();
    to_everyone[..6].copy_from_slice(&MacAddr::BROADCAST.octets());
    assert_eq!(told(&mut bridge, &to_everyone), BridgeVerdict::Drop(DropReason::Oversize));
    assert_eq!((bridge.counters(here).answered, bridge.counters(there).answered), (2, 0));
    assert_eq!(bridge.counters(here).ingress_drops.by(DropReason::Oversize).frames, 3);
    assert_eq!(bridge.check(), Ok(()));
}
