//! Frames of which something is left to be done, from guests that share their memory to all kinds of guests.

use std::time::Duration;

use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_qemu_driver::links::vhost_user::Offers;
use mvpnet_switch::{MacAddr, OFFLOAD_LEN, Offload, SegmentKind};

use crate::ranks::{Guest, Node, counter, start_mixed, stop};

const VHOST: LinkKind = LinkKind::VhostUser(Offers { checksum: true, segmentation: true, mtu: u16::MAX });
const PAYLOAD_LEN: usize = 1446;

/// The checksum of a header and what follows it (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A TCP segment over IPv4 with a partial checksum, and the header that says so.
fn tcp(to: MacAddr, from: MacAddr, payload: &[u8], is_super: bool) -> ([u8; OFFLOAD_LEN], Vec<u8>) {
    let mut frame = [to.octets(), from.octets()].concat();
    frame.extend_from_slice(&[0x08, 0x00]);
    let total = (20 + 20 + payload.len()) as u16;
    let mut ip = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let pseudo = [&ip[12..20], &[0, 6], &(20 + payload.len() as u16).to_be_bytes()].concat();
    frame.extend_from_slice(&ip);
    let mut header =
        vec![0x13, 0x88, 0x13, 0x89, 0, 0, 1, 0, 0, 0, 0, 0, 5 << 4, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    header[16..18].copy_from_slice(&(!checksum(&[&pseudo])).to_be_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(payload);
    let mut unread = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
    if is_super {
        unread[1] = 1;
        unread[2] = 54;
        unread[4..6].copy_from_slice(&(PAYLOAD_LEN as u16).to_le_bytes());
    }
    (unread, frame)
}

/// The payload of a finished segment, whose checksums are right.
fn payload(frame: &[u8]) -> &[u8] {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let (ip, tcp) = (&frame[14..34], &frame[34..14 + total]);
    assert_eq!(checksum(&[ip]), 0, "the checksum of the IP header");
    let pseudo = [&ip[12..20], &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
    assert_eq!(checksum(&[&pseudo, tcp]), 0, "the checksum of the segment");
    &frame[54..14 + total]
}

fn send(node: &mut Node, header: &[u8; OFFLOAD_LEN], frame: &[u8]) {
    let Guest::VhostUser(driver) = &mut node.guest else {
        panic!("the guest's driver leaves nothing to others")
    };
    driver.send(Some(header), frame);
}

fn octets(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 / 3) as u8).collect()
}

#[test]
fn a_super_frame_passes_between_guests_as_it_is() {
    let mut nodes = start_mixed(&[VHOST, VHOST]);
    let sent = octets(60_000);
    let (header, frame) = tcp(nodes[1].rank.mac(), nodes[0].rank.mac(), &sent, true);
    send(&mut nodes[0], &header, &frame);
    let Guest::VhostUser(driver) = &mut nodes[1].guest else { unreachable!() };
    let (left, came) = driver.receive(crate::ranks::DEADLINE).expect("the super-frame");
    assert_eq!(came, frame);
    let offload = Offload::read(&left, &came).unwrap().expect("something is left to be done");
    let segments = offload.segments.expect("it is to be cut up");
    assert_eq!((segments.kind, usize::from(segments.payload_len)), (SegmentKind::TcpV4, PAYLOAD_LEN));
    let counters = stop(nodes);
    assert_eq!(counter(&counters[0], "forwarded"), 1);
}

#[test]
fn guests_that_do_not_take_a_super_frame_get_its_segments() {
    for kind in [LinkKind::Stream, LinkKind::Dgram] {
        let mut nodes = start_mixed(&[VHOST, kind]);
        let (me, to) = (nodes[0].rank.mac(), nodes[1].rank.mac());
        let sent = octets(20_000);
        // What is in front of the super-frame and behind it keeps its place.
        let (plain, first) = tcp(to, me, b"first", false);
        let (header, frame) = tcp(to, me, &sent, true);
        send(&mut nodes[0], &plain, &first);
        send(&mut nodes[0], &header, &frame);
        let (plain, last) = tcp(to, me, b"last", false);
        send(&mut nodes[0], &plain, &last);
        assert_eq!(payload(&nodes[1].guest.expect()), b"first");
        let mut came = Vec::new();
        while came.len() < sent.len() {
            let frame = nodes[1].guest.expect();
            assert!(frame.len() <= 54 + PAYLOAD_LEN);
            came.extend_from_slice(payload(&frame));
        }
        assert_eq!(came, sent);
        assert_eq!(payload(&nodes[1].guest.expect()), b"last");
        stop(nodes);
    }
}

#[test]
fn what_everybody_gets_is_finished_where_it_comes_from() {
    let mut nodes = start_mixed(&[VHOST, VHOST, LinkKind::Stream]);
    let (header, frame) = tcp(MacAddr::BROADCAST, nodes[0].rank.mac(), &octets(300), false);
    send(&mut nodes[0], &header, &frame);
    for node in &mut nodes[1..] {
        assert_eq!(payload(&node.guest.expect()), octets(300));
    }
    stop(nodes);
}

#[test]
fn super_frames_to_an_address_that_nobody_is_known_to_have_are_flooded_in_segments() {
    let mut nodes = start_mixed(&[VHOST, VHOST, LinkKind::Stream]);
    let sent = octets(5000);
    let container = MacAddr::new([2, 0x42, 0, 0, 0, 9]);
    let (header, frame) = tcp(container, nodes[0].rank.mac(), &sent, true);
    send(&mut nodes[0], &header, &frame);
    for node in &mut nodes[1..] {
        let mut came = Vec::new();
        while came.len() < sent.len() {
            came.extend_from_slice(payload(&node.guest.expect()));
        }
        assert_eq!(came, sent);
    }
    stop(nodes);
}

#[test]
fn what_cannot_be_finished_is_dropped_with_its_reason() {
    let mut nodes = start_mixed(&[VHOST, LinkKind::Stream]);
    let (me, to) = (nodes[0].rank.mac(), nodes[1].rank.mac());
    // It says that it is TCP, over a version of IP that there is not.
    let (header, mut frame) = tcp(to, me, &octets(5000), true);
    frame[14] = 0x75;
    send(&mut nodes[0], &header, &frame);
    // Its checksum would be behind its end.
    send(&mut nodes[0], &[1, 0, 0, 0, 0, 0, 0xff, 0xff, 16, 0, 0, 0], &frame);
    let (header, frame) = tcp(to, me, b"sound", false);
    send(&mut nodes[0], &header, &frame);
    assert_eq!(payload(&nodes[1].guest.expect()), b"sound");
    assert_eq!(nodes[1].guest.receive(Duration::from_millis(20)), None);
    let counters = stop(nodes);
    assert_eq!(counter(&counters[0], "ingress-drop-bad-offload"), 1);
    assert_eq!(counter(&counters[1], "ingress-drop-bad-offload"), 1);
}
