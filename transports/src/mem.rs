//! The `mem` transport: ranks are threads of one process, joined by shared memory (`shm`) as the processes of a host
//! are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mvpnet_switch::{Rank, World};
use thiserror::Error;

use crate::batch::{Batch, Draft};
use crate::doze::Backstop;
use crate::outbox::FlowLimits;
use crate::pool::Pool;
use crate::shm::{BLOCKS, Door, MOST_NEIGHBOURS, Neighbour, Neighbours, Rings, Segment};
use crate::{Arm, Pending, RecordKind, SendError, Transport, TransportError, TransportStats};

/// Unused buffers that a rank keeps besides its blocks.
const KEEP_BUFFERS: usize = 64;

/// Why the ranks of one process could not be joined.
#[derive(Debug, Error)]
pub enum FabricError {
    /// The system has no memory or descriptors for them.
    #[error("no shared memory and doorbell for rank {rank}: {source}")]
    System {
        /// The first rank that goes without.
        rank: Rank,
        /// What the system says.
        source: io::Error,
    },
    /// One process has no more.
    #[error("{0} ranks in one process, where {MOST_NEIGHBOURS} is the most")]
    TooMany(u32),
}

/// Makes all ends of a world, in rank order. Each goes to the thread that is to be its rank.
///
/// # Errors
/// No memory or descriptors left, or too many ranks.
pub fn fabric(world: World) -> Result<Vec<MemTransport>, FabricError> {
    fabric_with(world, FlowLimits::BUFFERS)
}

/// [`fabric`] with limits of its own.
///
/// # Errors
/// As [`fabric`].
pub fn fabric_with(world: World, limits: FlowLimits) -> Result<Vec<MemTransport>, FabricError> {
    let limits = limits.workable();
    if world.size() as usize > MOST_NEIGHBOURS {
        return Err(FabricError::TooMany(world.size()));
    }
    let door = |rank: Rank| {
        let (segment, _) = Segment::create(&[0; 16], rank.index(), world.size() as usize, BLOCKS)?;
        Door::new(Arc::new(segment))
    };
    let doors = world
        .ranks()
        .map(|rank| door(rank).map_err(|source| FabricError::System { rank, source }))
        .collect::<Result<Vec<Door>, FabricError>>()?;
    let ranks: Arc<[Rank]> = world.ranks().collect();
    let neighbour = |door: &Door| Neighbour { segment: door.segment().clone(), bell: door.bell() };
    let all: Arc<[Neighbour]> = doors.iter().map(neighbour).collect();
    let end = |(me, door)| {
        let threads = Threads { ranks: ranks.clone(), all: all.clone() };
        MemTransport::new(me, world, limits, door, threads)
    };
    Ok(world.ranks().zip(doors).map(end).collect())
}

/// The ranks of one process.
#[derive(Debug)]
struct Threads {
    ranks: Arc<[Rank]>,
    all: Arc<[Neighbour]>,
}

impl Neighbours for Threads {
    fn ranks(&self) -> &[Rank] {
        &self.ranks
    }

    fn meet(&self, rank: Rank) -> io::Result<Neighbour> {
        self.all.get(rank.index() as usize).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// One rank's end of a [`fabric`].
#[derive(Debug)]
pub struct MemTransport {
    me: Rank,
    world: World,
    door: Door,
    pool: Pool,
    rings: Rings<Threads>,
    backstop: Backstop,
    is_armed: bool,
    rung: u64,
}

impl MemTransport {
    fn new(me: Rank, world: World, limits: FlowLimits, door: Door, threads: Threads) -> Self {
        let segment = door.segment().clone();
        MemTransport {
            me,
            world,
            pool: Pool::with_blocks(KEEP_BUFFERS, segment.clone()),
            rings: Rings::new(me, world, segment, threads, limits),
            door,
            backstop: Backstop::default(),
            is_armed: false,
            rung: 0,
        }
    }
}

impl Transport for MemTransport {
    fn me(&self) -> Rank {
        self.me
    }

    fn world(&self) -> World {
        self.world
    }

    fn name(&self) -> &'static str {
        "mem"
    }

    fn draft(&mut self) -> Draft {
        Draft { buffer: self.pool.take() }
    }

    fn send_draft(&mut self, to: Rank, draft: &mut Draft, len: usize) -> Result<(), SendError> {
        self.rings.enqueue(&mut self.pool, to, |outbox, pool| outbox.send_draft(pool, draft, len))
    }

    fn send_run(&mut self, to: Rank, records: &[u8]) -> Result<(), SendError> {
        self.rings.enqueue(&mut self.pool, to, |outbox, pool| outbox.send_run(pool, records))
    }

    fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), SendError> {
        self.rings.enqueue(&mut self.pool, to, |outbox, pool| outbox.send(pool, kind, root, payload))
    }

    fn progress(&mut self) -> Result<Pending, TransportError> {
        Ok(Pending { bytes: self.rings.progress(&mut self.pool) })
    }

    fn receive(&mut self) -> Result<Option<Batch>, TransportError> {
        let batch = self.rings.receive();
        if batch.is_some() {
            self.backstop.reset();
        }
        Ok(batch)
    }

    fn recycle(&mut self, batch: Batch) {
        self.rings.recycle(batch);
    }

    fn arm(&mut self) -> Arm {
        self.rings.fetch_all_spent(&mut self.pool);
        self.is_armed = true;
        self.door.set(self.rings.sleep());
        if self.rings.has_work(&mut self.pool) {
            self.disarm();
            return Arm::Ready;
        }
        Arm::Sleep { at_most: self.backstop.next() }
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }

    fn disarm(&mut self) {
        if std::mem::take(&mut self.is_armed) && self.door.wake() {
            self.rung += 1;
        }
    }

    fn stats(&self) -> TransportStats {
        TransportStats { buffers_made: self.pool.made(), rung: self.rung, ..self.rings.stats }
    }
}
