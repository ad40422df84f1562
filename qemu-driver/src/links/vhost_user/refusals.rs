//! What the guest sent that is no frame, until somebody asks.

use std::collections::VecDeque;

use crate::links::Refusal;

/// Refusals that are kept. While there are as many nothing more is taken from the guest.
const MOST: usize = 256;

/// A bounded queue of them.
#[derive(Debug)]
pub(super) struct Refusals {
    queue: VecDeque<Refusal>,
}

impl Refusals {
    pub(super) fn new() -> Refusals {
        Refusals { queue: VecDeque::with_capacity(MOST) }
    }

    #[inline]
    pub(super) fn have_room(&self) -> bool {
        self.queue.len() < MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Keeps a refusal, if there is room.
    pub(super) fn push(&mut self, refusal: Refusal) {
        if self.have_room() {
            self.queue.push_back(refusal);
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn pop(&mut self) -> Option<Refusal> {
        self.queue.pop_front()
    }
}
