//! Guests that do what no driver does. The ring that they do it on suffers, and nothing else.

use super::super::ring::Descriptor;
use super::front::GUEST_BASE;
use super::*;

fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor { address, len, flags, next }
}

/// A guest that has a descriptor on its ring and makes it available.
fn offer(lab: &mut Lab, ring: usize, head: u16, chain: &[(u16, Descriptor)]) {
    for (index, descriptor) in chain {
        lab.front.queues[ring].describe(*index, *descriptor);
    }
    lab.front.queues[ring].offer(head);
    lab.front.queues[ring].publish();
}

/// Chains that are bad in either direction; `right` is the flag of buffers that are right.
fn bad_chains(right: u16) -> Vec<(&'static str, Vec<(u16, Descriptor)>)> {
    const NEXT: u16 = Descriptor::NEXT;
    const TABLE: u16 = Descriptor::INDIRECT;
    let wrong = right ^ Descriptor::WRITE;
    let at = GUEST_BASE;
    vec![
        ("a loop", vec![(0, descriptor(at, 100, right | NEXT, 0))]),
        (
            "a longer loop",
            vec![(0, descriptor(at, 9, right | NEXT, 1)), (1, descriptor(at, 9, right | NEXT, 0))],
        ),
        ("next out of range", vec![(0, descriptor(at, 100, right | NEXT, 256))]),
        ("below the memory", vec![(0, descriptor(at - 1, 100, right, 0))]),
        ("far beyond it", vec![(0, descriptor(u64::MAX - 10, 100, right, 0))]),
        ("an endless length", vec![(0, descriptor(at + 1, u32::MAX, right, 0))]),
        ("the other direction", vec![(0, descriptor(at, 100, wrong, 0))]),
        (
            "the other direction behind",
            vec![(0, descriptor(at, 100, right | NEXT, 1)), (1, descriptor(at, 100, wrong, 0))],
        ),
        ("no octets", vec![(0, descriptor(at, 0, right, 0))]),
        ("too few for a header", vec![(0, descriptor(at, 11, right, 0))]),
        ("an empty table", vec![(0, descriptor(at, 0, TABLE, 0))]),
        ("a table of odd length", vec![(0, descriptor(at, 24, TABLE, 0))]),
        ("a table that goes on", vec![(0, descriptor(at, 16, TABLE | NEXT, 1))]),
        ("a table elsewhere", vec![(0, descriptor(0, 16, TABLE, 0))]),
        ("nothing but zeros", vec![(0, descriptor(0, 0, 0, 0))]),
    ]
}

#[test]
fn bad_chains_from_the_guest_are_counted_given_back_and_survived() {
    for (name, chain) in bad_chains(0) {
        let mut lab = Lab::new(FrontConfig::default());
        offer(&mut lab, FROM_GUEST, 0, &chain);
        assert_eq!(lab.received(), [], "{name}");
        assert_eq!(lab.refusals(), [(DropReason::BadDescriptor, 0)], "{name}");
        assert_eq!((lab.stat("bad-chains"), lab.stat("rings-broken")), (1, 0), "{name}");
        // It is the driver's again, and the next frame passes.
        lab.front.queues[FROM_GUEST].look();
        assert_eq!(lab.front.queues[FROM_GUEST].take(), Some((0, 0)), "{name}");
        lab.send(&[frame(1, 60)]);
        assert_eq!(lab.received(), finished(&[frame(1, 60)]), "{name}");
    }
}

/// A guest that has no good buffers but those of `chains`.
fn with_buffers(chains: &[(u16, Vec<(u16, Descriptor)>)]) -> Lab {
    let mut lab = Lab::new(FrontConfig::default());
    let all = run(&finished(&vec![frame(1, 60); 256]));
    assert_eq!(lab.write(&all).octets, all.len());
    // The front end does not give them back: the ring is empty.
    lab.front.queues[TO_GUEST].look();
    while lab.front.queues[TO_GUEST].take().is_some() {}
    for (head, chain) in chains {
        offer(&mut lab, TO_GUEST, *head, chain);
    }
    lab
}

