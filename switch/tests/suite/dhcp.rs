//! DHCP: the guest gets its rank's address, whatever it tries.

use std::net::Ipv4Addr;

use etherparse::{Ipv4Header, UdpHeader};
use mvpnet_switch::{
    Config, Control, DropReason, HEAD_LEN, Ingress, Instant, MacAddr, ReplyKind, Switch, Verdict,
};

use crate::frames::*;

const OFFER: Verdict = Verdict::Reply(ReplyKind::DhcpOffer);
const ACK: Verdict = Verdict::Reply(ReplyKind::DhcpAck);
const NAK: Verdict = Verdict::Reply(ReplyKind::DhcpNak);

const SERVER: [u8; 6] = [54, 4, 192, 0, 0, 8];
const OTHER_SERVER: [u8; 6] = [54, 4, 192, 168, 1, 2];
const OWN_ADDRESS: [u8; 6] = [50, 4, 10, 0, 0, 1];
const OTHER_ADDRESS: [u8; 6] = [50, 4, 10, 0, 0, 2];

fn message(message_type: u8, options: &[&[u8]]) -> Vec<u8> {
    dhcp_message(rank(0).mac(), message_type, options)
}

fn verdict(message: &[u8]) -> Verdict {
    from_guest(&mut switch(), &dhcp(Ipv4Addr::BROADCAST, message))
}

/// An answer taken apart: where it went, its fixed fields and its options in order of code.
struct Answer {
    mac: [u8; 6],
    ip: Ipv4Header,
    fixed: Vec<u8>,
    options: Vec<(u8, Vec<u8>)>,
}

fn answer_to(switch: &mut Switch, message: &[u8]) -> Answer {
    let verdict = from_guest(switch, &dhcp(Ipv4Addr::BROADCAST, message));
    assert!(matches!(verdict, Verdict::Reply(_)), "{verdict:?}");
    let frame = switch.reply();
    assert_eq!(frame[6..14], [0x52, 0x57, 0, 0, 0, 1, 8, 0]);
    let (ip, rest) = Ipv4Header::from_slice(&frame[14..]).unwrap();
    assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
    assert_eq!(usize::from(ip.payload_len().unwrap()), rest.len());
    let (udp, message) = UdpHeader::from_slice(rest).unwrap();
    assert_eq!((udp.source_port, udp.destination_port), (67, 68));
    assert_eq!(udp.calc_checksum_ipv4(&ip, message).unwrap(), udp.checksum);
    assert!((300..=548).contains(&message.len()), "{} bytes", message.len());
    let mut options = Vec::new();
    let mut rest = &message[240..];
    while rest[0] != 255 {
        let len = usize::from(rest[1]);
        options.push((rest[0], rest[2..2 + len].to_vec()));
        rest = &rest[2 + len..];
    }
    options.sort();
    Answer { mac: frame[..6].try_into().unwrap(), ip, fixed: message[..240].to_vec(), options }
}

impl Answer {
    fn has(&self, code: u8) -> bool {
        self.options.iter().any(|(option, _)| *option == code)
    }
}

