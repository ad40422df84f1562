//! What leaves: from an outbox into MPI, with the ring that goes along.

use mvpnet_switch::Rank;

use super::bells::PeerBell;
use super::{MpiTransport, Peer, card_of};
use crate::batch::{Buffer, Lane};
use crate::credit::ReceiveWindow;
use crate::doze;
use crate::header::BatchHeader;
use crate::outbox::Outbox;
use crate::pool::Pool;
use crate::shm::{Neighbour, Neighbours};
use crate::{SendError, TransportError};

/// Sends to one peer that MPI works on at a time. What comes then shares a batch, and a test of all of them
/// stays cheap.
const MAX_IN_FLIGHT: usize = 32;

/// Short sleeps after traffic. A ring can come before its message can be seen: on one host where a third rank
/// was interrupted while it put something into the same queue, which holds up all that is behind it; between
/// hosts whenever the datagram is faster.
const EARLY_NEAR: u32 = 2;
const EARLY_FAR: u32 = 10;

impl Peer {
    pub(super) fn window_in(&mut self, lane: Lane) -> &mut ReceiveWindow {
        match lane {
            Lane::Data => &mut self.data_in,
            Lane::Control => &mut self.control_in,
        }
    }

    pub(super) fn is_credit_due(&self) -> bool {
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
    pub(super) fn peer(&mut self, rank: Rank) -> Option<usize> {
        if let Some(slot) = self.peers.slot(rank) {
            return Some(slot);
        }
        if !self.world.contains(rank) {
            return None;
        }
        let card = card_of(&self.cards, rank);
        let polls = doze::polls(self.hosts.ranks_on(card.host), usize::from(card.cores));
        let bell = self.doorbell.peer(rank.index(), &card, self.near(rank), polls);
        self.backstop.begin_with(if matches!(bell, PeerBell::Near(_)) { EARLY_NEAR } else { EARLY_FAR });
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

    /// The door of a rank of this host, to be rung at for messages of MPI.
    fn near(&self, rank: Rank) -> Option<Neighbour> {
        self.host.ranks().binary_search(&rank).ok()?;
        let near = self.host.meet(rank);
        near.inspect_err(|error| {
            tracing::debug!(rank = rank.index(), %error, "cannot ring at the door of a rank of this host");
        })
        .ok()
    }

    /// Queues something for a peer, on the way that leads to it.
    pub(super) fn enqueue(
        &mut self,
        to: Rank,
        mut push: impl FnMut(&mut Outbox, &mut Pool) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        if let Some(rings) = self.rings.as_mut().filter(|rings| rings.reaches(to)) {
            return rings.enqueue(&mut self.pool, to, push);
        }
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

    pub(super) fn mark_busy(&mut self, slot: usize) {
        let peer = &mut self.peers[slot];
        if !peer.is_busy {
            peer.is_busy = true;
            self.busy.push(slot);
        }
    }

    /// Remembers a failure that the caller has no way to return.
    pub(super) fn keep_failure(&mut self, result: Result<(), TransportError>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    /// Hands to MPI what the peer's window allows, and a credit of its own where one is due and nothing else
    /// carries it.
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

    pub(super) fn test_sends(&mut self) -> Result<(), TransportError> {
        let (peers, pool, in_flight) = (&mut self.peers, &mut self.pool, &mut self.in_flight);
        self.sends.test(|slot, buffer| {
            peers[slot].in_flight -= 1;
            peers[slot].has_completed = true;
            *in_flight -= buffer.records().len();
            pool.put(buffer);
        })?;
        Ok(())
    }

    pub(super) fn launch_all(&mut self) -> Result<(), TransportError> {
        for at in 0..self.busy.len() {
            self.launch(self.busy[at])?;
        }
        Ok(())
    }

    /// Drops from the list of busy peers those that need nothing more, and rings again for sends that were
    /// not complete at once: their receivers may sleep without having made the calls that MPI needs to move
    /// on, or before the message had left.
    pub(super) fn tidy(&mut self) {
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
}
