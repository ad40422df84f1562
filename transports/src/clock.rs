//! The monotonic clock, for the few who cannot take the time as an argument: datagram bells, which go by the
//! silence between two messages, the end of an MPI job, and the deadlines of the conformance suite.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since some fixed point.
pub(crate) fn now() -> Duration {
    // The clock exists on every Linux (clock_gettime(2)).
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
