//! The calls of [`Transport`]: what arrives, and going to sleep. What leaves is in
//! [`outgoing`](super::outgoing).

use std::os::fd::{AsFd, BorrowedFd};

use mvpnet_switch::{Rank, World};

use super::MpiTransport;
use super::bells::PeerBell;
use crate::batch::{BATCH_HEADER_LEN, Batch, Buffer, Draft, Lane};
use crate::doze::PENDING_BACKSTOP;
use crate::header::BatchHeader;
use crate::shm::{Rings, Sleep};
use crate::{Arm, Pending, RecordKind, SendError, Transport, TransportError, TransportStats};

/// Messages that are matched and not yet received whole. Long ones need calls by their sender, so a few
/// senders that are stopped must not use this up.
const MAX_RECEIVES: usize = 128;

/// How often MPI is asked before a sleep: OpenMPI looks at its slower devices only at every eighth call of
/// its progress engine.
const LAST_LOOKS: usize = 10;

impl MpiTransport {
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

    /// The next batch that has come as a message.
    fn receive_message(&mut self) -> Result<Option<Batch>, TransportError> {
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

    /// Reads the header of a message: credits for us, and a batch unless it brought nothing else.
    fn unpack(&mut self, source: u32, len: usize, buffer: Buffer) -> Option<Batch> {
        let slot = self.world.rank(source).ok().and_then(|from| Some((from, self.peer(from)?)));
        let (Some((from, slot)), Some(header)) = (slot, read_header(len, &buffer)) else {
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

    /// Looks for credits in what has come, without receiving it: what waits can go on although the caller
    /// reads nothing. True where there were any.
    fn overhear_credits(&mut self) -> Result<bool, TransportError> {
        self.probe()?;
        let (world, peers, mut opened) = (self.world, &mut self.peers, false);
        self.receives.overhear(|source, len, buffer| {
            let slot = world.rank(source).ok().and_then(|from| peers.slot(from));
            if let (Some(slot), Some(header)) = (slot, read_header(len, buffer)) {
                let outbox = &mut peers[slot].outbox;
                opened |= outbox.credit(Lane::Data, header.data_consumed);
                opened |= outbox.credit(Lane::Control, header.control_consumed);
            }
        })?;
        Ok(opened)
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
        if self.rings.as_mut().is_some_and(|rings| rings.has_work(&mut self.pool)) {
            return Ok(true);
        }
        if self.is_all_near {
            return Ok(false);
        }
        for _ in 0..LAST_LOOKS {
            self.probe()?;
            if self.receives.has_complete()? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The header of a message of `len` bytes, where it has one.
fn read_header(len: usize, buffer: &Buffer) -> Option<BatchHeader> {
    let is_batch = len >= BATCH_HEADER_LEN && buffer.is_batch();
    is_batch.then(|| BatchHeader::read(buffer.header()).ok()).flatten()
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

    fn draft(&mut self) -> Draft {
        Draft { buffer: self.pool.take() }
    }

    fn send_draft(&mut self, to: Rank, draft: &mut Draft, len: usize) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send_draft(pool, draft, len))
    }

    fn send_run(&mut self, to: Rank, records: &[u8]) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send_run(pool, records))
    }

    fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), SendError> {
        self.enqueue(to, |outbox, pool| outbox.send(pool, kind, root, payload))
    }

    fn progress(&mut self) -> Result<Pending, TransportError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if !self.busy.is_empty() {
            self.test_sends()?;
            self.launch_all()?;
            if self.queued > 0 && self.overhear_credits()? {
                self.launch_all()?;
            }
            // What is short enough is complete at once.
            self.test_sends()?;
            self.tidy();
        }
        let near = self.rings.as_mut().map_or(0, |rings| rings.progress(&mut self.pool));
        Ok(Pending { bytes: near + self.queued + self.in_flight })
    }

    fn receive(&mut self) -> Result<Option<Batch>, TransportError> {
        // In turn, so that neither way keeps the other from being heard.
        self.is_mpis_turn = !self.is_mpis_turn && !self.is_all_near;
        if self.is_mpis_turn
            && let Some(batch) = self.receive_message()?
        {
            return Ok(Some(batch));
        }
        if let Some(batch) = self.rings.as_mut().and_then(Rings::receive) {
            self.backstop.reset();
            return Ok(Some(batch));
        }
        if self.is_mpis_turn || self.is_all_near { Ok(None) } else { self.receive_message() }
    }

    fn recycle(&mut self, batch: Batch) {
        if let (Some(_), Some(rings)) = (batch.buffer.block(), &mut self.rings) {
            return rings.recycle(batch);
        }
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
        let mut sleep = Sleep::Idle;
        if let Some(rings) = &mut self.rings {
            rings.fetch_all_spent(&mut self.pool);
            rings.bury(&mut self.pool);
            sleep = rings.sleep();
        }
        self.doorbell.sleep(sleep);
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

    fn stats(&self) -> TransportStats {
        let near = self.rings.as_ref().map_or_else(TransportStats::default, |rings| rings.stats);
        TransportStats { buffers_made: self.pool.made(), ..self.stats.plus(near) }
    }
}
