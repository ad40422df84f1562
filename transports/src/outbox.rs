//! What waits for one peer: an open batch per lane, sealed batches, and the credit to send them. Sans-IO,
//! shared by all transports.
//!
//! A record joins the open batch. The batch leaves when the transport asks for it ([`Outbox::next`], called
//! once the loop turns idle or a batch is full) and the window allows; while the window is shut the open
//! batch goes on growing, so small records never take a buffer each. Both the queue and the window are
//! bounded in bytes, per lane.

use std::collections::VecDeque;

use mvpnet_switch::Rank;

use crate::batch::{BATCH_LEN, Buffer, Draft, LARGE_ROOM, Lane};
use crate::credit::SendWindow;
use crate::pool::Pool;
use crate::records::{MAX_FRAME_LEN, RecordKind};
use crate::{MAX_CONTROL_LEN, SendError};

/// How much may wait for, and be on the way to, one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Bytes of frames on the way to a peer that it has not yet consumed.
    pub window: u64,
    /// Bytes of frames that wait here for a peer while its window is shut; beyond that, [`SendError::Full`].
    pub queue: usize,
    /// The same for control records on the way.
    pub control_window: u64,
    /// The same for control records that wait.
    pub control_queue: usize,
    /// A batch takes at least this much of a window however short it is, which bounds the number of batches
    /// on the way.
    pub min_charge: u64,
}

impl FlowLimits {
    /// What the `mpi` transport uses: 1 MiB on the way, 512 KiB waiting.
    pub const MESSAGES: FlowLimits = FlowLimits {
        window: 1 << 20,
        queue: 512 << 10,
        control_window: 128 << 10,
        control_queue: 64 << 10,
        min_charge: 2 << 10,
    };

    /// What the `mem` transport uses: the same, but every batch on the way holds a whole buffer.
    pub const BUFFERS: FlowLimits = FlowLimits { min_charge: 16 << 10, ..FlowLimits::MESSAGES };

    /// The limits, raised where they could not carry the longest record.
    pub(crate) fn workable(self) -> Self {
        let charge = self.min_charge.clamp(1, LARGE_ROOM as u64);
        FlowLimits {
            window: self.window.max(4 * LARGE_ROOM as u64),
            queue: self.queue.max(LARGE_ROOM),
            control_window: self.control_window.max(4 * (MAX_CONTROL_LEN as u64 + 64)).max(4 * charge),
            control_queue: self.control_queue.max(MAX_CONTROL_LEN + 64),
            min_charge: charge,
        }
    }

    /// What a message of `len` bytes takes of a window. Sender and receiver must agree on it.
    pub(crate) fn charge(&self, len: usize) -> u64 {
        (len as u64).max(self.min_charge)
    }

    /// The most batches that can be on the way to one peer, both lanes together.
    pub(crate) fn batches_on_the_way(&self) -> usize {
        let batches = self.window / self.min_charge + self.control_window / self.min_charge + 2;
        usize::try_from(batches).unwrap_or(usize::MAX)
    }
}

/// Everything that waits for one peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    data: Queue,
    control: Queue,
    limits: FlowLimits,
}

#[derive(Debug)]
struct Queue {
    open: Option<Buffer>,
    sealed: VecDeque<Buffer>,
    /// Record bytes in `open` and `sealed`.
    queued: usize,
    bound: usize,
    batch_len: usize,
    window: SendWindow,
}

impl Outbox {
    /// An empty outbox. `limits` must be [workable](FlowLimits::workable).
    pub fn new(limits: FlowLimits) -> Self {
        Outbox {
            data: Queue::new(limits.queue, BATCH_LEN, limits.window),
            control: Queue::new(limits.control_queue, MAX_CONTROL_LEN + 64, limits.control_window),
            limits,
        }
    }

    /// Queues unicast records that already have their headers.
    pub fn send_run(&mut self, pool: &mut Pool, run: &[u8]) -> Result<(), SendError> {
        if run.len() > LARGE_ROOM {
            return Err(SendError::TooLong { len: run.len(), max: LARGE_ROOM });
        }
        self.data.batch_for(pool, run.len())?.push_run(run);
        Ok(())
    }

    /// Queues the unicast records at the beginning of a draft, `len` bytes: the draft's buffer itself where that spares
    /// a copy, and then the draft gets another.
    pub fn send_draft(&mut self, pool: &mut Pool, draft: &mut Draft, len: usize) -> Result<(), SendError> {
        if !self.data.takes_whole(len) {
            return self.send_run(pool, draft.bytes().get(..len).unwrap_or_default());
        }
        let mut full = std::mem::replace(&mut draft.buffer, pool.take());
        full.fill(len);
        self.data.push_whole(full);
        Ok(())
    }

