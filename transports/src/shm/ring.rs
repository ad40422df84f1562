//! A ring of numbers with one producer and one consumer, in memory that both have mapped.
//!
//! Both count from the start and write only their own count; each remembers the last count that it has seen of the
//! other, so that the other's cache line is read when the ring seems full or empty, and not otherwise. A count that no
//! honest end would write makes a ring look full or empty, or give numbers that nobody put there: what a number is good
//! for is checked where it is used.

use super::SLOTS;
use super::sync::{AtomicU64, Ordering};

/// A cache line of its own, and the one that processors fetch along with it.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Line(pub AtomicU64);

/// What both ends see.
#[repr(C)]
#[derive(Debug)]
pub struct RingWords {
    pub pushed: Line,
    pub popped: Line,
    slots: [AtomicU64; SLOTS],
}

/// The producer's end.
#[derive(Debug, Default)]
pub struct Producer {
    pushed: u64,
    popped_seen: u64,
}

/// The consumer's end.
#[derive(Debug, Default)]
pub struct Consumer {
    popped: u64,
    pushed_seen: u64,
}

impl Producer {
    /// Whether a push would be refused.
    pub fn is_full(&mut self, words: &RingWords) -> bool {
        if self.pushed.wrapping_sub(self.popped_seen) < SLOTS as u64 {
            return false;
        }
        self.popped_seen = words.popped.0.load(Ordering::Acquire);
        self.pushed.wrapping_sub(self.popped_seen) >= SLOTS as u64
    }

    /// Hands over a number and all that was written before. False where there is no room.
    #[must_use]
    pub fn push(&mut self, words: &RingWords, number: u64) -> bool {
        if self.is_full(words) {
            return false;
        }
        words.slots[self.pushed as usize % SLOTS].store(number, Ordering::Relaxed);
        self.pushed = self.pushed.wrapping_add(1);
        words.pushed.0.store(self.pushed, Ordering::Release);
        true
    }
}

impl Consumer {
    /// Whether there is nothing to pop.
    pub fn is_empty(&mut self, words: &RingWords) -> bool {
        if self.popped != self.pushed_seen {
            return false;
        }
        self.pushed_seen = words.pushed.0.load(Ordering::Acquire);
        self.popped == self.pushed_seen
    }

    /// The next number.
    pub fn pop(&mut self, words: &RingWords) -> Option<u64> {
        if self.is_empty(words) {
            return None;
        }
        let number = words.slots[self.popped as usize % SLOTS].load(Ordering::Relaxed);
        self.popped = self.popped.wrapping_add(1);
        words.popped.0.store(self.popped, Ordering::Release);
        Some(number)
    }
}

impl RingWords {
    /// An empty ring; one in a segment is made of zeroed memory, which is the same.
    #[cfg_attr(not(test), allow(dead_code, reason = "for tests"))]
    pub fn new() -> Self {
        let line = || Line(AtomicU64::new(0));
        RingWords { pushed: line(), popped: line(), slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}
