//! A split virtqueue as the device sees it (VIRTIO 1.2 §2.7): what the driver has made available is taken in
//! order, and given back as used, many buffers at once.
//!
//! Indices count up for ever and wrap at 2^16. Nothing that the driver writes is believed: it is masked, or checked,
//! and read once.

use std::sync::atomic::{Ordering, fence};

use super::features::{Negotiated, bit};
use super::memory::{Area, GuestMemory};
use super::messages::RingAddresses;

/// The most descriptors that a ring has (VIRTIO 1.2 §2.7): a power of two.
pub(super) const MAX_SIZE: u16 = 1 << 15;

/// Octets of a descriptor and of an element of the used ring.
pub(super) const DESCRIPTOR_LEN: usize = 16;
const USED_ELEMENT_LEN: usize = 8;
/// Where the fields of the two rings are (VIRTIO 1.2 §2.7.6, §2.7.8).
const FLAGS: usize = 0;
const INDEX: usize = 2;
const ELEMENTS: usize = 4;

/// `VIRTQ_AVAIL_F_NO_INTERRUPT` and `VIRTQ_USED_F_NO_NOTIFY`.
pub(super) const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;

/// The driver's index is further from ours than the ring has descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the driver's index is {index} where {next} was taken last, on a ring of {size}")]
pub(super) struct BadIndex {
    index: u16,
    next: u16,
    size: u16,
}

/// A descriptor (VIRTIO 1.2 §2.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

impl Descriptor {
    /// `VIRTQ_DESC_F_NEXT`, `_WRITE` and `_INDIRECT`.
    pub(super) const NEXT: u16 = 1;
    pub(super) const WRITE: u16 = 2;
    pub(super) const INDIRECT: u16 = 4;

    /// From the two halves that it is read in.
    #[inline]
    pub(super) fn from_halves(address: u64, rest: u64) -> Descriptor {
        let (len, flags, next) = (rest as u32, (rest >> 32) as u16, (rest >> 48) as u16);
        Descriptor { address, len, flags, next }
    }

    #[inline]
    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// A ring that runs.
#[derive(Debug)]
pub(super) struct Ring {
    descriptors: Area,
    available: Area,
    used: Area,
    size: u16,
    /// The next index that is taken of the available ring, and written of the used one.
    next_available: u16,
    next_used: u16,
    /// The driver's index as it was read last.
    seen: u16,
    /// How far the driver has been shown the used ring.
    published: u16,
    /// Whether that was since the ring started: what the driver wished for before is not known.
    has_published: bool,
    event_idx: bool,
    indirect: bool,
}

impl Ring {
    /// Takes up a ring of `size` descriptors at the index `base`. `None` if it is not in the guest's memory.
    pub(super) fn start(
        memory: &GuestMemory,
        addresses: &RingAddresses,
        size: u16,
        base: u16,
        features: Negotiated,
    ) -> Option<Ring> {
        let count = usize::from(size);
        // Two octets more, whether or not they are in use: the index at which the other end wants to be told.
        let (available_len, used_len) = (ELEMENTS + 2 * count + 2, ELEMENTS + USED_ELEMENT_LEN * count + 2);
        let used = memory.area(addresses.used, used_len, 4)?;
        let next_used = used.load_u16(INDEX, Ordering::Relaxed);
        let mut ring = Ring {
            descriptors: memory.area(addresses.descriptors, DESCRIPTOR_LEN * count, 16)?,
            available: memory.area(addresses.available, available_len, 2)?,
            used,
            size,
            next_available: base,
            next_used,
            seen: base,
            published: next_used,
            has_published: false,
            event_idx: features.has(bit::EVENT_IDX),
            indirect: features.has(bit::INDIRECT_DESC),
        };
        ring.disarm();
        Some(ring)
    }

    pub(super) fn size(&self) -> u16 {
        self.size
    }

    /// Whether descriptors may refer to tables.
    pub(super) fn indirect(&self) -> bool {
        self.indirect
    }

    /// The index at which the ring is to be taken up again.
    pub(super) fn base(&self) -> u16 {
        self.next_available
    }

