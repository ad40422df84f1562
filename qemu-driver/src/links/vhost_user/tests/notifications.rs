//! Who tells whom, and how often.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
}

/// With event indices, and with flags.
fn both(test: impl Fn(Lab)) {
    for event_idx in [true, false] {
        let mut lab = Lab::new(FrontConfig { event_idx, ..FrontConfig::default() });
        // The first batch after a start is told of whatever the other end wants.
        lab.send(&[frame(0, 60)]);
        lab.received();
        lab.write(&run(&finished(&[frame(0, 60)])));
        lab.got();
        lab.front.disarm();
        lab.link.disarm();
        test(lab);
    }
}

#[test]
fn a_link_that_is_awake_is_not_kicked_and_does_not_call_a_guest_that_is() {
    both(|mut lab| {
        let (kicks, calls) = (lab.front.counts().kicks, lab.stat("calls"));
        for n in 0..1000 {
            let frames = [frame(n, 60), frame(n, 1000)];
            lab.send(&frames);
            assert_eq!(lab.received().len(), 2);
            lab.write(&run(&finished(&frames)));
            assert_eq!(lab.got().len(), 2);
        }
        assert_eq!((lab.front.counts().kicks, lab.stat("calls")), (kicks, calls));
        assert!(!is_readable(lab.link.fd()) && !is_readable(lab.front.fd()));
    });
}

#[test]
fn a_link_that_sleeps_is_kicked_once_for_a_batch() {
    both(|mut lab| {
        let (kicks, woken) = (lab.front.counts().kicks, lab.stat("kicks"));
        assert!(!lab.link.arm(true, false));
        assert!(!is_readable(lab.link.fd()));
        lab.send(&[frame(1, 60), frame(2, 60), frame(3, 60)]);
        assert!(is_readable(lab.link.fd()));
        lab.link.disarm();
        assert!(!is_readable(lab.link.fd()));
        lab.send(&[frame(4, 60)]);
        assert_eq!(lab.front.counts().kicks, kicks + 1);
        assert_eq!((lab.received().len(), lab.stat("kicks")), (4, woken + 1));
    });
}

#[test]
fn a_link_that_is_about_to_sleep_sees_what_came_before() {
    both(|mut lab| {
        lab.send(&[frame(1, 60)]);
        assert!(lab.link.arm(true, false));
        assert_eq!(lab.received().len(), 1);
        assert!(!lab.link.arm(true, false));
        // What is not waited for is no reason to stay awake.
        lab.link.disarm();
        lab.send(&[frame(1, 60)]);
        assert!(!lab.link.arm(false, false));
        assert!(lab.link.arm(true, false));
    });
}

#[test]
fn frames_that_find_no_room_in_the_space_keep_the_link_awake() {
    both(|mut lab| {
        lab.send(&[frame(1, 1000)]);
        assert_eq!(lab.link.receive(&mut [0; 100]), Ok(Received::Nothing));
        assert!(lab.link.arm(true, false));
    });
}

#[test]
fn a_guest_that_sleeps_is_called_once_for_a_batch() {
    both(|mut lab| {
        let calls = lab.stat("calls");
        assert!(!lab.front.arm(true, false));
        assert!(!is_readable(lab.front.fd()));
        lab.write(&run(&finished(&[frame(1, 60), frame(2, 9000), frame(3, 60)])));
        assert!(is_readable(lab.front.fd()));
        assert_eq!(lab.stat("calls"), calls + 1);
        lab.front.disarm();
        assert!(!is_readable(lab.front.fd()));
        assert_eq!(lab.got().len(), 3);
        lab.write(&run(&finished(&[frame(4, 60)])));
        assert_eq!(lab.stat("calls"), calls + 1);
        assert!(lab.front.arm(true, false));
    });
}

#[test]
fn a_link_that_waits_for_buffers_is_kicked_when_the_guest_has_new_ones() {
    both(|mut lab| {
        let records = run(&finished(&vec![frame(1, 60); 300]));
        let wrote = lab.write(&records);
        assert_eq!(wrote.octets, 256 * 64);
        assert_eq!(lab.write(&records[wrote.octets..]), Wrote::default());
        assert!(!lab.link.arm(false, true));
        assert!(!is_readable(lab.link.fd()));
        assert_eq!(lab.got().len(), 256);
        assert!(is_readable(lab.link.fd()));
        lab.link.disarm();
        assert_eq!(lab.write(&records[wrote.octets..]).octets, 44 * 64);
        // Now there are buffers left, and nothing to wait for.
        assert!(lab.link.arm(false, true));
    });
}

