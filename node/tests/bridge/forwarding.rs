//! What goes where.

use mvpnet_switch::BridgeConfig;

use super::lab::{BROADCAST, Lab, MTU, Peer, frame, mac};

#[test]
fn addresses_are_learned_and_unknown_ones_flooded() {
    let peers = [2, 3, 4].map(Peer::on);
    let [a, b, c] = &peers;
    let lab = Lab::start(&[a.tunnel(40), b.tunnel(41), c.tunnel(60)]);

    let question = frame(mac(2), mac(1), "who has heard of 2?");
    a.send(&lab, 40, &question);
    assert_eq!(b.receive(), (41, question.clone()));
    assert_eq!(c.receive(), (60, question));

    let answer = frame(mac(1), mac(2), "I am 2");
    b.send(&lab, 41, &answer);
    assert_eq!(a.receive(), (40, answer));
    let direct = frame(mac(2), mac(1), "so I know now");
    a.send(&lab, 40, &direct);
    assert_eq!(b.receive(), (41, direct));

    let status = lab.stop();
    assert!(c.has_nothing() && a.has_nothing(), "who is not meant gets nothing");
    assert_eq!(status.fdb.iter().map(|entry| entry.vni).collect::<Vec<_>>(), [41, 40]);
    assert_eq!((status.received().frames, status.sent().frames), (3, 4));
}

#[test]
fn a_broadcast_goes_to_all_others_with_its_tags() {
    let peers = [2, 3].map(Peer::on);
    let [a, b] = &peers;
    // Two of the three VNIs are on one host.
    let lab = Lab::start(&[a.tunnel(40), a.tunnel(41), b.tunnel(60)]);
    let tagged = [&BROADCAST[..], &mac(1), &[0x81, 0, 0, 7, 0x88, 0xb5], &[0x5a; 50]].concat();
    a.send(&lab, 40, &tagged);
    assert_eq!(a.receive(), (41, tagged.clone()));
    assert_eq!(b.receive(), (60, tagged));
    lab.stop();
    assert!(a.has_nothing() && b.has_nothing());
}

#[test]
fn many_frames_at_once_arrive_in_their_order() {
    let peers = [2, 3].map(Peer::on);
    let [a, b] = &peers;
    let lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    b.send(&lab, 41, &frame(BROADCAST, mac(2), "hello"));
    a.receive();
    for round in 0..40 {
        let sent: Vec<_> = (0..50).map(|n| frame(mac(2), mac(1), &format!("{round} {n}"))).collect();
        sent.iter().for_each(|frame| a.send(&lab, 40, frame));
        sent.iter().for_each(|frame| assert_eq!(b.receive(), (41, frame.clone())));
    }
    let status = lab.stop();
    assert_eq!((status.ports[1].sent.frames, status.ports[1].sent.bytes), (2000, 120_000));
}

/// A frame with an IPv4 packet of this length from 10.0.0.1 to 10.0.0.2 that must not be fragmented (RFC 791 §3.1).
fn ipv4_without_fragments(len: u32) -> Vec<u8> {
    let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let words = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [&mac(2)[..], &mac(1), &[8, 0], &header].concat();
    frame.resize(14 + len as usize, 0);
    frame
}

#[test]
fn a_packet_that_is_too_long_is_dropped_and_its_sender_told() {
    let peers = [2, 3].map(Peer::on);
    let [a, b] = &peers;
    let mut lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    let packet = ipv4_without_fragments(MTU + 1);
    a.send(&lab, 40, &packet);
    let (vni, told) = a.receive();
    assert_eq!((vni, &told[..14]), (40, &[&mac(1)[..], &mac(2), &[8, 0]].concat()[..]));
    // ICMP destination unreachable, fragmentation needed, with the MTU (RFC 1191 section 4).
    assert_eq!((&told[34..36], &told[40..42]), (&[3, 4][..], &1450_u16.to_be_bytes()[..]));
    let status = lab.wait(|status| status.ports[0].drops.contains_key("oversize"));
    assert_eq!((status.ports[0].drops["oversize"], status.ports[0].sent.frames), (1, 1));
    let notice = lab.notice().to_string();
    assert!(notice.contains("1 frame dropped (oversize): longer than the MTU of 1450 allows"), "{notice}");
    let packet = ipv4_without_fragments(MTU);
    a.send(&lab, 40, &packet);
    assert_eq!(b.receive(), (41, packet), "the exact limit passes");
    lab.stop();
}

#[test]
fn a_storm_is_cut_down_to_its_limit_and_unicast_goes_on() {
    let peers = [2, 3].map(Peer::on);
    let [a, b] = &peers;
    let config = BridgeConfig { storm_limit: Some(10), ..BridgeConfig::default() };
    let mut lab = Lab::start_as(config, &[a.tunnel(40), b.tunnel(41)], |_| ());
    b.send(&lab, 41, &frame(BROADCAST, mac(2), "hello"));
    a.receive();
    for _ in 0..200 {
        a.send(&lab, 40, &frame(BROADCAST, mac(1), "storm"));
    }
    let status = lab.wait(|status| status.ports[0].received.frames == 200);
    let dropped = status.ports[0].drops["storm-limit"];
    assert!((150..=190).contains(&dropped), "{dropped} of 200 dropped");
    let unicast = frame(mac(2), mac(1), "goes on");
    a.send(&lab, 40, &unicast);
    while b.receive().1 != unicast {}
    let notice = lab.notice().to_string();
    assert!(notice.contains("dropped (storm-limit): more broadcasts"), "{notice}");
    lab.stop();
}