    /// How many chains wait, as of now.
    #[inline]
    pub(super) fn look(&mut self) -> Result<u16, BadIndex> {
        // Acquire: what the index announces has been written (VIRTIO 1.2 §2.7.13.3).
        let index = self.available.load_u16(INDEX, Ordering::Acquire);
        let count = index.wrapping_sub(self.next_available);
        if count > self.size {
            return Err(BadIndex { index, next: self.next_available, size: self.size });
        }
        self.seen = index;
        Ok(count)
    }

    /// How many chains wait of those that were seen.
    #[inline]
    pub(super) fn waiting(&self) -> u16 {
        self.seen.wrapping_sub(self.next_available)
    }

    /// The first descriptor of the `nth` chain that waits. May be beyond the ring.
    #[inline]
    pub(super) fn head(&self, nth: u16) -> u16 {
        let slot = self.next_available.wrapping_add(nth) & (self.size - 1);
        self.available.load_u16(ELEMENTS + 2 * usize::from(slot), Ordering::Relaxed)
    }

    /// A descriptor, which must be on the ring.
    #[inline]
    pub(super) fn descriptor(&self, index: u16) -> Descriptor {
        let at = DESCRIPTOR_LEN * usize::from(index);
        Descriptor::from_halves(self.descriptors.load_u64(at), self.descriptors.load_u64(at + 8))
    }

    /// `count` of the waiting chains are dealt with.
    #[inline]
    pub(super) fn take(&mut self, count: u16) {
        self.next_available = self.next_available.wrapping_add(count);
    }

    /// Gives a chain back, of which `len` octets were written. The driver sees it with [`publish`](Self::publish).
    #[inline]
    pub(super) fn give_back(&mut self, head: u16, len: u32) {
        // A head beyond the ring is no buffer of the driver's that it could be given back.
        if head < self.size {
            let slot = usize::from(self.next_used & (self.size - 1));
            self.used.store_u32(ELEMENTS + USED_ELEMENT_LEN * slot, u32::from(head));
            self.used.store_u32(ELEMENTS + USED_ELEMENT_LEN * slot + 4, len);
            self.next_used = self.next_used.wrapping_add(1);
        }
    }

    /// Shows the driver all that was given back, by one store. Whether it wants a call for it.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_used);
        if old == new {
            return false;
        }
        self.published = new;
        self.used.store_u16(INDEX, new, Ordering::Release);
        // The store must be seen before the driver's wish is read: it looks at them the other way round.
        fence(Ordering::SeqCst);
        let is_first = !std::mem::replace(&mut self.has_published, true);
        if !self.event_idx {
            return self.available.load_u16(FLAGS, Ordering::Relaxed) & NO_INTERRUPT == 0;
        }
        let event = self.available.load_u16(ELEMENTS + 2 * usize::from(self.size), Ordering::Relaxed);
        is_first || wants_event(event, old, new)
    }

    /// Has the driver tell of what becomes available beyond what was seen. Whether something has already.
    pub(super) fn arm(&mut self) -> bool {
        if self.event_idx {
            let at = ELEMENTS + USED_ELEMENT_LEN * usize::from(self.size);
            self.used.store_u16(at, self.seen, Ordering::Relaxed);
        } else {
            self.used.store_u16(FLAGS, 0, Ordering::Relaxed);
        }
        // The wish must be seen before the index is read: the driver looks at them the other way round.
        fence(Ordering::SeqCst);
        self.available.load_u16(INDEX, Ordering::Acquire) != self.seen
    }

    /// Has the driver tell of nothing. With event indices there is nothing to do: it tells when it passes one,
    /// and it has passed the last.
    pub(super) fn disarm(&mut self) {
        // The flag is not used with event indices, and must be zero then (VIRTIO 1.2 §2.7.10.1).
        let flags = if self.event_idx { 0 } else { NO_NOTIFY };
        if self.used.load_u16(FLAGS, Ordering::Relaxed) != flags {
            self.used.store_u16(FLAGS, flags, Ordering::Relaxed);
        }
    }
}

/// Whether an index that went from `old` to `new` has passed `event` (`vring_need_event`, VIRTIO 1.2 §2.7.7.1).
#[inline]
pub(super) fn wants_event(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests;
