//! The `mem` transport: ranks are threads of one process, joined by rings.
//!
//! A pair of ranks has, per direction and made on first use, a single-producer ring that carries whole
//! buffers and a second one that brings spent buffers back, so nothing is copied between ranks. Credits are
//! two counters that both ends see. A rank that sleeps is woken by an eventfd. Which batch may leave is
//! decided in `outbox`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mvpnet_switch::{Rank, World};
use rtrb::{Consumer, Producer};
use thiserror::Error;

use crate::batch::{Batch, Buffer, Lane, Pool};
use crate::doze::Backstop;
use crate::outbox::{FlowLimits, Outbox};
use crate::peers::Peers;
use crate::{Arm, Pending, RecordKind, SendError, Transport, TransportError, TransportStats};

mod door;

use door::{Door, Inbound, Pair, Parcel, Sleep, ring_pair};

/// Unused buffers that a rank keeps.
const KEEP_BUFFERS: usize = 64;

/// Why the ranks of one process could not be joined.
#[derive(Debug, Error)]
#[error("no doorbell for rank {rank}: {source}")]
pub struct FabricError {
    rank: Rank,
    source: io::Error,
}

/// Makes all ends of a world, in rank order. Each goes to the thread that is to be its rank.
pub fn fabric(world: World) -> Result<Vec<MemTransport>, FabricError> {
    fabric_with(world, FlowLimits::BUFFERS)
}

/// [`fabric`] with limits of its own.
pub fn fabric_with(world: World, limits: FlowLimits) -> Result<Vec<MemTransport>, FabricError> {
    let limits = limits.workable();
    let doors = world
        .ranks()
        .map(|rank| Door::new().map_err(|errno| FabricError { rank, source: errno.into() }))
        .collect::<Result<Arc<[Door]>, FabricError>>()?;
    Ok(world.ranks().map(|me| MemTransport::new(me, world, limits, doors.clone())).collect())
}

/// One rank's end of a [`fabric`].
#[derive(Debug)]
pub struct MemTransport {
    me: Rank,
    world: World,
    limits: FlowLimits,
    doors: Arc<[Door]>,
    pool: Pool,
    out: Peers<Outbound>,
    /// Slots in `out` that have something queued.
    busy: Vec<usize>,
    /// Record bytes queued, all peers together.
    queued: usize,
    /// Whether a queue that refused has room again, of which the caller has not heard.
    has_room_come: bool,
    inbound: Peers<Inbound>,
    /// The slot in `inbound` to look at first.
    turn: usize,
    /// The slot in `out` whose spent buffers are fetched next.
    fetch: usize,
    backstop: Backstop,
    is_armed: bool,
    /// See [`Door::wake`].
    rings_owed: u64,
    stats: TransportStats,
}

/// The sending half of a pair.
#[derive(Debug)]
struct Outbound {
    to: Rank,
    outbox: Outbox,
    ring: Producer<Parcel>,
    spent: Consumer<Buffer>,
    pair: Arc<Pair>,
    is_busy: bool,
    /// Whether the last send was refused for want of room.
    has_refused: bool,
}

impl MemTransport {
    fn new(me: Rank, world: World, limits: FlowLimits, doors: Arc<[Door]>) -> Self {
        MemTransport {
            me,
            world,
            limits,
            doors,
            pool: Pool::new(KEEP_BUFFERS),
            out: Peers::new(world),
            busy: Vec::new(),
            queued: 0,
            has_room_come: false,
            inbound: Peers::new(world),
            turn: 0,
            fetch: 0,
            backstop: Backstop::default(),
            is_armed: false,
            rings_owed: 0,
            stats: TransportStats::default(),
        }
    }

    /// The slot of a peer that can be sent to.
    fn outbound(&mut self, to: Rank) -> Result<usize, SendError> {
        let door = self
            .doors
            .get(to.index() as usize)
            .filter(|door| !door.is_shut())
            .ok_or(SendError::PeerGone(to))?;
        let (me, limits) = (self.me, self.limits);
        let slot = self.out.slot_or_insert_with(to, || {
            let (ring, spent, pair, inbound) = ring_pair(me, limits.batches_on_the_way());
            door.leave(inbound);
            Outbound {
                to,
                outbox: Outbox::new(limits),
                ring,
                spent,
                pair,
                is_busy: false,
                has_refused: false,
            }
        });
        slot.ok_or(SendError::PeerGone(to))
    }

