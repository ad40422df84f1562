//! Frame loops over the in-memory transport, with sockets in place of guests: what a rank does with real
//! octets, without qemu.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that fails says so by panicking, and its deadlines are real"
)]

mod faults;
mod ranks;
mod unfinished;

use std::io::Write;
use std::time::{Duration, Instant as WallInstant};

use mvpnet_node::frame_loop::{Command, Event};
use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_switch::{DropReason, MacAddr};

use ranks::{DEADLINE, Guest, counter, counters_now, frame, kinds, start, stop};

#[test]
fn unicast_reaches_its_rank_only_in_both_kinds_of_link() {
    for kind in kinds() {
        let mut nodes = start(3, kind);
        let (from, to) = (nodes[0].rank.mac(), nodes[2].rank.mac());
        for len in [46, 1500, 700] {
            let sent = frame(to, from, &vec![len as u8; len]);
            nodes[0].guest.send(&sent);
            assert_eq!(nodes[2].guest.expect(), sent);
        }
        assert_eq!(nodes[1].guest.receive(Duration::from_millis(20)), None);
        stop(nodes);
    }
}

#[test]
fn a_broadcast_reaches_every_other_guest_once() {
    for kind in kinds() {
        let mut nodes = start(7, kind);
        let sent = frame(MacAddr::BROADCAST, nodes[3].rank.mac(), b"to all");
        nodes[3].guest.send(&sent);
        for index in [0, 1, 2, 4, 5, 6] {
            assert_eq!(nodes[index].guest.expect(), sent, "rank {index}");
        }
        for node in &mut nodes {
            assert_eq!(node.guest.receive(Duration::from_millis(5)), None, "rank {}", node.rank);
        }
        stop(nodes);
    }
}

#[test]
fn an_arp_request_is_answered_by_the_switch() {
    let mut nodes = start(2, LinkKind::Stream);
    let me = nodes[0].rank;
    let mut request = frame(MacAddr::BROADCAST, me.mac(), &[]);
    request.truncate(12);
    request.extend_from_slice(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]); // RFC 826: Ethernet, IPv4, request
    request.extend_from_slice(&me.mac().octets());
    request.extend_from_slice(&me.ipv4().octets());
    request.extend_from_slice(&[0; 6]);
    request.extend_from_slice(&nodes[1].rank.ipv4().octets());
    nodes[0].guest.send(&request);
    let reply = nodes[0].guest.expect();
    assert_eq!(reply[..6], me.mac().octets());
    assert_eq!(reply[22..28], nodes[1].rank.mac().octets());
    assert_eq!(nodes[1].guest.receive(Duration::from_millis(20)), None);
    stop(nodes);
}

#[test]
fn a_guest_that_does_not_read_stalls_nobody_else() {
    for kind in kinds() {
        let mut nodes = start(3, kind);
        let (me, slow, quick) = (nodes[0].rank.mac(), nodes[1].rank.mac(), nodes[2].rank.mac());
        let began = WallInstant::now();
        let mut sent_to_slow = 0_u64;
        // Far more than all buffers on the way to the slow guest hold.
        for _ in 0..20 {
            for _ in 0..500 {
                nodes[0].guest.send(&frame(slow, me, &[1; 1500]));
                sent_to_slow += 1;
            }
            let urgent = frame(quick, me, b"urgent");
            nodes[0].guest.send(&urgent);
            assert_eq!(nodes[2].guest.expect(), urgent);
        }
        assert!(began.elapsed() < DEADLINE);
        let counters = stop(nodes);
        let dropped = counter(&counters[0], "queue-full") + counter(&counters[1], "queue-full");
        assert!(dropped > 0 && dropped < sent_to_slow, "{kind:?}: {dropped} of {sent_to_slow}");
    }
}

/// A reader that keeps reading gets everything on an idle machine; on one that is too busy to let it, what is
/// lost is in the books, and the rest comes in order.
#[test]
fn what_a_fast_sender_loses_is_counted_and_the_rest_stays_in_order() {
    let mut nodes = start(2, LinkKind::Stream);
    let (me, to) = (nodes[0].rank.mac(), nodes[1].rank.mac());
    let count = 20_000_u32;
    let mut receiver = nodes.pop().unwrap();
    let reader = std::thread::spawn(move || {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&u32::MAX) {
            let got = receiver.guest.expect();
            numbers.push(u32::from_be_bytes(got[14..18].try_into().unwrap()));
        }
        (receiver, numbers)
    });
    let numbered = |number: u32| {
        let mut payload = vec![0; 1400];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        frame(to, me, &payload)
    };
    for number in 0..count {
        nodes[0].guest.send(&numbered(number));
    }
    // The last one is sent until it arrives: it may meet a queue that is still full.
    while !reader.is_finished() {
        nodes[0].guest.send(&numbered(u32::MAX));
        std::thread::yield_now();
    }
    let (receiver, numbers) = reader.join().unwrap();
    assert!(numbers.is_sorted(), "frames overtook each other");
    nodes.push(receiver);
    let counters = stop(nodes);
    let lost = u64::from(count) + 1 - numbers.len() as u64;
    let counted = counter(&counters[0], "queue-full") + counter(&counters[1], "queue-full");
    assert!(lost <= counted, "{lost} frames are missing, {counted} are in the books");
}

#[test]
fn a_length_that_no_frame_has_closes_that_port_and_nothing_else() {
    let mut nodes = start(3, LinkKind::Stream);
    let Guest::Stream(socket) = &mut nodes[0].guest else { unreachable!() };
    socket.write_all(&0xffff_fffc_u32.to_be_bytes()).unwrap();
    let event = nodes[0].events.blocking_recv();
    assert!(matches!(event, Some(Event::GuestGone)), "{event:?}");
    let sent = frame(nodes[2].rank.mac(), nodes[1].rank.mac(), b"unharmed");
    nodes[1].guest.send(&sent);
    assert_eq!(nodes[2].guest.expect(), sent);
    let counters = stop(nodes);
    assert_eq!(counter(&counters[0], "bad-length"), 1);
}

#[test]
fn frames_for_a_guest_that_is_gone_are_counted() {
    let mut nodes = start(2, LinkKind::Stream);
    let mut gone = nodes.pop().unwrap();
    let sent = frame(gone.rank.mac(), nodes[0].rank.mac(), b"hello");
    nodes[0].guest.send(&sent);
    gone.guest.expect();
    gone.handle.send(Command::Detach);
    nodes[0].guest.send(&sent);
    let until = WallInstant::now() + DEADLINE;
    loop {
        if counter(&counters_now(&gone), DropReason::GuestGone.name()) == 1 {
            break;
        }
        assert!(WallInstant::now() < until, "the frame is not counted");
        std::thread::yield_now();
    }
    nodes.push(gone);
    stop(nodes);
}

#[test]
fn control_messages_reach_the_control_plane_and_never_the_guest() {
    let mut nodes = start(3, LinkKind::Stream);
    nodes[0].handle.send(Command::Message { to: nodes[2].rank, payload: b"order".to_vec() });
    let Some(Event::Message { from, payload }) = nodes[2].events.blocking_recv() else {
        panic!("no message")
    };
    assert_eq!((from, payload.as_slice()), (nodes[0].rank, &b"order"[..]));
    assert_eq!(nodes[2].guest.receive(Duration::from_millis(5)), None);
    stop(nodes);
}
