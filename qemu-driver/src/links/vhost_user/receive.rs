//! To the guest: records to the buffers of its receive ring, copied once.
//!
//! With mergeable buffers (VIRTIO 1.2 §5.1.6.4) a frame may take many of them, and its header says how many. The
//! driver sees a whole batch at once, so it never meets a frame of which a part is missing.

use std::io::IoSlice;

use mvpnet_switch::{DropReason, OFFLOAD_LEN, Offload};

use super::chain::{self, BadChain, Direction};
use super::features::bit;
use super::memory::{GuestMemory, Piece};
use super::records::{self, Record};
use super::ring::{BadIndex, Ring};
use super::transmit::Context;
use crate::links::Refusal;
use crate::links::{MAX_GUEST_FRAME_LEN, Wrote};

/// Where the number of buffers is in the header.
const BUFFER_COUNT: std::ops::Range<usize> = 10..12;

/// What became of a record.
enum Given {
    /// It is in the guest's memory.
    Whole,
    /// The guest has no buffers that it will ever fit into, or does not take such frames.
    Unsendable,
    /// The guest has not buffers enough now.
    NoRoom,
}

/// What is being gathered for a frame. Kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Receive {
    pieces: Vec<Piece>,
    /// The chains, with the octets of each.
    buffers: Vec<(u16, usize)>,
    /// Whether the last batch was more than there was room for.
    pub(super) is_short: bool,
}

impl Receive {
    /// Gives the guest as many records as it has buffers for. The caller publishes.
    pub(super) fn give(
        &mut self,
        ring: &mut Ring,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Result<Wrote, BadIndex> {
        // Looked at once, as for the other direction.
        ring.look()?;
        let mut wrote = Wrote::default();
        self.is_short = false;
        for slice in slices {
            let mut run: &[u8] = slice;
            while !run.is_empty() {
                let (record, octets) = records::split(run);
                match record.map_or(Given::Unsendable, |record| self.give_one(ring, context, record)) {
                    Given::Whole => {}
                    Given::Unsendable => wrote.unsendable += record.map_or(0, |record| record.frame.len()),
                    Given::NoRoom => {
                        self.is_short = true;
                        return Ok(wrote);
                    }
                }
                wrote.octets += octets;
                run = &run[octets..];
            }
        }
        Ok(wrote)
    }

    #[inline]
    fn give_one(&mut self, ring: &mut Ring, context: &mut Context<'_>, record: Record<'_>) -> Given {
        let Record { header, frame } = record;
        if frame.len() > MAX_GUEST_FRAME_LEN {
            return Given::Unsendable;
        }
        let mut head = [0; OFFLOAD_LEN];
        if let Some(header) = header {
            match Offload::read(header, frame) {
                Ok(Some(offload)) if context.features.takes(&offload) => head = *header,
                Ok(None) => {}
                _ => return Given::Unsendable,
            }
        }
        let header_len = context.features.header_len();
        if let Some(shortage) = self.gather(ring, context, header_len + frame.len()) {
            return shortage;
        }
        let count = u16::try_from(self.buffers.len()).expect("a ring has fewer buffers");
        head[BUFFER_COUNT].copy_from_slice(&count.to_le_bytes());
        copy(context.memory, &self.pieces, &head[..header_len], frame);
        let mut left = header_len + frame.len();
        for (head, octets) in self.buffers.drain(..) {
            let used = left.min(octets);
            ring.give_back(head, u32::try_from(used).expect("a frame is shorter"));
            left -= used;
        }
        ring.take(count);
        context.counts.unfinished_to_guest += u64::from(header.is_some());
        Given::Whole
    }

    /// Gathers buffers for `wanted` octets. Says what it means that there are none; they stay on the ring then.
    #[inline]
    fn gather(&mut self, ring: &mut Ring, context: &mut Context<'_>, wanted: usize) -> Option<Given> {
        let is_mergeable = context.features.has(bit::MRG_RXBUF);
        let header_len = context.features.header_len();
        self.start_over();
        let (mut room, mut nth) = (0, 0);
        while room < wanted {
            // One buffer has to do, or at most as many as the ring can have: then none will come that helps.
            if nth == ring.size() || (nth > 0 && !is_mergeable) {
                return Some(Given::Unsendable);
            }
            if nth == ring.waiting() {
                return Some(Given::NoRoom);
            }
            let head = ring.head(nth);
            let followed = chain::follow(ring, context.memory, head, Direction::ToGuest, &mut self.pieces);
            // The header is in the first buffer of a frame, whole (VIRTIO 1.2 §5.1.6.4); any may be the first.
            match followed {
                Ok(octets) if octets >= header_len => {
                    self.buffers.push((head, octets));
                    (room, nth) = (room + octets, nth + 1);
                }
                bad => {
                    let error = bad.map_or_else(|error| error, BadChain::TooShort);
                    self.refuse(ring, context, error, head);
                    (room, nth) = (0, 0);
                }
            }
        }
        None
    }

    /// Gives a bad chain back, and those before it, which cannot be overtaken. Begins to gather anew.
    #[cold]
    fn refuse(&mut self, ring: &mut Ring, context: &mut Context<'_>, error: BadChain, head: u16) {
        tracing::debug!("the guest receives into a bad chain of descriptors: {error}");
        context.counts.bad_chains += 1;
        context.refusals.push(Refusal { reason: DropReason::BadDescriptor, len: 0 });
        for (head, _) in &self.buffers {
            ring.give_back(*head, 0);
        }
        ring.give_back(head, 0);
        ring.take(u16::try_from(self.buffers.len() + 1).expect("a ring has fewer buffers"));
        self.start_over();
    }

    fn start_over(&mut self) {
        self.pieces.clear();
        self.buffers.clear();
    }
}

/// Copies a header and the frame behind it into the pieces, which have room for both.
#[inline]
fn copy(memory: &GuestMemory, pieces: &[Piece], header: &[u8], frame: &[u8]) {
    let mut pieces = pieces.iter();
    let (mut piece, mut skip) = (None, 0);
    for mut from in [header, frame] {
        while !from.is_empty() {
            let current = match piece {
                Some(current) => current,
                None => {
                    skip = 0;
                    *piece.insert(*pieces.next().expect("the pieces have room for all"))
                }
            };
            let (part, rest) = from.split_at((current.len() - skip).min(from.len()));
            memory.write(current, skip, part);
            skip += part.len();
            if skip == current.len() {
                piece = None;
            }
            from = rest;
        }
    }
}
