//! From the guest: frames of its transmit ring, copied once, to records.

use mvpnet_switch::{DropReason, OFFLOAD_LEN, Offload};

use super::chain::{self, BadChain, Direction};
use super::features::{Negotiated, is_unfinished};
use super::memory::{GuestMemory, Piece};
use super::records;
use super::refusals::Refusals;
use super::ring::{BadIndex, Ring};
use super::stats::Counts;
use crate::links::MAX_GUEST_FRAME_LEN;
use crate::links::Refusal;

/// What taking frames needs beside the ring.
pub(super) struct Context<'a> {
    pub(super) memory: &'a mut GuestMemory,
    pub(super) features: Negotiated,
    pub(super) refusals: &'a mut Refusals,
    pub(super) counts: &'a mut Counts,
}

/// What became of a chain.
enum Taken {
    /// A record of this many octets.
    Record(usize),
    /// No frame, or none that can be passed on.
    Refused(Refusal),
    /// There is no room for it now.
    NoRoom,
}

/// The pieces of the chain that is looked at. Kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Transmit {
    pieces: Vec<Piece>,
}

impl Transmit {
    /// Takes frames of the ring into `space` while there is room. Returns the octets of the records. The caller
    /// publishes.
    pub(super) fn take(
        &mut self,
        ring: &mut Ring,
        context: &mut Context<'_>,
        space: &mut [u8],
    ) -> Result<usize, BadIndex> {
        // Looked at once: a guest that is faster than we are does not keep us here.
        ring.look()?;
        let mut filled = 0;
        while ring.waiting() > 0 && context.refusals.have_room() {
            let head = ring.head(0);
            match self.take_one(ring, head, context, &mut space[filled..]) {
                Taken::Record(octets) => filled += octets,
                Taken::Refused(refusal) => context.refusals.push(refusal),
                Taken::NoRoom => break,
            }
            ring.take(1);
            ring.give_back(head, 0);
        }
        Ok(filled)
    }

    #[inline]
    fn take_one(&mut self, ring: &Ring, head: u16, context: &mut Context<'_>, space: &mut [u8]) -> Taken {
        let Context { memory, features, counts, .. } = context;
        let header_len = features.header_len();
        self.pieces.clear();
        let followed = chain::follow(ring, memory, head, Direction::FromGuest, &mut self.pieces);
        let octets = match followed {
            Ok(octets) if octets >= header_len => octets,
            Ok(octets) => return refuse_chain(BadChain::TooShort(octets), counts),
            Err(error) => return refuse_chain(error, counts),
        };
        let len = octets - header_len;
        if len == 0 || len > MAX_GUEST_FRAME_LEN {
            return Taken::Refused(Refusal { reason: DropReason::BadLength, len });
        }
        let mut header = [0; OFFLOAD_LEN];
        copy(memory, &self.pieces, 0, &mut header[..header_len]);
        let unfinished = is_unfinished(&header);
        let prefix_len = records::prefix_len(unfinished);
        let Some(record) = space.get_mut(..prefix_len + len) else { return Taken::NoRoom };
        copy(memory, &self.pieces, header_len, &mut record[prefix_len..]);
        if !unfinished {
            records::write_prefix(record, None);
            return Taken::Record(record.len());
        }
        // Read of our copy, which the guest cannot change any more.
        match Offload::read(&header, &record[prefix_len..]) {
            Ok(Some(offload)) if features.may_send(&offload) => {
                records::write_prefix(record, Some(&offload.header()));
                counts.unfinished_from_guest += 1;
                Taken::Record(record.len())
            }
            _ => Taken::Refused(Refusal { reason: DropReason::BadOffload, len }),
        }
    }
}

/// Gives back what the guest sends while nothing is to come of it. Returns the number of frames.
pub(super) fn discard(ring: &mut Ring) -> Result<u64, BadIndex> {
    let count = ring.look()?;
    for _ in 0..count {
        let head = ring.head(0);
        ring.take(1);
        ring.give_back(head, 0);
    }
    Ok(u64::from(count))
}

#[cold]
fn refuse_chain(error: BadChain, counts: &mut Counts) -> Taken {
    tracing::debug!("the guest sent from a bad chain of descriptors: {error}");
    counts.bad_chains += 1;
    Taken::Refused(Refusal { reason: DropReason::BadDescriptor, len: 0 })
}

/// Copies from the pieces, beginning `skip` octets into them, until `into` is full.
#[inline]
fn copy(memory: &GuestMemory, pieces: &[Piece], mut skip: usize, mut into: &mut [u8]) {
    for piece in pieces {
        if skip >= piece.len() {
            skip -= piece.len();
            continue;
        }
        let (part, rest) = into.split_at_mut((piece.len() - skip).min(into.len()));
        memory.read(*piece, skip, part);
        (into, skip) = (rest, 0);
        if into.is_empty() {
            break;
        }
    }
}