#[test]
fn bad_chains_for_the_guest_are_counted_given_back_and_survived() {
    let good = descriptor(GUEST_BASE + 0x10_0000, 1536, Descriptor::WRITE, 0);
    for (name, chain) in bad_chains(Descriptor::WRITE) {
        let mut lab = with_buffers(&[(0, chain), (9, vec![(9, good)])]);
        let records = run(&finished(&[frame(1, 100)]));
        let expected = Wrote { octets: records.len(), unsendable: Tally::default() };
        assert_eq!(lab.write(&records), expected, "{name}");
        assert_eq!(lab.refusals(), [(DropReason::BadDescriptor, 0)], "{name}");
        assert_eq!((lab.stat("bad-chains"), lab.stat("rings-broken")), (1, 0), "{name}");
        let queue = &mut lab.front.queues[TO_GUEST];
        queue.look();
        assert_eq!((queue.take(), queue.take()), (Some((0, 0)), Some((9, 112))), "{name}");
        assert_eq!(queue.take(), None);
    }
}

#[test]
fn a_bad_chain_amid_the_buffers_of_a_frame_takes_those_before_it_along() {
    let good = descriptor(GUEST_BASE + 0x10_0000, 500, Descriptor::WRITE, 0);
    let bad = descriptor(0, 500, Descriptor::WRITE, 0);
    let chain = |n: u16, descriptor| (n, vec![(n, descriptor)]);
    let mut lab = with_buffers(&[chain(1, good), chain(2, bad), chain(3, good), chain(4, good)]);
    let records = run(&finished(&[frame(1, 900)]));
    assert_eq!(lab.write(&records).octets, records.len());
    let queue = &mut lab.front.queues[TO_GUEST];
    queue.look();
    let used: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
    assert_eq!(used, [(1, 0), (2, 0), (3, 500), (4, 412)]);
}

#[test]
fn heads_that_the_ring_does_not_have_are_counted_and_passed_over() {
    let mut lab = Lab::new(FrontConfig::default());
    for head in [256, 257, u16::MAX] {
        offer(&mut lab, FROM_GUEST, head, &[]);
    }
    lab.send(&[frame(1, 60)]);
    assert_eq!(lab.received(), finished(&[frame(1, 60)]));
    assert_eq!(lab.refusals(), [(DropReason::BadDescriptor, 0); 3]);
    assert_eq!(lab.front.reclaim(), 1);
}

#[test]
fn frames_that_are_empty_or_too_long_have_a_bad_length() {
    let mut lab = Lab::new(FrontConfig::default());
    let chain = |octets: u32| vec![(0, descriptor(GUEST_BASE + 0x1_0000, octets, 0, 0))];
    for octets in [12, 12 + 69_633, 200_000] {
        offer(&mut lab, FROM_GUEST, 0, &chain(octets));
    }
    lab.front.memory.write(0x1_0000, &[0; 12]);
    // All three are the last of them by now: one descriptor, offered three times.
    assert_eq!(lab.received(), []);
    assert_eq!(lab.refusals(), [(DropReason::BadLength, 199_988); 3]);
    offer(&mut lab, FROM_GUEST, 0, &chain(12));
    assert_eq!(lab.received(), []);
    assert_eq!(lab.refusals(), [(DropReason::BadLength, 0)]);
    offer(&mut lab, FROM_GUEST, 0, &chain(12 + 69_633));
    assert_eq!(lab.received(), []);
    assert_eq!(lab.refusals(), [(DropReason::BadLength, 69_633)]);
}