    fn enqueue(
        &mut self,
        to: Rank,
        push: impl Fn(&mut Outbox, &mut Pool) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let slot = self.outbound(to)?;
        let mut before = self.out[slot].outbox.queued();
        let mut result = push(&mut self.out[slot].outbox, &mut self.pool);
        if result == Err(SendError::Full) {
            self.flush(slot);
            before = self.out[slot].outbox.queued();
            result = push(&mut self.out[slot].outbox, &mut self.pool);
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
                self.flush(slot);
            }
        }
        result
    }

    /// Hands over what the peer's window allows.
    fn flush(&mut self, slot: usize) {
        let peer = &mut self.out[slot];
        let door = &self.doors[peer.to.index() as usize];
        let before = peer.outbox.queued();
        peer.fetch_spent(&mut self.pool);
        if door.is_shut() {
            self.stats.discarded_bytes += peer.outbox.discard(&mut self.pool) as u64;
        }
        peer.take_credit();
        let mut sent = false;
        while !peer.ring.is_full() {
            let Some((lane, buffer)) = peer.outbox.next() else { break };
            self.stats.batches_sent += 1;
            self.stats.bytes_sent += buffer.records().len() as u64;
            // The ring has a free slot and no other producer.
            sent |= peer.ring.push(Parcel { lane, buffer }).is_ok();
        }
        let left = before - peer.outbox.queued();
        self.queued -= left;
        self.has_room_come |= left > 0 && std::mem::take(&mut peer.has_refused);
        if sent && door.ring_if(Sleep::is_asleep) {
            self.stats.rings += 1;
        }
    }

    /// Takes in the rings that peers have made since.
    fn greet(&mut self) {
        let door = &self.doors[self.me.index() as usize];
        for inbound in door.collect() {
            self.inbound.slot_or_insert_with(inbound.from, || inbound);
        }
    }

    fn fetch_all_spent(&mut self) {
        for peer in self.out.iter_mut() {
            peer.fetch_spent(&mut self.pool);
        }
    }

    fn has_work(&mut self) -> bool {
        let door = &self.doors[self.me.index() as usize];
        if door.has_mail() || self.inbound.iter_mut().any(|inbound| !inbound.ring.is_empty()) {
            return true;
        }
        self.busy.iter().any(|slot| {
            let peer = &mut self.out[*slot];
            peer.take_credit();
            peer.outbox.has_next()
        })
    }
}

impl Outbound {
    fn fetch_spent(&mut self, pool: &mut Pool) {
        while let Ok(buffer) = self.spent.pop() {
            pool.put(buffer);
        }
    }

    fn take_credit(&mut self) {
        for lane in [Lane::Data, Lane::Control] {
            self.outbox.credit(lane, self.pair.consumed(lane));
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

    fn send_run(&mut self, to: Rank, records: &[u8]) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send_run(pool, records))
    }

    fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send(pool, kind, root, payload))
    }

    fn progress(&mut self) -> Result<Pending, TransportError> {
        let mut at = 0;
        while let Some(&slot) = self.busy.get(at) {
            self.flush(slot);
            if self.out[slot].outbox.queued() == 0 {
                self.out[slot].is_busy = false;
                self.busy.swap_remove(at);
            } else {
                at += 1;
            }
        }
        if self.out.len() > 0 {
            self.fetch = (self.fetch + 1) % self.out.len();
            self.out[self.fetch].fetch_spent(&mut self.pool);
        }
        Ok(Pending { bytes: self.queued })
    }

    fn receive(&mut self) -> Result<Option<Batch>, TransportError> {
        if self.doors[self.me.index() as usize].has_mail() {
            self.greet();
        }
        let peers = self.inbound.len();
        for step in 0..peers {
            let slot = (self.turn + step) % peers;
            let inbound = &mut self.inbound[slot];
            if let Ok(Parcel { lane, buffer }) = inbound.ring.pop() {
                let from = inbound.from;
                self.turn = slot + 1;
                self.backstop.reset();
                self.stats.batches_received += 1;
                self.stats.bytes_received += buffer.records().len() as u64;
                return Ok(Some(Batch { from, lane, buffer }));
            }
        }
        Ok(None)
    }

    fn recycle(&mut self, batch: Batch) {
        let Batch { from, lane, buffer } = batch;
        let Some(slot) = self.inbound.slot(from) else { return self.pool.put(buffer) };
        let inbound = &mut self.inbound[slot];
        let charge = self.limits.charge(buffer.message_len());
        // A full ring would only mean that the sender does not need its buffers: this one is freed.
        let _ = inbound.spent.push(buffer);
        inbound.pair.consume(lane, charge);
        if self.doors[from.index() as usize].ring_if(Sleep::is_blocked) {
            self.stats.rings += 1;
        }
    }

    fn arm(&mut self) -> Arm {
        self.fetch_all_spent();
        let door = &self.doors[self.me.index() as usize];
        self.is_armed = true;
        door.set(if self.queued == 0 { Sleep::Idle } else { Sleep::Blocked });
        if std::mem::take(&mut self.has_room_come) || self.has_work() {
            self.disarm();
            return Arm::Ready;
        }
        Arm::Sleep { at_most: self.backstop.next() }
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.doors[self.me.index() as usize].bell.as_fd()
    }

    fn disarm(&mut self) {
        if self.is_armed && self.doors[self.me.index() as usize].wake(&mut self.rings_owed) {
            self.stats.rung += 1;
        }
        self.is_armed = false;
    }

    fn stats(&self) -> TransportStats {
        TransportStats { buffers_made: self.pool.made(), ..self.stats }
    }
}

impl Drop for MemTransport {
    fn drop(&mut self) {
        self.doors[self.me.index() as usize].shut.store(true, Ordering::Release);
    }
}
