//! Which guests have tasks that somebody else's action has made ready to go on.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A queue of ranks. It is behind a lock because wakers must be usable from anywhere; there is one thread.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<VecDeque<u32>>);

impl Ready {
    pub(crate) fn push(&self, rank: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(rank);
    }

    pub(crate) fn pop(&self) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