#[test]
fn an_index_out_of_reach_stops_the_ring_until_the_driver_starts_anew() {
    for ring in [FROM_GUEST, TO_GUEST] {
        for index in [257u16, 1000, 0x8000, u16::MAX] {
            let mut lab = Lab::new(FrontConfig::default());
            let index = if ring == TO_GUEST { index.wrapping_add(256) } else { index };
            let index = if ring == TO_GUEST && index <= 256 { 0x9000 } else { index };
            lab.front.queues[ring].set_index(index);
            let records = run(&finished(&[frame(1, 60)]));
            for _ in 0..3 {
                assert_eq!(lab.received(), [], "{index}");
                let expected = if ring == TO_GUEST { 0 } else { records.len() };
                assert_eq!(lab.write(&records).octets, expected, "{index}");
            }
            assert_eq!(lab.stat("rings-broken"), 1, "{index}");
            assert_eq!(lab.link.has_peer(), ring == FROM_GUEST);
            assert!(!lab.link.arm(true, ring == TO_GUEST));
            lab.wait_for(Front::restart).0.unwrap();
            lab.send(&[frame(2, 60)]);
            assert_eq!(lab.received(), finished(&[frame(2, 60)]));
            lab.write(&records);
            assert_eq!(lab.got(), finished(&[frame(1, 60)]));
        }
    }
}

#[test]
fn refusals_are_bounded_and_none_is_lost() {
    let mut lab = Lab::new(FrontConfig { ring_size: 1024, ..FrontConfig::default() });
    for _ in 0..1000 {
        lab.front.queues[FROM_GUEST].offer(0);
    }
    lab.front.queues[FROM_GUEST].publish();
    lab.front.queues[FROM_GUEST].describe(0, descriptor(0, 60, 0, 0));
    // Nobody asks: at some point the guest's chains stay where they are.
    for _ in 0..10 {
        assert_eq!(lab.received(), []);
    }
    assert_eq!(lab.stat("bad-chains"), 256);
    let mut refused = 0;
    while refused < 1000 {
        assert_eq!(lab.received(), []);
        let refusals = lab.refusals();
        assert!(!refusals.is_empty());
        refused += refusals.len();
    }
    assert_eq!((refused, lab.stat("bad-chains")), (1000, 1000));
}

#[test]
fn a_ring_in_its_own_buffers_harms_only_itself() {
    // Frames are received into the very ring that the buffers are on.
    for ring in [TO_GUEST, FROM_GUEST] {
        let at = Lab::new(FrontConfig::default()).front.queues[ring].parts;
        for part in at {
            let buffer = descriptor(GUEST_BASE + part as u64, 4096, Descriptor::WRITE, 0);
            let mut lab = with_buffers(&[(3, vec![(3, buffer)]), (4, vec![(4, buffer)])]);
            for n in 0..4 {
                lab.write(&run(&finished(&[frame(n, 4000)])));
                let _ = lab.received();
                lab.refusals();
            }
            let restarted = lab.wait_for(Front::restart).0;
            restarted.unwrap();
            lab.send(&[frame(2, 60)]);
            assert_eq!(lab.received(), finished(&[frame(2, 60)]));
        }
    }
}

#[test]
fn a_guest_that_writes_while_it_is_read_harms_only_its_frames() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut lab = Lab::new(FrontConfig { ring_size: 16, ..FrontConfig::default() });
    let (done, memory) = (AtomicBool::new(false), lab.front.memory.clone());
    let parts = lab.front.queues[FROM_GUEST].parts;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seed = 1u64;
            while !done.load(Ordering::Relaxed) {
                // Any descriptor becomes any other, all the time.
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = parts[0] + 16 * (seed >> 60) as usize;
                memory.store_u64(at + 8, (seed >> 20) & 0x000f_0007_0000_ffff);
                memory.store_u64(at, GUEST_BASE + (seed >> 33) % 0x4_0000);
            }
        });
        let mut received = 0;
        for n in 0..20_000u16 {
            lab.front.queues[FROM_GUEST].offer(n % 16);
            lab.front.queues[FROM_GUEST].publish();
            received += lab.received().len() + lab.refusals().len();
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(received, 20_000);
    });
}
