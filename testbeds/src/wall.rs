//! The wall clock, for those who watch other processes.

use std::thread;
use std::time::{Duration, Instant};

/// Now.
#[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets real time pass: between two looks at another process, which has no descriptor to wait on, or because that is what a
/// test of real guests wants, as one that strikes at different moments.
#[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
pub fn nap(time: Duration) {
    thread::sleep(time);
}
