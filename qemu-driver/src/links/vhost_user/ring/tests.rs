//! When the other end is told.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn an_event_is_wanted_where_an_index_was_passed(event: u16, old: u16, count in 0u16..300) {
        // Step by step: what is published is `old`, then one more, and so on; told is who waits for one of them.
        let passed = (0..count).any(|n| old.wrapping_add(n) == event);
        prop_assert_eq!(wants_event(event, old, old.wrapping_add(count)), passed);
    }

    #[test]
    fn an_index_far_from_ours_is_no_index(base: u16, index: u16, order in 0u32..11) {
        let (memory, area, addresses) = memory();
        let size = 1u16 << order;
        let mut ring = Ring::start(&memory, &addresses, size, base, Negotiated(0)).unwrap();
        area.store_u16(0x8000 + INDEX, index, Ordering::Relaxed);
        let count = index.wrapping_sub(base);
        match ring.look() {
            Ok(waiting) => prop_assert!(waiting == count && count <= size),
            Err(error) => {
                prop_assert!(count > size);
                prop_assert_eq!(error, BadIndex { index, next: base, size });
            }
        }
    }
}

/// Memory with room for a ring of 1024.
fn memory() -> (GuestMemory, Area, RingAddresses) {
    let file = super::super::memory::sealed_file(0x20000).unwrap();
    let area = Area::of_file(&file, 0x20000).unwrap();
    let entry = super::super::messages::RegionEntry { len: 0x20000, ..Default::default() };
    let memory = GuestMemory::map(&[entry], &[file]).unwrap();
    (memory, area, RingAddresses { descriptors: 0, available: 0x8000, used: 0x10000 })
}

#[test]
fn what_is_given_back_appears_at_once() {
    let (memory, area, addresses) = memory();
    let mut ring = Ring::start(&memory, &addresses, 8, 0, Negotiated(0)).unwrap();
    area.store_u16(0x8000 + INDEX, 8, Ordering::Relaxed);
    assert_eq!(ring.look(), Ok(8));
    let index = || area.load_u16(0x10000 + INDEX, Ordering::Relaxed);
    for head in 0..5 {
        ring.take(1);
        ring.give_back(head, 100);
        assert_eq!(index(), 0);
    }
    assert!(ring.publish());
    assert_eq!(index(), 5);
    // Nothing new: nobody is called.
    assert!(!ring.publish());
    assert_eq!((ring.waiting(), ring.base()), (3, 5));
}

#[test]
fn a_head_that_the_ring_does_not_have_is_not_given_back() {
    let (memory, area, addresses) = memory();
    let mut ring = Ring::start(&memory, &addresses, 8, 0, Negotiated(0)).unwrap();
    ring.give_back(8, 0);
    ring.give_back(u16::MAX, 0);
    assert!(!ring.publish());
    assert_eq!(area.load_u16(0x10000 + INDEX, Ordering::Relaxed), 0);
}

#[test]
fn a_ring_that_is_not_in_the_memory_does_not_start() {
    let (memory, _, addresses) = memory();
    let starts = |addresses| Ring::start(&memory, &addresses, 1024, 0, Negotiated(0)).is_some();
    assert!(starts(addresses));
    assert!(!starts(RingAddresses { descriptors: 0x20000 - 1024 * 16 + 16, ..addresses }));
    assert!(!starts(RingAddresses { available: 0x20000 - 2048 - 4, ..addresses }));
    assert!(!starts(RingAddresses { used: u64::MAX - 3, ..addresses }));
    // Nor does one that is askew (VIRTIO 1.2 §2.7).
    assert!(!starts(RingAddresses { descriptors: 8, ..addresses }));
    assert!(!starts(RingAddresses { available: 0x8001, ..addresses }));
    assert!(!starts(RingAddresses { used: 0x10002, ..addresses }));
}
