//! The guest's port: its link, and the bounded queue of what it has not taken yet.
//!
//! What waits is whole batches, each with the guest's share of it as runs of records; they go back to the
//! transport when the guest has taken them, which is also what credits their sender.

use std::collections::VecDeque;
use std::io::IoSlice;

use mvpnet_qemu_driver::links::{GuestLink, LinkKind};
use mvpnet_switch::{DropReason, Instant, PortId, Tally};
use mvpnet_transports::{Batch, Transport};
use nix::errno::Errno;

use super::core::Core;
use super::mailbox::GuestEnd;
use super::patience::GUEST_PATIENCE;
use super::share::{Share, append, write_prefix};

/// Octets that may wait for the guest, beyond which nothing is taken from peers: at 1 Gbit/s two
/// milliseconds' worth.
const QUEUE_OCTETS: usize = 256 * 1024;

/// Frames that may wait for a guest that takes each by itself, whatever its length: so many short ones that a
/// guest which keeps up with most senders empties the queue within [`GUEST_PATIENCE`].
const QUEUE_DATAGRAMS: u64 = 256;

/// Batches that may wait, however little is in each: it bounds the buffers held.
const QUEUE_ITEMS: usize = 64;

/// Longest buffer in which frames that came over links one by one go on together.
const OWNED_LEN: usize = 32 * 1024;

/// Slices offered to the link at once.
const SLICES: usize = 64;

/// Whether the guest's queue takes another batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is room.
    Room,
    /// There is none, but the guest is draining it: leave the batch with the transport.
    Wait,
    /// There is none and the guest is slow: take the batch and drop its frames.
    Slow,
    /// There is no guest, or it is not connected yet.
    Absent,
    /// Links that are not ideal are in front of it.
    ByLinks,
}

impl Admission {
    /// Whether frames for the guest are lost.
    pub(super) fn is_loss(self) -> bool {
        matches!(self, Admission::Slow | Admission::Wait | Admission::Absent)
    }
}

#[derive(Debug)]
enum Payload {
    Batch(Batch),
    Owned(Vec<u8>),
}

#[derive(Debug)]
struct Queued {
    payload: Payload,
    share: Share,
    since: Instant,
}

/// The guest's link with its queue.
pub(super) struct GuestPort {
    pub(super) link: GuestLink,
    queue: VecDeque<Queued>,
    /// Octets of all shares in the queue that are not written yet.
    waiting: usize,
    /// Octets of the first share that are written.
    written: usize,
    /// Frames of all shares in the queue, and how many there may be.
    frames: u64,
    most_frames: u64,
    /// Frames in the queue that the link could not carry; they are in the books already.
    unsendable: Tally,
    spare_shares: Vec<Share>,
    spare_buffers: Vec<Vec<u8>>,
}

impl GuestPort {
    pub(super) fn new(end: GuestEnd) -> Result<Self, Errno> {
        let most_frames = if end.kind == LinkKind::Dgram { QUEUE_DATAGRAMS } else { u64::MAX };
        Ok(Self {
            link: GuestLink::new(end.kind, end.socket, end.guest_path.as_deref())?,
            queue: VecDeque::with_capacity(QUEUE_ITEMS * 2),
            waiting: 0,
            written: 0,
            frames: 0,
            most_frames,
            unsendable: Tally::default(),
            spare_shares: Vec::new(),
            spare_buffers: Vec::new(),
        })
    }

    /// Whether anything waits for the guest.
    pub(super) fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Prepares the link for a sleep; true where there is work already.
    pub(super) fn arm(&mut self, receives: bool) -> bool {
        let writes = self.has_waiting();
        self.link.arm(receives, writes)
    }

    pub(super) fn admission(&mut self, now: Instant) -> Admission {
        if !self.link.has_peer() {
            return Admission::Absent;
        }
        if !self.is_full() {
            return Admission::Room;
        }
        let oldest = self.queue.front().map_or(now, |first| first.since);
        if now.saturating_since(oldest) < GUEST_PATIENCE { Admission::Wait } else { Admission::Slow }
    }