#[test]
fn a_discover_is_offered_everything_that_follows_from_the_rank() {
    let answer = answer_to(&mut switch(), &message(1, &[]));
    assert_eq!(answer.mac, rank(0).mac().octets());
    assert_eq!((answer.ip.source, answer.ip.destination), ([192, 0, 0, 8], [10, 0, 0, 1]));
    let mut fixed = vec![2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    fixed.resize(28, 0);
    fixed.extend(rank(0).mac().octets());
    fixed.resize(236, 0);
    fixed.extend([99, 130, 83, 99]);
    assert_eq!(answer.fixed, fixed);
    let expected: [(u8, &[u8]); 8] = [
        (1, &[255, 0, 0, 0]),
        (12, b"n0000"),
        (26, &[0x05, 0xdc]),
        (28, &[10, 255, 255, 255]),
        (51, &[0xff; 4]),
        (53, &[2]),
        (54, &[192, 0, 0, 8]),
        // No router (3) and no name server (6).
        (255, &[]),
    ];
    let expected: Vec<_> = expected[..7].iter().map(|(code, value)| (*code, value.to_vec())).collect();
    assert_eq!(answer.options, expected);
}

#[test]
fn a_request_for_the_ranks_address_is_acknowledged() {
    assert_eq!(verdict(&message(3, &[&SERVER, &OWN_ADDRESS])), ACK);
    let answer = answer_to(&mut switch(), &message(3, &[&SERVER, &OWN_ADDRESS]));
    assert_eq!(answer.fixed[16..20], [10, 0, 0, 1]);
    assert!(answer.has(51) && answer.has(12) && answer.has(26));
}

#[test]
fn a_client_that_remembers_its_address_is_confirmed_or_corrected() {
    assert_eq!(verdict(&message(3, &[&OWN_ADDRESS])), ACK);
    assert_eq!(verdict(&message(3, &[&OTHER_ADDRESS])), NAK);
}

#[test]
fn a_client_that_renews_is_answered_at_its_address() {
    let mut renewal = message(3, &[]);
    renewal[12..16].copy_from_slice(&[10, 0, 0, 1]);
    let answer = answer_to(&mut switch(), &renewal);
    assert_eq!(answer.ip.destination, [10, 0, 0, 1]);
    assert_eq!(answer.fixed[12..20], [10, 0, 0, 1, 10, 0, 0, 1]);
    renewal[15] = 9;
    assert_eq!(verdict(&renewal), NAK);
}

#[test]
fn a_refusal_says_nothing_but_no_and_is_broadcast() {
    let answer = answer_to(&mut switch(), &message(3, &[&SERVER, &OTHER_ADDRESS]));
    assert_eq!((answer.mac, answer.ip.destination), ([0xff; 6], [255; 4]));
    assert_eq!(answer.fixed[12..20], [0; 8]);
    assert_eq!(answer.options, [(53, vec![6]), (54, vec![192, 0, 0, 8])]);
}

#[test]
fn requests_to_another_server_are_counted_and_left_alone() {
    let verdict = verdict(&message(3, &[&OTHER_SERVER, &OWN_ADDRESS]));
    assert_eq!(verdict, Verdict::Drop(DropReason::DhcpOtherServer));
}

#[test]
fn a_request_for_nothing_is_malformed() {
    assert_eq!(verdict(&message(3, &[&SERVER])), Verdict::Drop(DropReason::DhcpMalformed));
}

#[test]
fn a_client_that_asks_for_broadcast_gets_broadcast() {
    let mut discover = message(1, &[]);
    discover[10] = 0x80;
    let answer = answer_to(&mut switch(), &discover);
    assert_eq!((answer.mac, answer.ip.destination), ([0xff; 6], [255; 4]));
    assert_eq!(answer.fixed[10], 0x80);
}

#[test]
fn a_client_with_an_address_of_its_own_is_informed_of_the_rest() {
    let mut inform = message(8, &[]);
    assert_eq!(verdict(&inform), Verdict::Drop(DropReason::DhcpMalformed));
    inform[12..16].copy_from_slice(&[10, 0, 0, 77]);
    assert_eq!(verdict(&inform), ACK);
    let answer = answer_to(&mut switch(), &inform);
    assert_eq!(answer.ip.destination, [10, 0, 0, 77]);
    assert_eq!(answer.fixed[16..20], [0; 4]);
    assert!(!answer.has(51) && answer.has(12));
}

#[test]
fn the_client_identifier_comes_back_however_long_it_is() {
    let id: Vec<u8> = [61, 255].into_iter().chain((0..255).map(|byte| byte as u8)).collect();
    let answer = answer_to(&mut switch(), &message(1, &[&id]));
    assert!(answer.options.contains(&(61, id[2..].to_vec())));
}

#[test]
fn addresses_given_back_are_a_message_to_the_job() {
    let mut switch = switch();
    let mut verdict = |kind| from_guest(&mut switch, &dhcp(Ipv4Addr::BROADCAST, &message(kind, &[])));
    assert_eq!(verdict(7), Verdict::Control(Control::DhcpRelease));
    assert_eq!(verdict(4), Verdict::Control(Control::DhcpDecline));
    assert_eq!(switch.counters().consumed(Control::DhcpRelease), 1);
}

#[test]
fn a_release_sent_to_the_server_alone_is_understood() {
    let mut frame = dhcp(Ipv4Addr::new(192, 0, 0, 8), &message(7, &[]));
    frame[..6].copy_from_slice(&MacAddr::SWITCH.octets());
    assert_eq!(from_guest(&mut switch(), &frame), Verdict::Control(Control::DhcpRelease));
}

#[test]
fn types_that_only_servers_send_and_plain_bootp_are_not_served() {
    for message_type in [0, 2, 5, 6, 9, 255] {
        let verdict = verdict(&message(message_type, &[]));
        assert_eq!(verdict, Verdict::Drop(DropReason::DhcpUnserved), "type {message_type}");
    }
    let mut bootp = message(1, &[]);
    bootp[240] = 255;
    assert_eq!(verdict(&bootp), Verdict::Drop(DropReason::DhcpUnserved));
}

#[test]
fn unreadable_messages_are_malformed() {
    let good = message(1, &[&OWN_ADDRESS]);
    let malformed = Verdict::Drop(DropReason::DhcpMalformed);
    for len in 0..240 {
        assert_eq!(verdict(&good[..len]), malformed, "{len} bytes");
    }
    for place in [1, 2, 236] {
        let mut bad = good.clone();
        bad[place] = 77;
        assert_eq!(verdict(&bad), malformed, "byte {place}");
    }
    assert_eq!(verdict(&message(1, &[&[50, 3, 10, 0, 0]])), malformed);
    assert_eq!(verdict(&message(1, &[&[50, 200, 10, 0, 0]])), malformed);
}

#[test]
fn other_clients_and_other_servers_are_left_alone() {
    let flooded = |frame: &[u8]| matches!(from_guest(&mut switch(), frame), Verdict::Flood(_));
    let containers = dhcp_message(CONTAINER, 1, &[]);
    assert!(flooded(&dhcp(Ipv4Addr::BROADCAST, &containers)), "for a container");
    let mut from_container = dhcp(Ipv4Addr::BROADCAST, &containers);
    from_container[6..12].copy_from_slice(&CONTAINER.octets());
    assert!(flooded(&from_container), "from a container");
    let mut borrowed = dhcp(Ipv4Addr::BROADCAST, &message(1, &[]));
    borrowed[6..12].copy_from_slice(&CONTAINER.octets());
    assert!(flooded(&borrowed), "from a container, in the guest's name");
    let mut relayed = message(1, &[]);
    relayed[24] = 10;
    assert!(flooded(&dhcp(Ipv4Addr::BROADCAST, &relayed)), "relayed");
    let mut reply = message(1, &[]);
    reply[0] = 2;
    assert!(flooded(&dhcp(Ipv4Addr::BROADCAST, &reply)), "from a server");
    assert!(flooded(&dhcp(Ipv4Addr::new(172, 17, 0, 1), &message(1, &[]))), "to a server elsewhere");

    for destination in [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::BROADCAST] {
        let mut unicast = dhcp(destination, &message(1, &[]));
        unicast[..6].copy_from_slice(&rank(1).mac().octets());
        let verdict = from_guest(&mut switch(), &unicast);
        assert_eq!(verdict, Verdict::Forward(mvpnet_switch::PortId::Peer(rank(1))));
    }
}

#[test]
fn packets_that_are_damaged_pass_as_they_are() {
    let good = dhcp(Ipv4Addr::BROADCAST, &message(1, &[]));
    assert_eq!(from_guest(&mut switch(), &good), OFFER);
    let cases =
        [("time to live", 22), ("fragment", 20), ("port", 37), ("UDP length", 39), ("transaction", 46)];
    for (what, place) in cases {
        let mut bad = good.clone();
        bad[place] ^= 0x20;
        assert!(matches!(from_guest(&mut switch(), &bad), Verdict::Flood(_)), "{what}");
    }
    for len in 14..good.len() {
        let verdict = from_guest(&mut switch(), &good[..len]);
        assert!(matches!(verdict, Verdict::Flood(_)), "cut off after {len} bytes");
    }
    let mut without_sum = good.clone();
    without_sum[40..42].fill(0);
    assert_eq!(from_guest(&mut switch(), &without_sum), OFFER);
}

#[test]
fn the_first_fragment_of_a_message_passes_as_it_is() {
    let mut frame = dhcp(Ipv4Addr::BROADCAST, &message(1, &[]));
    let (mut ip, _) = Ipv4Header::from_slice(&frame[14..]).unwrap();
    ip.more_fragments = true;
    ip.header_checksum = ip.calc_header_checksum();
    frame[14..34].copy_from_slice(&ip.to_bytes());
    assert!(matches!(from_guest(&mut switch(), &frame), Verdict::Flood(_)));
}

#[test]
fn a_message_beyond_the_head_that_is_shown_passes_as_it_is() {
    let padding = [0; 600];
    let frame = dhcp(Ipv4Addr::BROADCAST, &message(1, &[&padding]));
    assert_eq!(from_guest(&mut switch(), &frame), OFFER);
    let head = &frame[..HEAD_LEN];
    let verdict = switch().decide(Instant::ZERO, Ingress::Guest, head, frame.len());
    assert!(matches!(verdict, Verdict::Flood(_)));
}

#[test]
fn every_rank_gets_its_own_address_name_and_mtu() {
    let world = world(70_000);
    let me = world.rank(65_537).unwrap();
    let mut switch = Switch::new(Config { mtu: 9000, ..Config::new(me, world) });
    let mut frame = dhcp(Ipv4Addr::BROADCAST, &dhcp_message(me.mac(), 1, &[]));
    frame[6..12].copy_from_slice(&me.mac().octets());
    assert_eq!(from_guest(&mut switch, &frame), OFFER);
    let message = &switch.reply()[42..];
    assert_eq!(message[16..20], [10, 1, 0, 2]);
    let has = |option: &[u8]| message.windows(option.len()).any(|window| window == option);
    assert!(has(&[12, 6, b'n', b'6', b'5', b'5', b'3', b'7']));
    assert!(has(&[26, 2, 0x23, 0x28]));
}
