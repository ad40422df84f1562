//! One rank's end of the memory that its host's ranks share: what leaves for neighbours and what comes from them.
//!
//! Which batch may leave is decided by the [`Outbox`]; here it is handed over as the number of its block, and the number
//! that comes back is its receiver's credit. A neighbour that holds many blocks is slow, and must not have them all: it
//! may have as many as are free, and no more (a dynamic threshold, as in switches with shared buffers: Choudhury and
//! Hahne, 1998), so that there is always something left for others.

use std::io;
use std::sync::Arc;

use mvpnet_switch::{Rank, World};

use super::door::Sleep;
use super::neighbour::{Inbound, Neighbour, Outbound, Parcel, encode, to_block};
use super::ring::{Consumer, Producer};
use super::segment::Segment;
use crate::batch::Batch;
use crate::outbox::{FlowLimits, Outbox};
use crate::peers::Peers;
use crate::pool::Pool;
use crate::{SendError, TransportStats};

/// How one finds one's neighbours.
pub(crate) trait Neighbours {
    /// The ranks of this host in ascending order, this one included. A rank's place in the list is its number here.
    fn ranks(&self) -> &[Rank];

    /// A neighbour's segment and bell. Asked once, for both directions.
    ///
    /// # Errors
    /// The neighbour has gone, or does not let us.
    fn meet(&self, rank: Rank) -> io::Result<Neighbour>;
}

/// This rank's end.
#[derive(Debug)]
pub(crate) struct Rings<N> {
    /// This rank's number among its neighbours.
    number: usize,
    segment: Arc<Segment>,
    neighbours: N,
    limits: FlowLimits,
    out: Peers<Outbound>,
    /// Slots in `out` that have something queued.
    busy: Vec<usize>,
    /// Record bytes queued, all neighbours together.
    queued: usize,
    /// Whether a queue that refused has room again, of which the caller has not heard.
    has_room_come: bool,
    /// What has been handed over and has not come back, by the number of its block.
    under_way: Vec<Option<Parcel>>,
    inbound: Peers<Inbound>,
    /// The slot in `inbound` to look at first.
    turn: usize,
    pub stats: TransportStats,
}

#[cfg_attr(
    not(feature = "mpi"),
    allow(dead_code, reason = "only MPI has another way, and only processes die")
)]
impl<N: Neighbours> Rings<N> {
    /// The end of the segment's owner `me`.
    pub fn new(me: Rank, world: World, segment: Arc<Segment>, neighbours: N, limits: FlowLimits) -> Self {
        // Every batch on the way holds a whole block.
        let limits =
            FlowLimits { min_charge: limits.min_charge.max(FlowLimits::BUFFERS.min_charge), ..limits };
        let number = neighbours.ranks().binary_search(&me).expect("a rank is on its own host");
        Rings {
            number,
            under_way: (0..segment.blocks()).map(|_| None).collect(),
            segment,
            neighbours,
            limits: limits.workable(),
            out: Peers::new(world),
            busy: Vec::new(),
            queued: 0,
            has_room_come: false,
            inbound: Peers::new(world),
            turn: 0,
            stats: TransportStats::default(),
        }
    }

    /// Whether a rank is reached this way.
    pub fn reaches(&self, rank: Rank) -> bool {
        self.out.slot(rank).is_some() || self.neighbours.ranks().binary_search(&rank).is_ok()
    }

    /// Record bytes that wait here.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes that neighbours have and have not consumed.
    pub fn under_way(&self) -> usize {
        self.under_way.iter().flatten().map(|parcel| parcel.buffer.records().len()).sum()
    }

    /// The slot of a neighbour that can be sent to.
    fn outbound(&mut self, to: Rank) -> Result<usize, SendError> {
        let slot = match self.out.slot(to) {
            Some(slot) => slot,
            None => self.meet(to).ok_or(SendError::PeerGone(to))?,
        };
        let peer = &mut self.out[slot];
        peer.is_gone |= peer.neighbour.has_left();
        if peer.is_gone { Err(SendError::PeerGone(to)) } else { Ok(slot) }
    }