    fn is_full(&self) -> bool {
        self.waiting >= QUEUE_OCTETS || self.frames >= self.most_frames || self.queue.len() >= QUEUE_ITEMS
    }

    /// A share to fill for the next batch.
    pub(super) fn empty_share(&mut self) -> Share {
        self.spare_shares.pop().unwrap_or_default()
    }

    /// Queues the guest's share of `batch`.
    pub(super) fn push_batch(&mut self, now: Instant, mut batch: Batch, mut share: Share) {
        for frame in share.unprefixed.drain(..) {
            write_prefix(batch.bytes_mut(), frame.start, frame.len());
        }
        self.push(Queued { payload: Payload::Batch(batch), share, since: now });
    }

    /// Queues copies of what a share has so far of a batch, whose other frames are to be copied one by one.
    pub(super) fn copy_share(&mut self, now: Instant, batch: &[u8], share: &mut Share) {
        let mut copy = self.empty_share();
        let mut bytes = self.spare_buffers.pop().unwrap_or_default();
        bytes.clear();
        let mut unprefixed = share.unprefixed.drain(..).peekable();
        for run in share.runs.drain(..) {
            let begin = bytes.len();
            bytes.extend_from_slice(&batch[run.clone()]);
            while let Some(frame) = unprefixed.next_if(|frame| frame.start < run.end) {
                write_prefix(&mut bytes[begin..], frame.start - run.start, frame.len());
            }
        }
        drop(unprefixed);
        copy.runs.push(0..bytes.len());
        copy.octets = bytes.len();
        copy.tally = share.tally;
        share.clear();
        share.is_copied = true;
        if copy.is_empty() {
            self.spare_buffers.push(bytes);
            self.put_share(copy);
        } else {
            self.push(Queued { payload: Payload::Owned(bytes), share: copy, since: now });
        }
    }

    /// Takes back a share.
    pub(super) fn put_share(&mut self, mut share: Share) {
        share.clear();
        self.spare_shares.push(share);
    }

    /// Queues the switch's answer to the guest, or drops it when there is no room.
    pub(super) fn push_reply<T: Transport>(&mut self, core: &mut Core<T>, now: Instant) {
        let full = self.is_full();
        let dropped = full.then_some(DropReason::QueueFull);
        let frame_len = core.switch.reply().len();
        core.capture_reply(dropped);
        if full {
            core.switch.egress_drop(PortId::Guest, DropReason::QueueFull, frame_len);
            return;
        }
        self.push_owned(now, core.switch.reply(), false);
    }

    /// Queues a frame that has come over a link. Its admission is the caller's matter, and with a second copy
    /// (`is_extra`) so is counting it.
    pub(super) fn push_frame(&mut self, now: Instant, frame: &[u8], is_extra: bool) {
        match self.queue.back_mut() {
            Some(Queued { payload: Payload::Owned(bytes), share, .. })
                if !is_extra && !share.is_extra && bytes.len() + frame.len() <= OWNED_LEN =>
            {
                let added = append(bytes, frame);
                share.runs.clear();
                share.runs.push(0..bytes.len());
                share.octets = bytes.len();
                share.tally += frame.len();
                self.waiting += added;
                self.frames += 1;
            }
            _ => self.push_owned(now, frame, is_extra),
        }
    }

    fn push_owned(&mut self, now: Instant, frame: &[u8], is_extra: bool) {
        let mut bytes = self.spare_buffers.pop().unwrap_or_default();
        bytes.clear();
        append(&mut bytes, frame);
        let mut share = self.empty_share();
        share.runs.push(0..bytes.len());
        share.octets = bytes.len();
        share.tally += frame.len();
        share.is_extra = is_extra;
        self.push(Queued { payload: Payload::Owned(bytes), share, since: now });
    }