#[test]
fn buffers_that_are_too_few_for_a_frame_do_not_keep_the_link_awake() {
    both(|mut lab| {
        let many = run(&finished(&vec![frame(1, 60); 250]));
        assert_eq!(lab.write(&many).octets, many.len());
        // Six are left, and seven are needed.
        let long = run(&finished(&[frame(2, 10_000)]));
        assert_eq!(lab.write(&long), Wrote::default());
        assert!(!lab.link.arm(false, true));
        assert_eq!(lab.got().len(), 250);
        assert!(is_readable(lab.link.fd()));
        assert_eq!(lab.write(&long).octets, long.len());
    });
}

#[test]
fn a_guest_that_waits_for_room_is_called_when_its_frames_are_taken() {
    both(|mut lab| {
        let frames = vec![frame(1, 60); 300];
        let taken = lab.front.send(frames.iter().map(|frame| (None, &frame[..])));
        assert_eq!(taken, 256);
        assert!(!lab.front.arm(false, true));
        assert_eq!(lab.received().len(), 256);
        assert!(is_readable(lab.front.fd()));
        lab.front.disarm();
        assert_eq!(lab.front.send(frames[taken..].iter().map(|frame| (None, &frame[..]))), 44);
    });
}

#[test]
fn a_front_end_that_wakes_the_link_is_heard_before_the_rings() {
    let mut lab = Lab::new(FrontConfig::default());
    lab.send(&[frame(1, 60)]);
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Records(64)));
    lab.send(&[frame(2, 60), frame(3, 60)]);
    assert_eq!(lab.link.receive(&mut lab.space[..64]), Ok(Received::Records(64)));
    lab.front.session.tell(&Request::SetVringEnable { ring: 0, enable: 0 }, &[]).unwrap();
    assert!(is_readable(lab.link.fd()));
    lab.link.disarm();
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Records(64)));
    assert!(!lab.link.has_peer());
}

#[test]
fn a_link_that_has_ended_wakes_nobody() {
    let mut lab = Lab::new(FrontConfig::default());
    drop(lab.front);
    assert!(is_readable(lab.link.fd()));
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed));
    assert!(!is_readable(lab.link.fd()));
}

#[test]
fn two_threads_that_sleep_whenever_they_can_miss_nothing() {
    // Without the fences two million, with optimisation, found a word that was lost in one of three runs.
    const FRAMES: usize = 20_000;
    for event_idx in [true, false] {
        let driver = FrontConfig { event_idx, ring_size: 16, ..FrontConfig::default() };
        let Lab { mut link, mut front, mut space } = Lab::new(driver);
        let sleep = |fd: BorrowedFd<'_>| {
            // Five seconds without a word are a word that was lost.
            let woken = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(5000u16)).unwrap();
            assert_eq!(woken, 1, "nobody has told anything");
        };
        std::thread::scope(|scope| {
            // The guest sends, and waits for every frame to come back.
            scope.spawn(move || {
                let (mut sent, mut got) = (0, 0);
                while got < FRAMES {
                    let frames = (sent..FRAMES).map(|n| frame(n, 60 + n % 1000)).take(16).collect::<Vec<_>>();
                    let taken = front.send(frames.iter().map(|frame| (None, &frame[..])));
                    sent += taken;
                    let came = front.receive(|_, octets| {
                        assert_eq!(octets, frame(got, 60 + got % 1000));
                        got += 1;
                    });
                    if taken == 0 && came == 0 && got < FRAMES {
                        if !front.arm(true, sent < FRAMES) {
                            sleep(front.fd());
                        }
                        front.disarm();
                    }
                }
            });
            let (mut pending, mut passed) = (Vec::new(), 0);
            while passed < FRAMES {
                let mut came = 0;
                if pending.is_empty()
                    && let Received::Records(octets) = link.receive(&mut space).unwrap()
                {
                    pending.extend_from_slice(&space[..octets]);
                    came = octets;
                }
                let wrote = link.write(&[IoSlice::new(&pending)]).unwrap();
                passed += sent(&pending[..wrote.octets]).len();
                pending.drain(..wrote.octets);
                if came == 0 && wrote.octets == 0 {
                    if !link.arm(pending.is_empty(), !pending.is_empty()) {
                        sleep(link.fd());
                    }
                    link.disarm();
                }
            }
        });
    }
}
