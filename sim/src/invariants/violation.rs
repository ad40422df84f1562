//! How an invariant is broken.

use std::fmt;

use mvpnet_switch::{DropReason, Instant};

/// Which frame: who sent it, and how many this guest had sent before. Of frames with the same bytes, the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameId {
    /// The rank whose guest sent it.
    pub rank: u32,
    /// Counted from 0.
    pub number: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {} of rank {}", self.number, self.rank)
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A guest was given what nobody had sent.
    #[error("at {at} rank {to} was given {len} bytes that no guest sent: {begin}")]
    Invented {
        /// When.
        at: Instant,
        /// Whose guest.
        to: u32,
        /// How long it is.
        len: usize,
        /// How it begins.
        begin: String,
    },
    /// A guest was given a frame too often.
    #[error("at {at} rank {to} was given {frame} for the {times}. time, and no link or rule doubled it")]
    Doubled {
        /// When.
        at: Instant,
        /// Whose guest.
        to: u32,
        /// The frame.
        frame: FrameId,
        /// How often this guest has got these bytes.
        times: u64,
    },
    /// A frame for one rank came to another.
    #[error("at {at} rank {to} was given {frame}, which is addressed to rank {meant}")]
    Astray {
        /// When.
        at: Instant,
        /// Whose guest.
        to: u32,
        /// The frame.
        frame: FrameId,
        /// Whom it was for.
        meant: u32,
    },
    /// A broadcast did not come to a guest to which nothing was in its way.
    #[error("the broadcast {frame}, sent at {sent_at}, did not reach the connected rank {to}: {fate}")]
    BroadcastMissed {
        /// The frame.
        frame: FrameId,
        /// When it was sent.
        sent_at: Instant,
        /// Whose guest did not get it.
        to: u32,
        /// What became of it.
        fate: Fate,
    },
    /// A stream's receiver read other bytes than were sent.
    #[error("stream {stream} from rank {from} to rank {to} arrived changed: byte {offset} is wrong")]
    StreamChanged {
        /// The stream.
        stream: u64,
        /// Who sent.
        from: u32,
        /// Who received.
        to: u32,
        /// The first byte that is wrong.
        offset: u64,
    },
    /// A stream ended as if nothing was missing.
    #[error(
        "stream {stream} from rank {from} to rank {to} ended without an error after {received} of {sent} bytes"
    )]
    StreamCutOff {
        /// The stream.
        stream: u64,
        /// Who sent.
        from: u32,
        /// Who received.
        to: u32,
        /// How many bytes came.
        received: u64,
        /// How many were sent.
        sent: u64,
    },
    /// A sender neither succeeded nor failed in the time that it had.
    #[error("stream {stream} from rank {from} to rank {to} has neither arrived nor failed")]
    StreamStuck {
        /// The stream.
        stream: u64,
        /// Who sent.
        from: u32,
        /// Who received.
        to: u32,
    },
    /// A host does not reach another, though nothing is in the way.
    #[error("rank {from} cannot reach rank {to} again: no ping came back within {within:?}")]
    NoDelivery {
        /// Who asked.
        from: u32,
        /// Who did not answer.
        to: u32,
        /// How long it was tried.
        within: std::time::Duration,
    },
}

/// What became of a copy of a frame that should have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never set out.
    NotSent,
    /// It set out and is overdue.
    Vanished,
    /// It was dropped for a reason that was none.
    Dropped(DropReason),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::NotSent => f.write_str("no copy for it was sent"),
            Fate::Vanished => f.write_str("its copy has vanished on the way"),
            Fate::Dropped(reason) => write!(f, "it was dropped ({reason})"),
        }
    }
}