    /// Queues one record.
    pub fn send(
        &mut self,
        pool: &mut Pool,
        kind: RecordKind,
        root: Rank,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let lane = Lane::of(kind);
        let max = match lane {
            Lane::Data => MAX_FRAME_LEN,
            Lane::Control => MAX_CONTROL_LEN,
        };
        if payload.len() > max {
            return Err(SendError::TooLong { len: payload.len(), max });
        }
        let batch = self.queue(lane).batch_for(pool, kind.overhead() + payload.len())?;
        batch.push_record(kind, root.index(), payload);
        Ok(())
    }

    /// The next batch that may leave now, counted as sent. Control goes first.
    pub fn next(&mut self) -> Option<(Lane, Buffer)> {
        let limits = self.limits;
        [Lane::Control, Lane::Data].into_iter().find_map(|lane| Some((lane, self.queue(lane).next(&limits)?)))
    }

    /// Whether what [`Outbox::next`] would give is in shared memory.
    pub fn next_is_shared(&self) -> bool {
        let limits = &self.limits;
        let queue = if self.control.may_leave(limits) { &self.control } else { &self.data };
        queue.front().is_some_and(|front| front.block().is_some())
    }

    /// Takes the peer's cumulative count of consumed bytes. True where that opened the window.
    pub fn credit(&mut self, lane: Lane, consumed: u64) -> bool {
        self.queue(lane).window.credit(consumed)
    }

    /// Whether a batch is full, so that waiting for more records gains nothing.
    pub fn has_sealed(&self) -> bool {
        !self.data.sealed.is_empty() || !self.control.sealed.is_empty()
    }

    /// Record bytes that wait.
    pub fn queued(&self) -> usize {
        self.data.queued + self.control.queued
    }

    /// Gives up what waits and returns how many record bytes that was.
    pub fn discard(&mut self, pool: &mut Pool) -> usize {
        let bytes = self.queued();
        for queue in [&mut self.data, &mut self.control] {
            queue.queued = 0;
            queue.sealed.drain(..).chain(queue.open.take()).for_each(|buffer| pool.put(buffer));
        }
        bytes
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Data => &mut self.data,
            Lane::Control => &mut self.control,
        }
    }
}

impl Queue {
    fn new(bound: usize, batch_len: usize, window: u64) -> Self {
        Queue {
            open: None,
            sealed: VecDeque::new(),
            queued: 0,
            bound,
            batch_len,
            window: SendWindow::new(window),
        }
    }

    /// The open batch, with room for `len` more bytes, which are counted as queued.
    fn batch_for(&mut self, pool: &mut Pool, len: usize) -> Result<&mut Buffer, SendError> {
        if self.queued + len > self.bound {
            return Err(SendError::Full);
        }
        self.queued += len;
        if let Some(full) = self.open.take_if(|open| !open.takes(len, self.batch_len)) {
            self.sealed.push_back(full);
        }
        Ok(self.open.get_or_insert_with(|| pool.take()))
    }

    /// Whether a batch of `len` bytes is better queued as it is. Short ones share a buffer while others wait.
    fn takes_whole(&self, len: usize) -> bool {
        let is_worth_it = len >= self.batch_len / 4 || (self.open.is_none() && self.sealed.is_empty());
        is_worth_it && self.queued + len <= self.bound
    }

    /// Queues a batch. The caller has asked [`Queue::takes_whole`].
    fn push_whole(&mut self, batch: Buffer) {
        self.queued += batch.records().len();
        self.sealed.extend(self.open.take());
        self.sealed.push_back(batch);
    }

    fn front(&self) -> Option<&Buffer> {
        self.sealed.front().or(self.open.as_ref())
    }

    fn may_leave(&self, limits: &FlowLimits) -> bool {
        self.front().is_some_and(|front| self.window.allows(limits.charge(front.message_len())))
    }

    fn next(&mut self, limits: &FlowLimits) -> Option<Buffer> {
        if !self.may_leave(limits) {
            return None;
        }
        let batch = self.sealed.pop_front().or_else(|| self.open.take())?;
        self.window.spend(limits.charge(batch.message_len()));
        self.queued -= batch.records().len();
        Some(batch)
    }
}

#[cfg(test)]
mod tests;
