//! The data path: from an outbox into MPI, from MPI into a batch, and to sleep.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mvpnet_switch::{Rank, World};

use super::{MpiTransport, Peer, card_of};
use crate::batch::{BATCH_HEADER_LEN, Batch, Buffer, Lane, Pool};
use crate::credit::ReceiveWindow;
use crate::doze::{self, PENDING_BACKSTOP};
use crate::header::BatchHeader;
use crate::mpi::bells::PeerBell;
use crate::outbox::Outbox;
use crate::{Arm, Pending, RecordKind, SendError, Transport, TransportError, TransportStats};

/// Sends to one peer that MPI works on at a time. What comes then shares a batch, and a test of all of them stays cheap.
const MAX_IN_FLIGHT: usize = 32;

/// Messages that are matched and not yet received whole. Long ones need calls by their sender, so a few senders that are stopped must
/// not use this up.
const MAX_RECEIVES: usize = 128;

/// How often MPI is asked before a sleep: OpenMPI looks at its slower devices only at every eighth call of its progress engine.
const LAST_LOOKS: usize = 10;

/// Short sleeps after traffic. A ring can come before its message can be seen: on one host where a third rank was interrupted while it
/// put something into the same queue, which holds up all that is behind it; between hosts whenever the datagram is faster.
const EARLY_NEAR: u32 = 2;
const EARLY_FAR: u32 = 10;

impl Peer {
    fn window_in(&mut self, lane: Lane) -> &mut ReceiveWindow {
        match lane {
            Lane::Data => &mut self.data_in,
            Lane::Control => &mut self.control_in,
        }
    }

    fn is_credit_due(&self) -> bool {
        self.data_in.is_due() || self.control_in.is_due()
    }

    fn stamp(&mut self, lane: Lane, buffer: &mut Buffer) {
        let header = BatchHeader {
            lane,
            data_consumed: self.data_in.tell(),
            control_consumed: self.control_in.tell(),
        };
        header.write(buffer.header_mut());
    }
}

impl MpiTransport {
    /// The slot of a peer; made on first use.
    fn peer(&mut self, rank: Rank) -> Option<usize> {
        if let Some(slot) = self.peers.slot(rank) {
            return Some(slot);
        }
        if !self.world.contains(rank) {
            return None;
        }
        let card = card_of(&self.cards, rank);
        let is_near = self.neighbours.binary_search(&rank).is_ok();
        let ranks_there = if is_near { self.neighbours.len() } else { self.ranks_on(card.host) };
        let polls = doze::spin_for(ranks_there, usize::from(card.cores)) > Duration::ZERO;
        let bell = self.doorbell.peer(rank.index(), &card, is_near, polls);
        self.backstop.begin_with(if matches!(bell, PeerBell::Near { .. }) { EARLY_NEAR } else { EARLY_FAR });
        let limits = self.limits;
        self.peers.slot_or_insert_with(rank, || Peer {
            rank,
            outbox: Outbox::new(limits),
            data_in: ReceiveWindow::new(limits.window),
            control_in: ReceiveWindow::new(limits.control_window),
            in_flight: 0,
            has_pended: false,
            has_completed: false,
            bell,
            is_busy: false,
            has_refused: false,
            is_gone: false,
        })
    }

    fn ranks_on(&self, host: u64) -> usize {
        self.world.ranks().filter(|rank| card_of(&self.cards, *rank).host == host).count()
    }

    fn enqueue(
        &mut self,
        to: Rank,
        push: impl Fn(&mut Outbox, &mut Pool) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let slot = self.peer(to).filter(|slot| !self.peers[*slot].is_gone).ok_or(SendError::PeerGone(to))?;
        let before = self.peers[slot].outbox.queued();
        let mut result = push(&mut self.peers[slot].outbox, &mut self.pool);
        self.queued += self.peers[slot].outbox.queued() - before;
        if result == Err(SendError::Full) && self.make_room(slot) {
            let before = self.peers[slot].outbox.queued();
            result = push(&mut self.peers[slot].outbox, &mut self.pool);
            self.queued += self.peers[slot].outbox.queued() - before;
        }
        self.peers[slot].has_refused = result == Err(SendError::Full);
        match result {
            Ok(()) => {
                self.mark_busy(slot);
                if self.peers[slot].outbox.has_sealed() {
                    let launched = self.launch(slot);
                    self.keep_failure(launched);
                }
            }
            Err(_) => self.stats.refused_full += u64::from(result == Err(SendError::Full)),
        }
        result
    }

    /// Tries to move on what waits for a peer. True where something was sent.
    fn make_room(&mut self, slot: usize) -> bool {
        let before = self.peers[slot].outbox.queued();
        let moved = self.test_sends().and_then(|()| self.launch(slot));
        self.keep_failure(moved);
        self.peers[slot].outbox.queued() < before
    }

