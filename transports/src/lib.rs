//! Carries batches of Ethernet frames between the ranks of a job.
//!
//! One trait, [`Transport`], and what all transports share: the [record codec](records()), pooled
//! [batches](Batch), byte credits and bounded queues per peer. [`mem`] joins threads of one process by rings,
//! `mpi` (feature `mpi`) joins the processes of an MPI job, [`vxlan`] joins ranks to each other or to a bridge
//! by UDP. All pass the one suite in [`conformance`]. [`offload`] finishes frames whose senders have left that to
//! others.
//!
//! What a frame is for and where it goes is decided in `mvpnet-switch`; who calls the transport, when it
//! sleeps and what control records mean is decided in `mvpnet-node`.
//!
//! # The loop around a transport
//!
//! ```
//! use mvpnet_switch::World;
//! use mvpnet_transports::{Arm, RecordKind, Transport, mem};
//!
//! let world = World::new(2)?;
//! let mut fabric = mem::fabric(world)?;
//! let (mut one, mut zero) = (fabric.pop().expect("rank 1"), fabric.pop().expect("rank 0"));
//!
//! zero.send(one.me(), RecordKind::Unicast, zero.me(), b"a frame of at least 14 bytes")?;
//! zero.progress()?; // the loop has nothing more in hand: what is batched leaves
//!
//! let batch = one.receive()?.expect("rank 0 has sent a batch");
//! for record in batch.records() {
//!     assert_eq!(&batch.bytes()[record?.frame], b"a frame of at least 14 bytes");
//! }
//! one.recycle(batch); // consumed: rank 0 may send as much again
//!
//! assert!(matches!(one.arm(), Arm::Sleep { .. })); // nothing to do: poll(2) on one.doorbell() and the guest's socket
//! one.disarm();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::os::fd::BorrowedFd;
use std::time::Duration;

use mvpnet_switch::{Rank, World};
use thiserror::Error;

mod batch;
mod clock;
pub mod conformance;
mod credit;
mod doze;
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only MPI carries batches as messages"))]
#[cfg(any(feature = "mpi", test))]
mod header;
pub mod launcher;
pub mod link;
pub mod mem;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod offload;
mod outbox;
mod peers;
mod pool;
mod records;
mod shm;
pub mod vxlan;

pub use batch::{BATCH_LEN, Batch, Draft, Lane};
pub use credit::{ReceiveWindow, SendWindow};
pub use outbox::FlowLimits;
pub use records::{
    FLOOD_ROOT_LEN, MAX_FRAME_LEN, RECORD_HEADER_LEN, Record, RecordError, RecordKind, Records, records,
};

/// The longest payload of a control record.
pub const MAX_CONTROL_LEN: usize = 32 * 1024 - 64;

/// Carries batches between the ranks of a world, in order per pair of ranks and lane, without loss as long as
/// both ends live. (Over datagrams there is less than that: [`Medium`](conformance::Medium).)
///
/// Nothing here blocks. Records wait in a batch per destination until [`progress`](Transport::progress) or
/// until the batch is full; what a peer has not consumed is bounded in bytes, and so is what waits for it.
/// Control records have a [lane](Lane) of their own and may overtake frames.
pub trait Transport {
    /// The rank that this end belongs to.
    fn me(&self) -> Rank;

    /// The ranks that can be reached, [`me`](Transport::me) included.
    fn world(&self) -> World;

    /// The longest frame that can be sent.
    fn max_frame_len(&self) -> usize {
        MAX_FRAME_LEN
    }

    /// A short name for logs: `mem`, `mpi`, `vxlan`.
    fn name(&self) -> &'static str;

    /// A buffer to read frames into.
    fn draft(&mut self) -> Draft {
        Draft::new()
    }

    /// Sends the unicast records that are the first `len` bytes of a draft, at most [`BATCH_LEN`] or one record, without
    /// a copy where that is worth it: what is in the draft afterwards, where they were sent, is anything.
    fn send_draft(&mut self, to: Rank, draft: &mut Draft, len: usize) -> Result<(), SendError> {
        self.send_run(to, draft.bytes().get(..len).unwrap_or_default())
    }

    /// Sends unicast records that have their headers already, `[length][frame]…`, at most [`BATCH_LEN`]
    /// bytes or one record: one copy. All or nothing. Unfinished frames arrive with their virtio-net headers;
    /// a transport that has no place for those finishes them.
    fn send_run(&mut self, to: Rank, records: &[u8]) -> Result<(), SendError>;