    fn push(&mut self, queued: Queued) {
        self.waiting += queued.share.octets;
        self.frames += queued.share.tally.frames;
        self.queue.push_back(queued);
    }

    /// Offers what waits to the guest, with one system call; returns the octets it took.
    ///
    /// # Errors
    /// The link is over.
    pub(super) fn write<T: Transport>(&mut self, core: &mut Core<T>) -> Result<usize, Errno> {
        let mut slices: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
        let mut count = 0;
        let mut skip = self.written;
        let runs = self.queue.iter().flat_map(|queued| {
            let bytes = queued.bytes();
            queued.share.runs.iter().map(move |run| &bytes[run.clone()])
        });
        for run in runs {
            if skip >= run.len() {
                skip -= run.len();
                continue;
            }
            slices[count] = IoSlice::new(&run[skip..]);
            skip = 0;
            count += 1;
            if count == SLICES {
                break;
            }
        }
        let wrote = self.link.write(&slices[..count])?;
        if wrote.unsendable.frames > 0 {
            self.lose(core, wrote.unsendable);
        }
        self.advance(core, wrote.octets);
        Ok(wrote.octets)
    }

    /// Enters frames that the link could not carry into the books. They count as sent when their shares are done with, and
    /// are taken off there.
    #[cold]
    fn lose<T: Transport>(&mut self, core: &mut Core<T>, lost: Tally) {
        if self.queue.front().is_some_and(|first| first.share.is_extra) {
            core.faults.duplicates_lost += lost.frames;
            return;
        }
        self.unsendable.frames += lost.frames;
        self.unsendable.bytes += lost.bytes;
        core.switch.egress_drop_all(PortId::Guest, DropReason::TooLong, lost);
    }

    /// What is left of a share's frames without those that the link could not carry.
    fn settle(&mut self, share: Tally) -> Tally {
        let lost = std::mem::take(&mut self.unsendable);
        if lost.frames == 0 {
            return share;
        }
        // A write may have lost frames of several shares.
        let (frames, bytes) = (lost.frames.min(share.frames), lost.bytes.min(share.bytes));
        self.unsendable = Tally { frames: lost.frames - frames, bytes: lost.bytes - bytes };
        Tally { frames: share.frames - frames, bytes: share.bytes - bytes }
    }

    fn advance<T: Transport>(&mut self, core: &mut Core<T>, octets: usize) {
        self.waiting -= octets;
        self.written += octets;
        while let Some(first) = self.queue.front()
            && self.written >= first.share.octets
        {
            let Share { octets, tally, is_extra, .. } = first.share;
            self.written -= octets;
            self.frames -= tally.frames;
            if !is_extra {
                let sent = self.settle(tally);
                core.switch.sent_all(PortId::Guest, sent);
            }
            if let Some(done) = self.queue.pop_front() {
                self.reuse(core, done);
            }
        }
    }

    fn reuse<T: Transport>(&mut self, core: &mut Core<T>, done: Queued) {
        match done.payload {
            Payload::Batch(batch) => core.transport.recycle(batch),
            Payload::Owned(bytes) => self.spare_buffers.push(bytes),
        }
        self.put_share(done.share);
    }

    /// Drops and counts everything that waits.
    pub(super) fn discard<T: Transport>(&mut self, core: &mut Core<T>) {
        while let Some(queued) = self.queue.pop_front() {
            if queued.share.is_extra {
                core.faults.duplicates_lost += queued.share.tally.frames;
            } else {
                let lost = self.settle(queued.share.tally);
                core.switch.egress_drop_all(PortId::Guest, DropReason::GuestGone, lost);
            }
            self.reuse(core, queued);
        }
        self.waiting = 0;
        self.written = 0;
        self.frames = 0;
    }
}

impl Queued {
    fn bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Batch(batch) => batch.bytes(),
            Payload::Owned(bytes) => bytes,
        }
    }
}