    fn mark_busy(&mut self, slot: usize) {
        let peer = &mut self.peers[slot];
        if !peer.is_busy {
            peer.is_busy = true;
            self.busy.push(slot);
        }
    }

    /// Remembers a failure that the caller has no way to return.
    fn keep_failure(&mut self, result: Result<(), TransportError>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    /// Hands to MPI what the peer's window allows, and a credit of its own where one is due and nothing else carries it.
    fn launch(&mut self, slot: usize) -> Result<(), TransportError> {
        let mut sent = false;
        loop {
            let peer = &mut self.peers[slot];
            if peer.in_flight >= MAX_IN_FLIGHT || peer.is_gone {
                break;
            }
            let before = peer.outbox.queued();
            let (lane, mut buffer) = match peer.outbox.next() {
                Some(batch) => batch,
                None if peer.is_credit_due() => (Lane::Data, self.pool.take_small()),
                None => break,
            };
            let len = buffer.records().len();
            let left = before - peer.outbox.queued();
            self.queued -= left;
            self.has_room_come |= left > 0 && std::mem::take(&mut peer.has_refused);
            peer.stamp(lane, &mut buffer);
            if let Err((error, buffer)) = self.sends.start(&self.mpi, peer.rank.index(), slot, buffer) {
                self.pool.put(buffer);
                return Err(self.lose(slot, len, error.reason()));
            }
            peer.in_flight += 1;
            self.in_flight += len;
            self.stats.batches_sent += u64::from(len > 0);
            self.stats.bytes_sent += len as u64;
            sent = true;
        }
        if sent {
            self.backstop.reset();
            self.stats.rings += u64::from(self.doorbell.message_leaves(&mut self.peers[slot].bell));
        }
        Ok(())
    }

    /// A peer cannot be sent to: what waits for it is given up.
    fn lose(&mut self, slot: usize, len: usize, reason: String) -> TransportError {
        let peer = &mut self.peers[slot];
        peer.is_gone = true;
        let waiting = peer.outbox.discard(&mut self.pool);
        self.queued -= waiting;
        self.stats.discarded_bytes += (waiting + len) as u64;
        TransportError::SendFailed { to: peer.rank, reason }
    }

    fn test_sends(&mut self) -> Result<(), TransportError> {
        let (peers, pool, in_flight) = (&mut self.peers, &mut self.pool, &mut self.in_flight);
        self.sends.test(|slot, buffer| {
            peers[slot].in_flight -= 1;
            peers[slot].has_completed = true;
            *in_flight -= buffer.records().len();
            pool.put(buffer);
        })?;
        Ok(())
    }

    fn launch_all(&mut self) -> Result<(), TransportError> {
        for at in 0..self.busy.len() {
            self.launch(self.busy[at])?;
        }
        Ok(())
    }

    /// Drops from the list of busy peers those that need nothing more, and rings again for sends that were not complete at once: their
    /// receivers may sleep without having made the calls that MPI needs to move on, or before the message had left.
    fn tidy(&mut self) {
        let mut at = 0;
        while let Some(&slot) = self.busy.get(at) {
            let peer = &mut self.peers[slot];
            let rings = if peer.has_pended && peer.has_completed {
                // It left only now.
                self.doorbell.message_leaves(&mut peer.bell)
            } else {
                peer.in_flight > 0 && self.doorbell.message_pends(&mut peer.bell)
            };
            self.stats.rings += u64::from(rings);
            (peer.has_pended, peer.has_completed) = (peer.in_flight > 0, false);
            if peer.in_flight == 0 && !peer.is_credit_due() && peer.outbox.queued() == 0 {
                peer.is_busy = false;
                self.busy.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Matches one message, if one has come, and starts to receive it.
    fn probe(&mut self) -> Result<bool, TransportError> {
        if self.receives.len() >= MAX_RECEIVES {
            return Ok(false);
        }
        let Some(probed) = self.mpi.probe()? else { return Ok(false) };
        let Some(len) = probed.len else {
            let reason = "a message of more than 2 GiB".into();
            return Err(TransportError::Failed { call: "MPI_Get_count", reason });
        };
        let buffer = match self.pool.take_for(len) {
            Some(buffer) => buffer,
            None => Buffer::of_any_size(len),
        };
        self.receives.start(probed, len, buffer)?;
        Ok(true)
    }

    /// Reads the header of a message: credits for us, and a batch unless it brought nothing else.
    fn unpack(&mut self, source: u32, len: usize, buffer: Buffer) -> Option<Batch> {
        let slot = self.world.rank(source).ok().and_then(|from| Some((from, self.peer(from)?)));
        let header = (len >= BATCH_HEADER_LEN).then(|| BatchHeader::read(buffer.header()).ok()).flatten();
        let (Some((from, slot)), Some(header), true) = (slot, header, buffer.is_batch()) else {
            tracing::debug!(source, len, "a message that is no batch was dropped");
            self.stats.malformed += 1;
            self.pool.put(buffer);
            return None;
        };
        let outbox = &mut self.peers[slot].outbox;
        outbox.credit(Lane::Data, header.data_consumed);
        outbox.credit(Lane::Control, header.control_consumed);
        self.note_arrival(slot);
        if buffer.is_empty() {
            self.pool.put(buffer);
            return None;
        }
        self.stats.batches_received += 1;
        self.stats.bytes_received += buffer.records().len() as u64;
        Some(Batch { from, lane: header.lane, buffer })
    }

    fn note_arrival(&mut self, slot: usize) {
        self.backstop.reset();
        if let Some(slept) = self.slept_unrung.take()
            && matches!(self.peers[slot].bell, PeerBell::Far(_))
        {
            self.backstop.missed_ring(slept);
        }
    }

    fn has_arrivals(&mut self) -> Result<bool, TransportError> {
        for _ in 0..LAST_LOOKS {
            self.probe()?;
            if self.receives.has_complete()? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Transport for MpiTransport {
    fn me(&self) -> Rank {
        self.me
    }

    fn world(&self) -> World {
        self.world
    }

    fn name(&self) -> &'static str {
        "mpi"
    }

    fn send_run(&mut self, to: Rank, records: &[u8]) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send_run(pool, records))
    }

    fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send(pool, kind, root, payload))
    }

    fn room(&mut self, to: Rank) -> usize {
        match self.peers.slot(to) {
            Some(slot) => self.peers[slot].outbox.room(),
            None => self.limits.queue,
        }
    }

    fn progress(&mut self) -> Result<Pending, TransportError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if !self.busy.is_empty() {
            self.test_sends()?;
            self.launch_all()?;
            // What is short enough is complete at once.
            self.test_sends()?;
            self.tidy();
        }
        Ok(Pending { bytes: self.queued + self.in_flight })
    }

    fn receive(&mut self) -> Result<Option<Batch>, TransportError> {
        loop {
            let has_probed = self.probe()?;
            match self.receives.next()? {
                Some(received) => {
                    let batch = self.unpack(received.source, received.len, received.buffer);
                    if batch.is_some() {
                        return Ok(batch);
                    }
                }
                None if !has_probed => return Ok(None),
                None => {}
            }
        }
    }

    fn recycle(&mut self, batch: Batch) {
        let Batch { from, lane, buffer } = batch;
        let charge = self.limits.charge(buffer.message_len());
        self.pool.put(buffer);
        let Some(slot) = self.peers.slot(from) else { return };
        self.peers[slot].window_in(lane).consume(charge);
        if self.peers[slot].is_credit_due() {
            self.mark_busy(slot);
        }
    }

    fn arm(&mut self) -> Arm {
        let progressed = self.progress().map(|_| ());
        self.keep_failure(progressed);
        self.is_armed = true;
        self.doorbell.sleep();
        let arrived = self.has_arrivals();
        let is_ready = match arrived {
            Ok(arrived) => arrived || std::mem::take(&mut self.has_room_come) || self.failure.is_some(),
            Err(error) => {
                self.failure.get_or_insert(error);
                true
            }
        };
        if is_ready {
            self.disarm();
            return Arm::Ready;
        }
        let is_pending = self.sends.len() > 0 || self.receives.len() > 0;
        self.sleep = if is_pending { PENDING_BACKSTOP } else { self.backstop.next() };
        Arm::Sleep { at_most: self.sleep }
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    fn disarm(&mut self) {
        if !std::mem::take(&mut self.is_armed) {
            return;
        }
        let (world, peers) = (self.world, &mut self.peers);
        let rung = self.doorbell.wake(|rank, at| {
            let slot = world.rank(rank).ok().and_then(|rank| peers.slot(rank));
            if let Some(slot) = slot
                && let PeerBell::Far(far) = &mut peers[slot].bell
            {
                far.answered(at);
            }
        });
        self.slept_unrung = (!rung).then_some(std::mem::take(&mut self.sleep));
        if rung {
            self.stats.rung += 1;
            self.backstop.heard_ring();
            self.backstop.reset();
        }
    }

    fn spin_for(&self) -> Duration {
        self.spin_for
    }

    fn stats(&self) -> TransportStats {
        TransportStats { buffers_made: self.pool.made(), ..self.stats }
    }
}
