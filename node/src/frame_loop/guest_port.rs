//! The guest's port: its link, and the bounded queue of what it has not taken yet.
//!
//! What waits is whole batches, each with the guest's share of it as runs of records; they go back to the
//! transport when the guest has taken them, which is also what credits their sender.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use mvpnet_qemu_driver::links::{GuestLink, LinkKind, PREFIX_LEN};
use mvpnet_switch::{DropReason, Instant, PortId, Tally};
use mvpnet_transports::{Batch, Record, RecordKind, Transport};
use nix::errno::Errno;

use super::core::Core;
use super::mailbox::GuestEnd;
use super::patience::GUEST_PATIENCE;

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

/// The guest's share of a batch: runs of records, ready to be written as they stand.
#[derive(Debug, Default)]
pub(super) struct Share {
    runs: Vec<Range<usize>>,
    /// Frames in front of which the prefix must be written: a flood's root stands there.
    unprefixed: Vec<Range<usize>>,
    frames: u64,
    octets: usize,
    /// Frames that the link could not carry; they are in the books already.
    unsendable: Tally,
    /// Whether the books know nothing of its frames: second copies, made by a link.
    is_extra: bool,
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
    connected: bool,
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
            connected: false,
            spare_shares: Vec::new(),
            spare_buffers: Vec::new(),
        })
    }

    /// Whether anything waits for the guest.
    pub(super) fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn admission(&mut self, now: Instant) -> Admission {
        if !self.connected {
            self.connected = self.link.has_peer();
            if !self.connected {
                return Admission::Absent;
            }
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
            let length = u32::try_from(frame.len()).expect("a record's length has 24 bits");
            batch.bytes_mut()[frame.start - PREFIX_LEN..frame.start].copy_from_slice(&length.to_be_bytes());
        }
        self.push(Queued { payload: Payload::Batch(batch), share, since: now });
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
                share.frames += 1;
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
        share.frames = 1;
        share.is_extra = is_extra;
        self.push(Queued { payload: Payload::Owned(bytes), share, since: now });
    }

    fn push(&mut self, queued: Queued) {
        self.waiting += queued.share.octets;
        self.frames += queued.share.frames;
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
        if wrote.unsendable_frames > 0
            && let Some(first) = self.queue.front_mut()
        {
            let lost = Tally { frames: wrote.unsendable_frames, bytes: (wrote.octets - PREFIX_LEN) as u64 };
            if first.share.is_extra {
                core.faults.duplicates_lost += lost.frames;
            } else {
                first.share.unsendable.frames += lost.frames;
                first.share.unsendable.bytes += lost.bytes;
                core.switch.egress_drop_all(PortId::Guest, DropReason::TooLong, lost);
            }
        }
        self.advance(core, wrote.octets);
        Ok(wrote.octets)
    }

    fn advance<T: Transport>(&mut self, core: &mut Core<T>, octets: usize) {
        self.waiting -= octets;
        self.written += octets;
        while let Some(first) = self.queue.front()
            && self.written >= first.share.octets
        {
            self.written -= first.share.octets;
            self.frames -= first.share.frames;
            if !first.share.is_extra {
                core.switch.sent_all(PortId::Guest, first.share.tally());
            }
            if let Some(done) = self.queue.pop_front() {
                self.reuse(core, done);
            }
        }
    }

    fn reuse<T: Transport>(&mut self, core: &mut Core<T>, mut done: Queued) {
        match done.payload {
            Payload::Batch(batch) => core.transport.recycle(batch),
            Payload::Owned(bytes) => self.spare_buffers.push(bytes),
        }
        done.share.clear();
        self.spare_shares.push(done.share);
    }

    /// Drops and counts everything that waits.
    pub(super) fn discard<T: Transport>(&mut self, core: &mut Core<T>) {
        while let Some(queued) = self.queue.pop_front() {
            if queued.share.is_extra {
                core.faults.duplicates_lost += queued.share.frames;
            } else {
                core.switch.egress_drop_all(PortId::Guest, DropReason::GuestGone, queued.share.tally());
            }
            self.reuse(core, queued);
        }
        self.waiting = 0;
        self.written = 0;
        self.frames = 0;
    }
}

/// Puts a frame with its prefix behind what is there; returns how many octets that were.
fn append(bytes: &mut Vec<u8>, frame: &[u8]) -> usize {
    let length = u32::try_from(frame.len()).expect("a frame's length has 24 bits");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    PREFIX_LEN + frame.len()
}

impl Queued {
    fn bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Batch(batch) => batch.bytes(),
            Payload::Owned(bytes) => bytes,
        }
    }
}

impl Share {
    /// Adds a record's frame; records must be added in the order in which they stand in the batch.
    #[inline]
    pub(super) fn add(&mut self, record: &Record) {
        let start = record.frame.start - PREFIX_LEN;
        match self.runs.last_mut() {
            Some(last) if last.end == start => last.end = record.frame.end,
            _ => self.runs.push(start..record.frame.end),
        }
        if record.kind == RecordKind::Flood {
            self.unprefixed.push(record.frame.clone());
        }
        self.frames += 1;
        self.octets += record.frame.end - start;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The frames that were not entered into the books before.
    fn tally(&self) -> Tally {
        let bytes = self.octets as u64 - PREFIX_LEN as u64 * self.frames;
        Tally { frames: self.frames - self.unsendable.frames, bytes: bytes - self.unsendable.bytes }
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.unprefixed.clear();
        self.frames = 0;
        self.octets = 0;
        self.unsendable = Tally::default();
        self.is_extra = false;
    }
}
