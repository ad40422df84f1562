//! What the threads of a fabric share: a door per rank, with its sleep state, its eventfd and the rings that
//! peers have left there, and the counters of a pair of ranks.
//!
//! # No wake-up is lost
//!
//! The sleeper stores its state, passes a sequentially consistent fence and then looks for work; the waker
//! publishes work, passes such a fence and then loads the state. Whichever fence comes first in their single
//! total order, at least one of the two sees the other's store.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use mvpnet_switch::Rank;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::batch::{Buffer, Lane};

/// A batch in a ring.
#[derive(Debug)]
pub(super) struct Parcel {
    pub lane: Lane,
    pub buffer: Buffer,
}

/// The receiving half of a pair.
#[derive(Debug)]
pub(super) struct Inbound {
    pub from: Rank,
    pub ring: Consumer<Parcel>,
    pub spent: Producer<Buffer>,
    pub pair: Arc<Pair>,
}

/// Bytes consumed, per lane: the receiver writes, the sender reads.
#[derive(Debug, Default)]
pub(super) struct Pair {
    data: AtomicU64,
    control: AtomicU64,
}

impl Pair {
    fn count(&self, lane: Lane) -> &AtomicU64 {
        match lane {
            Lane::Data => &self.data,
            Lane::Control => &self.control,
        }
    }

    pub fn consumed(&self, lane: Lane) -> u64 {
        self.count(lane).load(Ordering::Acquire)
    }

    /// Counts consumed bytes. Only the receiver calls this, so no read-modify-write is needed.
    pub fn consume(&self, lane: Lane, bytes: u64) {
        let count = self.count(lane);
        count.store(count.load(Ordering::Relaxed) + bytes, Ordering::Release);
    }
}

/// The rings of one direction: the sender's ring, its spent buffers and the counters, and the half for the
/// receiver.
pub(super) fn ring_pair(
    from: Rank,
    batches: usize,
) -> (Producer<Parcel>, Consumer<Buffer>, Arc<Pair>, Inbound) {
    let (ring, far_ring) = RingBuffer::new(batches);
    let (far_spent, spent) = RingBuffer::new(batches);
    let pair = Arc::new(Pair::default());
    let inbound = Inbound { from, ring: far_ring, spent: far_spent, pair: pair.clone() };
    (ring, spent, pair, inbound)
}

/// Whether a rank sleeps, and what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sleep {
    /// It polls.
    Awake = 0,
    /// It sleeps until a batch comes.
    Idle = 1,
    /// It sleeps until a batch or a credit comes.
    Blocked = 2,
}

impl Sleep {
    pub fn is_asleep(state: u8) -> bool {
        state != Sleep::Awake as u8
    }

    pub fn is_blocked(state: u8) -> bool {
        state == Sleep::Blocked as u8
    }
}

/// A rank's door. Aligned, so that the states of two ranks do not share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Door {
    sleep: AtomicU8,
    has_mail: AtomicBool,
    pub shut: AtomicBool,
    pub bell: EventFd,
    mail: Mutex<Vec<Inbound>>,
}

impl Door {
    pub fn new() -> nix::Result<Self> {
        Ok(Door {
            sleep: AtomicU8::new(Sleep::Awake as u8),
            has_mail: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            bell: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            mail: Mutex::new(Vec::new()),
        })
    }

    /// Whether the rank behind the door has left.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Leaves a new ring for the rank. The lock is taken here and in [`Door::collect`] only: once per pair of
    /// ranks.
    pub fn leave(&self, inbound: Inbound) {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).push(inbound);
        self.has_mail.store(true, Ordering::Release);
    }

    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Takes the rings that were left.
    pub fn collect(&self) -> Vec<Inbound> {
        self.has_mail.store(false, Ordering::Release);
        std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes to sleep; the caller looks for work afterwards.
    pub fn set(&self, sleep: Sleep) {
        self.sleep.store(sleep as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Rings, where the state asks for it. The caller has published before what the rank is to find.
    pub fn ring_if(&self, wanted: fn(u8) -> bool) -> bool {
        fence(Ordering::SeqCst);
        // The first to take the state away rings; the others need not.
        let rings = wanted(self.sleep.load(Ordering::Relaxed))
            && Sleep::is_asleep(self.sleep.swap(Sleep::Awake as u8, Ordering::AcqRel));
        // A counter at its limit, the only failure of a non-blocking eventfd, is readable already.
        rings && self.bell.write(1).is_ok()
    }

    /// The rank is awake. True where it was rung. `owed` counts the rings that are announced and not yet
    /// read: whoever takes the state away writes to the eventfd a moment later.
    pub fn wake(&self, owed: &mut u64) -> bool {
        let rung = !Sleep::is_asleep(self.sleep.swap(Sleep::Awake as u8, Ordering::AcqRel));
        *owed += u64::from(rung);
        // Without the system call where nobody rang.
        if *owed > 0
            && let Ok(rings) = self.bell.read()
        {
            *owed = owed.saturating_sub(rings);
        }
        rung
    }
}
