//! Peers that are dead, paths that do not take what is sent, kernels without room.

use std::net::UdpSocket;

use mvpnet_switch::DropReason;
use mvpnet_transports::vxlan::{Vtep, VtepConfig};

use super::ends::{flush, frame, pair, receive, receive_until, tunnel, vtep};

#[test]
fn a_dead_peer_is_counted_and_survived_and_heard_again_when_it_lives() {
    let dead = UdpSocket::bind("127.0.0.31:0").unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let mut one = vtep("127.0.0.30");
    let to_dead = one.add(tunnel(40, address)).unwrap();
    let mut other = vtep("127.0.0.32");
    let to_other = one.add(tunnel(40, other.local_addr())).unwrap();
    let from_one = other.add(tunnel(40, one.local_addr())).unwrap();
    for number in 0..20 {
        one.send(to_dead, &frame(number, 60));
        one.send(to_other, &frame(number, 60));
        assert!(flush(&mut one).iter().all(|(_, result)| result.is_ok()));
    }
    // The refusals of the dead host wake the owner, like frames.
    receive_until(&mut one, |one| one.stats().unreachable > 0);
    let frames = receive(&mut other, 20);
    assert!(frames.iter().all(|(tunnel, _)| *tunnel == from_one));

    let mut risen = Vtep::bind(&VtepConfig::new(address)).unwrap();
    let back = risen.add(tunnel(40, one.local_addr())).unwrap();
    one.send(to_dead, &frame(7, 60));
    flush(&mut one);
    assert_eq!(receive(&mut risen, 1), [(back, frame(7, 60))]);
}

#[test]
fn nothing_keeps_the_descriptor_readable_once_it_has_been_heard() {
    let dead = UdpSocket::bind("127.0.0.41:0").unwrap().local_addr().unwrap();
    let mut one = vtep("127.0.0.40");
    let to_dead = one.add(tunnel(40, dead)).unwrap();
    for number in 0..5 {
        one.send(to_dead, &frame(number, 60));
        flush(&mut one);
    }
    receive_until(&mut one, |one| one.stats().unreachable > 0);
    // The last of the rumours may still be on their way: a few rounds, and then silence.
    let is_readable = |one: &Vtep| {
        let mut fds = [nix::poll::PollFd::new(one.wait_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, 50u16).unwrap() > 0
    };
    let mut rounds = 0;
    while is_readable(&one) {
        assert_eq!(one.receive().unwrap(), 0);
        rounds += 1;
        assert!(rounds < 50, "{:?}", one.stats());
    }
}

#[test]
fn a_frame_too_long_for_a_datagram_is_dropped_with_its_reason_and_others_pass() {
    let ((mut one, to_two), (mut two, _)) = pair("127.0.0.1", "127.0.0.2", 40);
    let longest = 65_535 - 20 - 8 - 8;
    for len in [60, longest + 1, longest, 70_000, 61] {
        one.send(to_two, &frame(1, len));
    }
    let mut outcomes = flush(&mut one);
    outcomes.sort_by_key(|(len, _)| *len);
    let too_long = Err(DropReason::TooLong);
    assert_eq!(
        outcomes,
        [(60, Ok(())), (61, Ok(())), (longest, Ok(())), (longest + 1, too_long), (70_000, too_long)]
    );
    assert_eq!(one.stats().dropped_too_long, 2);
    let mut lens: Vec<usize> = receive(&mut two, 3).iter().map(|(_, frame)| frame.len()).collect();
    lens.sort_unstable();
    assert_eq!(lens, [60, 61, longest]);
}

#[test]
fn what_the_kernel_has_no_room_for_is_counted_at_the_receiver() {
    let mut one = vtep("127.0.0.50");
    let config = VtepConfig { receive_buffer: 64 << 10, ..VtepConfig::new("127.0.0.51:0".parse().unwrap()) };
    let mut two = Vtep::bind(&config).unwrap();
    let to_two = one.add(tunnel(40, two.local_addr())).unwrap();
    two.add(tunnel(40, one.local_addr())).unwrap();
    for number in 0..2000u32 {
        one.send(to_two, &frame(number as u8, 1000));
        if number % 50 == 0 {
            flush(&mut one);
        }
    }
    flush(&mut one);
    receive_until(&mut two, |two| two.stats().kernel_drops + two.stats().datagrams_received >= 1);
    while two.receive().unwrap() > 0 {}
    let stats = two.stats();
    assert!(stats.kernel_drops > 0 && stats.frames_received > 0, "{stats:?}");
}
