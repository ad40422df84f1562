//! What a link has filled a caller's space with: records back to back.

use std::ops::Range;

use super::{Item, PREFIX_LEN};

/// The bit of a record's kind that says that a virtio-net header is in front of the frame.
const UNFINISHED: u32 = 1 << 31;
/// The bits of its length.
const LENGTH: u32 = (1 << 24) - 1;

/// The records that are not taken yet.
#[derive(Debug, Default)]
pub struct Filled {
    octets: Range<usize>,
}

impl Filled {
    /// So many octets of the space are whole records.
    pub(super) fn set(&mut self, octets: usize) {
        self.octets = 0..octets;
    }

    pub(super) fn end(&self) -> usize {
        self.octets.end
    }

    #[inline]
    pub(super) fn next_item(&mut self, space: &[u8]) -> Option<Item> {
        if self.octets.is_empty() {
            return None;
        }
        let start = self.octets.start;
        let word = prefix(&space[start..]);
        self.octets.start += PREFIX_LEN + (word & LENGTH) as usize;
        let record = start..self.octets.start;
        Some(if word & UNFINISHED == 0 { Item::Record(record) } else { Item::Unfinished(record) })
    }
}

/// The word in front of a record.
#[inline]
pub(super) fn prefix(bytes: &[u8]) -> u32 {
    let head: [u8; PREFIX_LEN] = bytes[..PREFIX_LEN].try_into().expect("the slice has the prefix's length");
    u32::from_be_bytes(head)
}
