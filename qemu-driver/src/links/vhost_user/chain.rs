//! Descriptor chains (VIRTIO 1.2 §2.7.5): from the head of a chain to the pieces of memory that it is made of.
//!
//! A chain is what a guest says it is, so it may be anything. It is followed for as many steps as the ring has
//! descriptors, which is as long as a chain may be (VIRTIO 1.2 §2.7.5.3.1), and every descriptor is read once.

use super::memory::{GuestMemory, Piece};
use super::ring::{DESCRIPTOR_LEN, Descriptor, Ring};

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadChain {
    /// A head or a next descriptor that the ring does not have.
    #[error("descriptor {index} of {count}")]
    Index {
        /// The descriptor's number.
        index: u16,
        /// How many there are.
        count: u16,
    },
    /// More descriptors than the ring has, or a loop.
    #[error("a chain of more than {0} descriptors")]
    TooMany(u16),
    /// Not inside one region of the guest's memory.
    #[error("{len} octets at {address:#x}")]
    Address {
        /// The address in the guest.
        address: u64,
        /// Octets.
        len: u32,
    },
    /// To be written to where it is to be read from, or the other way round.
    #[error("a buffer of the other direction")]
    Direction,
    /// A table in a table, one without negotiating them, or one that goes on elsewhere.
    #[error("a table of descriptors out of place")]
    Table,
    /// No table has this length.
    #[error("a table of descriptors of {0} octets")]
    TableLen(u32),
    /// Without room for a header.
    #[error("a chain of {0} octets")]
    TooShort(usize),
}

/// Which way a chain's octets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The device reads.
    FromGuest,
    /// The device writes.
    ToGuest,
}

/// Where descriptors are read from.
enum Table {
    Ring,
    Indirect(Piece),
}

/// Adds the pieces of the chain at `head` to `pieces`. Returns their octets; of a bad chain nothing is added.
#[inline]
pub(super) fn follow(
    ring: &Ring,
    memory: &mut GuestMemory,
    head: u16,
    direction: Direction,
    pieces: &mut Vec<Piece>,
) -> Result<usize, BadChain> {
    let before = pieces.len();
    let followed = steps(ring, memory, head, direction, pieces);
    if followed.is_err() {
        pieces.truncate(before);
    }
    followed
}

#[inline]
fn steps(
    ring: &Ring,
    memory: &mut GuestMemory,
    head: u16,
    direction: Direction,
    pieces: &mut Vec<Piece>,
) -> Result<usize, BadChain> {
    let (mut table, mut count) = (Table::Ring, ring.size());
    let (mut index, mut octets) = (head, 0);
    // One more: the descriptor that refers to a table is no link of the chain.
    for _ in 0..=ring.size() {
        if index >= count {
            return Err(BadChain::Index { index, count });
        }
        let descriptor = match &table {
            Table::Ring => ring.descriptor(index),
            Table::Indirect(piece) => {
                let at = DESCRIPTOR_LEN * usize::from(index);
                Descriptor::from_halves(memory.read_u64(*piece, at), memory.read_u64(*piece, at + 8))
            }
        };
        if descriptor.has(Descriptor::INDIRECT) {
            // It may come behind others, and its own direction means nothing (VIRTIO 1.2 §2.7.5.3.2).
            if !ring.indirect() || matches!(table, Table::Indirect(_)) || descriptor.has(Descriptor::NEXT) {
                return Err(BadChain::Table);
            }
            let piece;
            (piece, count) = indirect(memory, descriptor)?;
            (table, index) = (Table::Indirect(piece), 0);
            continue;
        }
        if descriptor.has(Descriptor::WRITE) != (direction == Direction::ToGuest) {
            return Err(BadChain::Direction);
        }
        let Descriptor { address, len, .. } = descriptor;
        if len > 0 {
            let piece = memory.piece(address, len).ok_or(BadChain::Address { address, len })?;
            pieces.push(piece);
            octets += piece.len();
        }
        if !descriptor.has(Descriptor::NEXT) {
            return Ok(octets);
        }
        index = descriptor.next;
    }
    Err(BadChain::TooMany(ring.size()))
}

/// The table that a descriptor refers to, and the number of descriptors in it.
fn indirect(memory: &mut GuestMemory, descriptor: Descriptor) -> Result<(Piece, u16), BadChain> {
    let Descriptor { address, len, .. } = descriptor;
    let bad = BadChain::TableLen(len);
    if len == 0 || !(len as usize).is_multiple_of(DESCRIPTOR_LEN) {
        return Err(bad);
    }
    // It may have more entries than a chain may have links.
    let count = u16::try_from(len as usize / DESCRIPTOR_LEN).map_err(|_| bad)?;
    let piece = memory.piece(address, len).ok_or(BadChain::Address { address, len })?;
    Ok((piece, count))
}

#[cfg(test)]
mod tests;