    /// Sends one record. `root` matters for floods only.
    fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), SendError>;

    /// Sends what is batched and tests what is being sent. To be called when the loop has nothing in hand,
    /// and as long as anything is pending.
    fn progress(&mut self) -> Result<Pending, TransportError>;

    /// The next batch that has arrived. No peer can keep others from being heard.
    fn receive(&mut self) -> Result<Option<Batch>, TransportError>;

    /// Takes back a batch whose records have been consumed: its buffer is used again and its sender gets its
    /// credit.
    fn recycle(&mut self, batch: Batch);

    /// Announces that this rank is about to sleep, then looks once more for work: a batch that has come, or
    /// room in a queue that refused the last send to its peer with [`SendError::Full`]. Both also ring.
    fn arm(&mut self) -> Arm;

    /// Becomes readable when a peer rings. Only [`disarm`](Transport::disarm) reads it.
    fn doorbell(&self) -> BorrowedFd<'_>;

    /// The rank is awake: peers need not ring any more. Harmless where it was not armed.
    fn disarm(&mut self);

    /// What has been counted so far.
    fn stats(&self) -> TransportStats;

    /// What has been counted besides, which other transports have no like of. Names and values, in a fixed order.
    fn own_stats(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Why a record was not taken. Nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The peer's bounded queue has no room now.
    #[error("queue to the peer is full")]
    Full,
    /// The record is longer than can ever be sent.
    #[error("record of {len} bytes exceeds the {max} that can be sent")]
    TooLong {
        /// Length of what was to be sent.
        len: usize,
        /// The most that can be sent.
        max: usize,
    },
    /// The peer has left the job, or never was in it.
    #[error("rank {0} is gone")]
    PeerGone(Rank),
}

/// Why a transport cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    /// A call of the message library failed.
    #[error("{call} failed: {reason}")]
    Failed {
        /// What was called.
        call: &'static str,
        /// What the library says.
        reason: String,
    },
    /// A send to one peer failed; what waited for it has been given up and it is gone.
    #[error("sending to rank {to} failed: {reason}")]
    SendFailed {
        /// The peer.
        to: Rank,
        /// What the library says.
        reason: String,
    },
}

/// What a transport has still to hand over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Pending {
    /// Bytes that wait or are being sent.
    pub bytes: usize,
}

/// Whether a rank that wants to sleep may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Arm {
    /// Work has arrived: do not sleep. The rank counts as awake again.
    Ready,
    /// Wait on the [doorbell](Transport::doorbell), but no longer than this; then
    /// [`disarm`](Transport::disarm).
    Sleep {
        /// The backstop that makes a lost ring cost time only.
        at_most: Duration,
    },
}

/// Counts since the start of a transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Batches handed over.
    pub batches_sent: u64,
    /// Bytes of records handed over.
    pub bytes_sent: u64,
    /// Batches received.
    pub batches_received: u64,
    /// Bytes of records received.
    pub bytes_received: u64,
    /// Sends refused because a queue was full.
    pub refused_full: u64,
    /// Messages received that were no batch; they were dropped.
    pub malformed: u64,
    /// Bytes of records given up because their peer is gone.
    pub discarded_bytes: u64,
    /// Times that a sleeping peer was rung.
    pub rings: u64,
    /// Times that this rank was rung.
    pub rung: u64,
    /// Buffers allocated; stands still once the transport is warm.
    pub buffers_made: u64,
}

impl TransportStats {
    /// The counts of two ways together.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only MPI has a second way"))]
    fn plus(self, other: TransportStats) -> TransportStats {
        TransportStats {
            batches_sent: self.batches_sent + other.batches_sent,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            batches_received: self.batches_received + other.batches_received,
            bytes_received: self.bytes_received + other.bytes_received,
            refused_full: self.refused_full + other.refused_full,
            malformed: self.malformed + other.malformed,
            discarded_bytes: self.discarded_bytes + other.discarded_bytes,
            rings: self.rings + other.rings,
            rung: self.rung + other.rung,
            buffers_made: self.buffers_made + other.buffers_made,
        }
    }

    /// Names and values, in a fixed order, for logs.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let TransportStats {
            batches_sent,
            bytes_sent,
            batches_received,
            bytes_received,
            refused_full,
            malformed,
            discarded_bytes,
            rings,
            rung,
            buffers_made,
        } = *self;
        [
            ("batches-sent", batches_sent),
            ("bytes-sent", bytes_sent),
            ("batches-received", batches_received),
            ("bytes-received", bytes_received),
            ("refused-full", refused_full),
            ("malformed", malformed),
            ("discarded-bytes", discarded_bytes),
            ("rings", rings),
            ("rung", rung),
            ("buffers-made", buffers_made),
        ]
        .into_iter()
    }
}
