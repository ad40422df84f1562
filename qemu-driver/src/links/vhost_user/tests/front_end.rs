//! Front ends that ask what makes no sense.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::eventfd::EventFd;

use super::super::messages::{Header, RegionEntry, RingAddresses, RingFd};
use super::*;

/// A message of any kind.
fn message(request: u32, needs_reply: bool, payload: &[u8]) -> Vec<u8> {
    let payload_len = u32::try_from(payload.len()).unwrap();
    [&Header { request, is_reply: false, needs_reply, payload_len }.write(), payload].concat()
}

fn requests_that_cannot_be() -> Vec<Request> {
    let ring_fd = |ring| RingFd { ring, has_fd: false };
    vec![
        Request::SetFeatures(1 << 34),
        Request::SetProtocolFeatures(1 << 63),
        Request::SetVringNum { ring: 2, size: 256 },
        Request::SetVringNum { ring: 0, size: 0 },
        Request::SetVringNum { ring: 0, size: 100 },
        Request::SetVringNum { ring: 0, size: 65_536 },
        // The ring runs.
        Request::SetVringNum { ring: 0, size: 128 },
        Request::SetVringBase { ring: 0, base: 0 },
        Request::SetVringBase { ring: 0, base: 65_536 },
        Request::SetVringAddr { ring: 7, addresses: RingAddresses::default() },
        Request::SetVringKick(ring_fd(2)),
        Request::SetVringCall(ring_fd(255)),
        Request::SetVringErr(ring_fd(3)),
        Request::SetVringEnable { ring: 2, enable: 1 },
        Request::SetVringEnable { ring: 0, enable: 2 },
        Request::NetSetMtu(65_536),
        Request::SetMemTable(vec![RegionEntry::default()]),
        Request::SetVringKick(RingFd { ring: 0, has_fd: true }),
    ]
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut lab = Lab::new(FrontConfig::default());
    for (count, request) in (1..).zip(requests_that_cannot_be()) {
        let (answer, _) = lab.wait_for(|front| front.session.command(&request, &[]));
        assert!(matches!(answer, Err(FrontError::Refused(_))), "{request:?}: {answer:?}");
        assert_eq!(lab.stat("requests-refused"), count);
        lab.send(&[frame(1, 60)]);
        assert_eq!(lab.received(), finished(&[frame(1, 60)]), "{request:?}");
        lab.write(&run(&finished(&[frame(2, 60)])));
        assert_eq!(lab.got(), finished(&[frame(2, 60)]), "{request:?}");
        lab.front.reclaim();
    }
}

#[test]
fn who_does_not_wait_for_an_answer_and_is_refused_is_given_up() {
    for request in requests_that_cannot_be() {
        let mut lab = Lab::new(FrontConfig::default());
        lab.front.session.tell(&request, &[]).unwrap();
        assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed), "{request:?}");
        assert!(!lab.link.has_peer());
    }
    // There is no number to be told of a ring that there is not.
    let mut lab = Lab::new(FrontConfig::default());
    lab.front.session.tell(&Request::VringBase { ring: 2 }, &[]).unwrap();
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed));
}

#[test]
fn payloads_of_the_wrong_length_are_refused() {
    for request in [2, 5, 8, 9, 10, 12, 13, 14, 16, 18, 20] {
        for len in [0, 1, 7, 9, 41, 300] {
            let mut lab = Lab::new(FrontConfig::default());
            lab.front.session.send_raw(&message(request, true, &vec![0; len]), &[]).unwrap();
            // A memory table of nothing is one whatever follows it.
            let is_right = request == 5 && len >= 8;
            assert_eq!(lab.received(), []);
            assert_eq!(lab.stat("requests-refused"), u64::from(!is_right), "{request} {len}");
        }
    }
}

#[test]
fn what_is_not_known_here_is_refused_to_who_asks_and_ignored_otherwise() {
    let mut lab = Lab::new(FrontConfig::default());
    for request in [0, 6, 7, 19, 21, 24, 34, 40, 1000, u32::MAX] {
        let unknown = Request::Unknown(request);
        let (answer, _) = lab.wait_for(|front| front.session.command(&unknown, &[]));
        assert!(matches!(answer, Err(FrontError::Refused(code)) if code == request));
        lab.front.session.send_raw(&message(request, false, &[0; 500]), &[]).unwrap();
        lab.send(&[frame(1, 60)]);
        assert_eq!(lab.received().len(), 1);
        lab.front.reclaim();
    }
    assert_eq!(lab.stat("requests-refused"), 20);
}

#[test]
fn streams_that_cannot_be_read_end_the_link() {
    let header = |flags: u32, len: u32| [1, flags, len].map(u32::to_ne_bytes).concat();
    for bytes in [header(0, 0), header(3, 0), header(1, 4097), header(1, u32::MAX), header(5, 0)] {
        let mut lab = Lab::new(FrontConfig::default());
        lab.front.session.send_raw(&bytes, &[]).unwrap();
        assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed), "{bytes:?}");
        // Nothing is left of the guest, and nobody waits.
        assert!(!lab.link.has_peer());
        assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed));
    }
}

