//! A split virtqueue as the driver sees it (VIRTIO 1.2 §2.7.13, §2.7.14): the mirror of `ring`.

use std::sync::atomic::{Ordering, fence};

use super::super::memory::Area;
use super::super::ring::{self, Descriptor, wants_event};

/// Where the fields of the rings are, and the length of an element of the used ring.
const FLAGS: usize = 0;
const INDEX: usize = 2;
const ELEMENTS: usize = 4;
const USED_ELEMENT_LEN: usize = 8;

/// A part of the ring is at a multiple of this: a page.
const PART_ALIGN: usize = 4096;

/// A ring, of which the driver fills the one half.
#[derive(Debug)]
pub(in super::super) struct Queue {
    memory: Area,
    /// Where the descriptors, the available and the used ring are.
    pub(in super::super) parts: [usize; 3],
    pub(in super::super) size: u16,
    event_idx: bool,
    next_available: u16,
    published: u16,
    /// How far the used ring was taken, and seen.
    next_used: u16,
    seen: u16,
}

impl Queue {
    /// Octets that a ring of `size` takes.
    pub(super) fn octets(size: u16) -> usize {
        Queue::parts(size).1
    }

    /// Where the parts are from the ring's beginning, and where its end is.
    fn parts(size: u16) -> ([usize; 3], usize) {
        let count = usize::from(size);
        let part = |len: usize| len.next_multiple_of(PART_ALIGN);
        let available = part(ring::DESCRIPTOR_LEN * count);
        let used = available + part(ELEMENTS + 2 * count + 2);
        ([0, available, used], used + part(ELEMENTS + USED_ELEMENT_LEN * count + 2))
    }

    /// An empty ring at `at`.
    pub(super) fn new(memory: Area, at: usize, size: u16, event_idx: bool) -> Queue {
        let parts = Queue::parts(size).0.map(|part| at + part);
        memory.write(at, &vec![0; Queue::octets(size)]);
        let mut queue =
            Queue { memory, parts, size, event_idx, next_available: 0, published: 0, next_used: 0, seen: 0 };
        queue.disarm();
        queue
    }

    /// Describes a buffer.
    #[inline]
    pub(in super::super) fn describe(&self, index: u16, descriptor: Descriptor) {
        write_descriptor(&self.memory, self.parts[0] + ring::DESCRIPTOR_LEN * usize::from(index), descriptor);
    }

    /// Makes a chain available, once it is published.
    #[inline]
    pub(in super::super) fn offer(&mut self, head: u16) {
        let slot = usize::from(self.next_available & (self.size - 1));
        self.memory.store_u16(self.parts[1] + ELEMENTS + 2 * slot, head, Ordering::Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows the device all that was offered. Whether it wants a kick for it.
    #[inline]
    pub(in super::super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_available);
        if old == new {
            return false;
        }
        self.set_index(new);
        self.published = new;
        fence(Ordering::SeqCst);
        if !self.event_idx {
            return self.memory.load_u16(self.parts[2] + FLAGS, Ordering::Relaxed) & 1 == 0;
        }
        let at = self.parts[2] + ELEMENTS + USED_ELEMENT_LEN * usize::from(self.size);
        wants_event(self.memory.load_u16(at, Ordering::Relaxed), old, new)
    }

    /// Writes the index of the available ring, whatever it should be.
    pub(in super::super) fn set_index(&self, index: u16) {
        self.memory.store_u16(self.parts[1] + INDEX, index, Ordering::Release);
    }

    /// Looks how many chains have come back that were not taken.
    #[inline]
    pub(in super::super) fn look(&mut self) -> u16 {
        self.seen = self.memory.load_u16(self.parts[2] + INDEX, Ordering::Acquire);
        self.waiting()
    }

    /// How many of those that were seen have not been taken.
    #[inline]
    pub(in super::super) fn waiting(&self) -> u16 {
        self.seen.wrapping_sub(self.next_used)
    }

    /// Takes the next chain that has come back: its head, and how many octets were written to it.
    #[inline]
    pub(in super::super) fn take(&mut self) -> Option<(u16, u32)> {
        if self.waiting() == 0 {
            return None;
        }
        let slot = usize::from(self.next_used & (self.size - 1));
        let at = self.parts[2] + ELEMENTS + USED_ELEMENT_LEN * slot;
        let (head, len) = (self.memory.load_u32(at), self.memory.load_u32(at + 4));
        self.next_used = self.next_used.wrapping_add(1);
        let head = u16::try_from(head).ok().filter(|head| *head < self.size);
        Some((head.expect("the device gives back what it was given"), len))
    }

    /// Has the device call when more comes back than was seen. Whether it has already.
    pub(super) fn arm(&mut self) -> bool {
        if self.event_idx {
            let at = self.parts[1] + ELEMENTS + 2 * usize::from(self.size);
            self.memory.store_u16(at, self.seen, Ordering::Relaxed);
        } else {
            self.memory.store_u16(self.parts[1] + FLAGS, 0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.memory.load_u16(self.parts[2] + INDEX, Ordering::Acquire) != self.seen
    }

    /// Has the device not call any more.
    pub(super) fn disarm(&mut self) {
        if !self.event_idx {
            self.memory.store_u16(self.parts[1] + FLAGS, ring::NO_INTERRUPT, Ordering::Relaxed);
        }
    }
}

/// Writes a descriptor to the ring's or another table.
#[inline]
pub(super) fn write_descriptor(memory: &Area, at: usize, descriptor: Descriptor) {
    let Descriptor { address, len, flags, next } = descriptor;
    memory.store_u64(at, address);
    memory.store_u64(at + 8, u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48);
}
