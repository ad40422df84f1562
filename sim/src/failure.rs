//! How a simulation fails, with all that is needed to see it again.

use std::fmt;

use mvpnet_switch::{Instant, Rank};
use mvpnet_transports::link::ChangeError;

/// A simulation that did not end as it should. Its text says how to run the same again.
#[derive(Debug, thiserror::Error)]
#[error("{kind}\n  at {at} of simulated time, seed {seed}{replay}")]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The simulated time.
    pub at: Instant,
    /// What happened.
    pub kind: FailureKind,
    pub(crate) replay: Replay,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum FailureKind {
    /// A guest's task ended with an error.
    #[error("rank {rank}: {error}")]
    Task {
        /// Whose.
        rank: Rank,
        /// With what.
        error: Box<dyn std::error::Error>,
    },
    /// Clients have not ended in the simulated time that they had.
    #[error("clients of ranks {ranks:?} have not ended within {limit:?} of simulated time")]
    Timeout {
        /// Whose.
        ranks: Vec<u32>,
        /// The time they had.
        limit: std::time::Duration,
    },
    /// The books do not balance.
    #[error("the books do not balance: {0}")]
    Books(#[from] crate::WorldImbalance),
    /// Something does not hold that must; see [`invariants`](crate::invariants).
    #[error(transparent)]
    Invariant(#[from] crate::invariants::Violation),
    /// A change that this world cannot have.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The capture could not be written.
    #[error(transparent)]
    Capture(#[from] mvpnet_pcap::WriteError),
}

/// How to run the same again, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay;

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A test's thread has the test's name.
        match std::thread::current().name() {
            Some(name) if name != "main" => write!(f, "; again: cargo test {name}"),
            _ => Ok(()),
        }
    }
}
