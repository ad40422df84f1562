//! Memory that the ranks of one host share: batches pass from rank to rank without being copied.
//!
//! Every rank has a [segment](Segment), which peers map: a door, where it says that it sleeps and where peers leave word
//! of new rings; a pair of [rings](ring) per neighbour, made of numbers; and blocks, the buffers of its outgoing batches.
//! A batch is handed over as the number of its block, and comes back as the same number in the ring beside it, which is
//! the sender's credit too. So a rank's memory is bounded by its blocks, however many neighbours it has; a ring of bytes
//! per pair, which was the first design, is touched from end to end sooner or later, and costs a copy per frame.
//!
//! Where everything is follows from the number of neighbours: nothing is negotiated, and a ring that is never used is
//! never backed by memory. [`Rings`] is one rank's end of all this; `mem` joins threads by it, `mpi` the processes of a
//! host.
//!
//! # Trust
//!
//! Neighbours are processes of the same user and job. What they write is checked as far as it could lead outside a
//! segment: numbers of blocks, lengths, counts. That a block is left alone by whoever has handed it over is their promise.

mod bell;
mod block;
mod door;
mod neighbour;
mod ring;
mod rings;
mod segment;
#[cfg(test)]
mod tests;

#[cfg(feature = "mpi")]
pub(crate) use bell::Bell;
pub(crate) use bell::Door;
pub(crate) use block::Block;
#[cfg(feature = "mpi")]
pub(crate) use door::Sleep;
pub(crate) use neighbour::Neighbour;
pub(crate) use rings::{Neighbours, Rings};
pub(crate) use segment::Segment;
#[cfg(feature = "mpi")]
pub(crate) use segment::{Announced, Key};

/// Blocks of a segment: 18 MiB if all are in use at a time.
pub(crate) const BLOCKS: usize = 256;

/// Numbers that a ring holds: more than batches can be on the way to one neighbour.
const SLOTS: usize = 128;

/// Words of a door's mail, a bit per neighbour.
const MAIL_WORDS: usize = 256;

/// The most ranks of one host that can share memory.
pub(crate) const MOST_NEIGHBOURS: usize = MAIL_WORDS * 64;

/// Atomics, from one place, so that a model checker can put its own there.
mod sync {
    pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