    fn meet(&mut self, to: Rank) -> Option<usize> {
        let number = self.neighbours.ranks().binary_search(&to).ok()?;
        let known = self.inbound.slot(to).map(|slot| self.inbound[slot].neighbour.clone());
        let neighbour = match known.map_or_else(|| self.neighbours.meet(to), Ok) {
            Ok(neighbour) => neighbour,
            Err(error) => {
                tracing::warn!(rank = to.index(), %error, "no memory shared with a rank of this host");
                return None;
            }
        };
        neighbour.segment.door().leave(self.number);
        let limits = self.limits;
        self.out.slot_or_insert_with(to, || Outbound {
            neighbour,
            number,
            outbox: Outbox::new(limits),
            parcels: Producer::default(),
            spent: Consumer::default(),
            consumed: [0; 2],
            holds: 0,
            is_busy: false,
            has_refused: false,
            is_gone: false,
        })
    }

    /// Queues something for a neighbour; a full batch leaves at once.
    pub fn enqueue(
        &mut self,
        pool: &mut Pool,
        to: Rank,
        mut push: impl FnMut(&mut Outbox, &mut Pool) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let slot = self.outbound(to)?;
        let mut before = self.out[slot].outbox.queued();
        let mut result = push(&mut self.out[slot].outbox, pool);
        if result == Err(SendError::Full) {
            self.flush(pool, slot);
            before = self.out[slot].outbox.queued();
            result = push(&mut self.out[slot].outbox, pool);
            self.stats.refused_full += u64::from(result.is_err());
        }
        let peer = &mut self.out[slot];
        self.queued += peer.outbox.queued() - before;
        peer.has_refused = result == Err(SendError::Full);
        if result.is_ok() {
            if !peer.is_busy {
                peer.is_busy = true;
                self.busy.push(slot);
            }
            if peer.outbox.has_sealed() {
                self.flush(pool, slot);
            }
        }
        result
    }

    /// Hands over all that may leave. Returns the bytes that still wait.
    pub fn progress(&mut self, pool: &mut Pool) -> usize {
        let mut at = 0;
        while let Some(&slot) = self.busy.get(at) {
            self.flush(pool, slot);
            if self.out[slot].outbox.queued() == 0 {
                self.out[slot].is_busy = false;
                self.busy.swap_remove(at);
            } else {
                at += 1;
            }
        }
        self.queued
    }

    /// Hands over what the neighbour's window allows.
    fn flush(&mut self, pool: &mut Pool, slot: usize) {
        self.fetch_spent(pool, slot);
        let Rings { segment, out, under_way, limits, stats, .. } = self;
        let peer = &mut out[slot];
        let before = peer.outbox.queued();
        if peer.is_gone || peer.neighbour.has_left() {
            stats.discarded_bytes += peer.outbox.discard(pool) as u64;
        }
        let Some(words) = segment.pair(peer.number) else { return };
        let mut sent = false;
        while peer.may_have_another(pool) && !peer.parcels.is_full(&words.parcels) {
            let Some((lane, buffer)) = peer.outbox.next() else { break };
            let (index, buffer) = to_block(pool, buffer);
            let len = buffer.message_len();
            stats.batches_sent += 1;
            stats.bytes_sent += buffer.records().len() as u64;
            peer.holds += 1;
            under_way[index as usize] = Some(Parcel { slot, lane, charge: limits.charge(len), buffer });
            // The ring has a free slot and no other producer.
            sent |= peer.parcels.push(&words.parcels, encode(index, lane, len));
        }
        let left = before - peer.outbox.queued();
        self.queued -= left;
        self.has_room_come |= left > 0 && std::mem::take(&mut peer.has_refused);
        if sent && peer.neighbour.ring_if(Sleep::is_asleep) {
            stats.rings += 1;
        }
    }

    /// Takes back the blocks that a neighbour is done with, and their credit.
    fn fetch_spent(&mut self, pool: &mut Pool, slot: usize) {
        let peer = &mut self.out[slot];
        let Some(words) = self.segment.pair(peer.number) else { return };
        while let Some(number) = peer.spent.pop(&words.spent) {
            let place = usize::try_from(number).ok().and_then(|index| self.under_way.get_mut(index));
            let Some(parcel) = place.and_then(|place| place.take_if(|parcel| parcel.slot == slot)) else {
                self.stats.malformed += 1;
                continue;
            };
            peer.holds -= 1;
            let consumed = &mut peer.consumed[parcel.lane as usize];
            *consumed += parcel.charge;
            peer.outbox.credit(parcel.lane, *consumed);
            pool.put(parcel.buffer);
        }
    }

    /// Takes back what all neighbours are done with.
    pub fn fetch_all_spent(&mut self, pool: &mut Pool) {
        for slot in 0..self.out.len() {
            self.fetch_spent(pool, slot);
        }
    }