#[test]
fn descriptors_that_do_not_belong_to_a_message_are_closed() {
    let mut lab = Lab::new(FrontConfig::default());
    let (one, other) = UnixStream::pair().unwrap();
    other.set_nonblocking(true).unwrap();
    let without = RingFd { ring: 0, has_fd: false };
    for request in [Request::SetOwner, Request::Unknown(77), Request::SetVringCall(without)] {
        let fds = [one.as_fd(), one.as_fd()];
        lab.wait_for(|front| front.session.command(&request, &fds)).0.ok();
    }
    // One too many, and one too few.
    let with = RingFd { ring: 0, has_fd: true };
    for fds in [&[one.as_fd(), one.as_fd()][..], &[]] {
        let (answer, _) = lab.wait_for(|front| front.session.command(&Request::SetVringErr(with), fds));
        assert!(matches!(answer, Err(FrontError::Refused(14))));
    }
    // What is right is kept until another takes its place.
    let event = EventFd::new().unwrap();
    for fd in [one.as_fd(), event.as_fd()] {
        lab.wait_for(|front| front.session.command(&Request::SetVringErr(with), &[fd])).0.unwrap();
    }
    drop(one);
    assert_eq!(std::io::Read::read(&mut &other, &mut [0]).unwrap(), 0);
}

#[test]
fn kicks_that_cannot_be_waited_for_are_refused() {
    let mut lab = Lab::new(FrontConfig::default());
    let file = std::fs::File::open("/dev/null").unwrap();
    let regular = std::fs::File::open("/proc/self/exe").unwrap();
    let request = Request::SetVringKick(RingFd { ring: 1, has_fd: true });
    for fd in [file.as_fd(), regular.as_fd()] {
        let (answer, _) = lab.wait_for(|front| front.session.command(&request, &[fd]));
        assert!(matches!(answer, Err(FrontError::Refused(12))), "{answer:?}");
    }
}

#[test]
fn a_ring_without_a_kick_is_polled() {
    let mut lab = Lab::new(FrontConfig::default());
    let request = Request::SetVringKick(RingFd { ring: 1, has_fd: false });
    lab.wait_for(|front| front.session.command(&request, &[])).0.unwrap();
    lab.send(&[frame(1, 60)]);
    assert_eq!(lab.received().len(), 1);
}

#[test]
fn rings_outside_the_memory_stop_and_come_back_with_it() {
    let mut lab = Lab::new(FrontConfig::default());
    let (answer, _) = lab.wait_for(|front| front.session.command(&Request::SetMemTable(vec![]), &[]));
    answer.unwrap();
    assert!(!lab.link.has_peer());
    assert_eq!(lab.stat("rings-broken"), 2);
    lab.wait_for(Front::remember).0.unwrap();
    assert!(lab.link.has_peer());
    lab.send(&[frame(1, 60)]);
    assert_eq!(lab.received().len(), 1);
}

#[test]
fn the_front_end_is_told_of_a_broken_ring_if_it_wants_to_know() {
    let mut lab = Lab::new(FrontConfig::default());
    let event = EventFd::from_flags(nix::sys::eventfd::EfdFlags::EFD_NONBLOCK).unwrap();
    let request = Request::SetVringErr(RingFd { ring: 1, has_fd: true });
    lab.wait_for(|front| front.session.command(&request, &[event.as_fd()])).0.unwrap();
    assert!(event.read().is_err());
    lab.front.queues[FROM_GUEST].set_index(0x9000);
    assert_eq!(lab.received(), []);
    assert_eq!(event.read(), Ok(1));
}

#[test]
fn a_call_that_would_wait_does_not() {
    // A pipe that is full, as no eventfd of qemu's ever is.
    let (_reader, writer) = nix::unistd::pipe().unwrap();
    let mut lab = Lab::new(FrontConfig::default());
    let request = Request::SetVringCall(RingFd { ring: 0, has_fd: true });
    lab.wait_for(|front| front.session.command(&request, &[writer.as_fd()])).0.unwrap();
    while nix::unistd::write(&writer, &[0; 4096]).is_ok() {}
    let records = run(&finished(&[frame(1, 60)]));
    for _ in 0..10 {
        assert!(!lab.front.arm(true, false));
        assert_eq!(lab.write(&records).octets, records.len());
        assert_eq!(lab.got().len(), 1);
    }
    assert_eq!(lab.stat("calls"), 0);
}

#[test]
fn nothing_is_left_open_behind_a_link() {
    let ours = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests open and close their own: a leak would show in every round.
    let rounds = 200;
    let before = ours();
    for _ in 0..rounds {
        let mut lab = Lab::new(FrontConfig { ring_size: 8, ..FrontConfig::default() });
        lab.wait_for(Front::restart).0.unwrap();
        lab.wait_for(Front::remember).0.unwrap();
    }
    assert!(ours() < before + rounds, "descriptors are left open");
}
