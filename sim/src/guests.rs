//! Ready-made guests without a stack: a sender and receiver of frames by a script, and a replayer of captures.

mod replay;
mod scripted;

pub use replay::{Replay, ReplayError, Timing};
pub use scripted::{Received, Scripted};