    /// Gives up neighbours that have died with something that waits for them. The system says whether their bells are
    /// heard, so this is for those who are about to sleep.
    pub fn bury(&mut self, pool: &mut Pool) {
        for at in 0..self.busy.len() {
            let slot = self.busy[at];
            let peer = &mut self.out[slot];
            if peer.is_gone || !peer.neighbour.bell.is_unheard() {
                continue;
            }
            peer.is_gone = true;
            peer.holds = 0;
            for place in &mut self.under_way {
                if let Some(parcel) = place.take_if(|parcel| parcel.slot == slot) {
                    self.stats.discarded_bytes += parcel.buffer.records().len() as u64;
                    pool.put(parcel.buffer);
                }
            }
            self.flush(pool, slot);
        }
    }

    /// The next batch that has come, from each neighbour in turn.
    pub fn receive(&mut self) -> Option<Batch> {
        if self.segment.door().has_mail() {
            self.greet();
        }
        let peers = self.inbound.len();
        for step in 0..peers {
            let at = self.turn + step;
            let slot = if at >= peers { at - peers } else { at };
            if let Some(batch) = self.take_from(slot) {
                self.turn = if slot + 1 == peers { 0 } else { slot + 1 };
                self.stats.batches_received += 1;
                self.stats.bytes_received += batch.bytes().len() as u64;
                return Some(batch);
            }
        }
        None
    }

    fn take_from(&mut self, slot: usize) -> Option<Batch> {
        let inbound = &mut self.inbound[slot];
        loop {
            let words = inbound.neighbour.segment.pair(self.number)?;
            let number = inbound.parcels.pop(&words.parcels)?;
            match inbound.unpack(number) {
                Some(batch) => return Some(batch),
                None => self.stats.malformed += 1,
            }
        }
    }

    /// Takes in the rings that neighbours have left word of.
    fn greet(&mut self) {
        let Rings { segment, neighbours, out, inbound, stats, .. } = self;
        segment.door().take_mail(|number| {
            let Some(from) = neighbours.ranks().get(number).copied() else {
                stats.malformed += 1;
                return;
            };
            let known = out.slot(from).map(|slot| out[slot].neighbour.clone());
            match known.map_or_else(|| neighbours.meet(from), Ok) {
                Ok(neighbour) => {
                    inbound.slot_or_insert_with(from, || Inbound::new(from, neighbour));
                }
                Err(error) => {
                    tracing::warn!(rank = from.index(), %error, "a rank of this host cannot be heard");
                }
            }
        });
    }

    /// Gives a batch back to the neighbour that it came from.
    pub fn recycle(&mut self, batch: Batch) {
        let Some(slot) = self.inbound.slot(batch.from) else { return };
        let inbound = &mut self.inbound[slot];
        let (Some(block), Some(words)) = (batch.buffer.block(), inbound.neighbour.segment.pair(self.number))
        else {
            return;
        };
        inbound.held[block.index() as usize] = false;
        inbound.untold += self.limits.charge(batch.buffer.message_len());
        // It has room for all blocks that were handed over by a neighbour that keeps to its window.
        let _ = inbound.spent.push(&words.spent, block.index().into());
        // Who waits for room is woken for a good part of it, or for the last: for every batch would be twice as many
        // changes of the core's owner as batches.
        if inbound.untold >= self.limits.window / 4 || inbound.parcels.is_empty(&words.parcels) {
            inbound.untold = 0;
            if inbound.neighbour.ring_if(Sleep::is_blocked) {
                self.stats.rings += 1;
            }
        }
    }

    /// What a rank that goes to sleep waits for.
    pub fn sleep(&self) -> Sleep {
        if self.queued == 0 { Sleep::Idle } else { Sleep::Blocked }
    }

    /// Whether there is something to be done: a batch, or room in a queue that has refused.
    pub fn has_work(&mut self, pool: &mut Pool) -> bool {
        if self.queued > 0 {
            self.progress(pool);
        }
        let Rings { number, segment, inbound, .. } = self;
        let has_batch = |inbound: &mut Inbound| {
            let words = inbound.neighbour.segment.pair(*number);
            words.is_some_and(|words| !inbound.parcels.is_empty(&words.parcels))
        };
        std::mem::take(&mut self.has_room_come)
            || segment.door().has_mail()
            || inbound.iter_mut().any(has_batch)
    }
}

impl<N> Drop for Rings<N> {
    fn drop(&mut self) {
        self.segment.door().shut();
    }
}
