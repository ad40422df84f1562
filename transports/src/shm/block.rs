//! A block of a segment, as the one who may use it holds it.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use super::segment::{BLOCK_LEN, Segment};

/// The bytes of one block, this rank's own or one that a neighbour has handed over.
pub(crate) struct Block {
    start: NonNull<u8>,
    index: u32,
    /// Keeps the memory mapped.
    segment: Arc<Segment>,
}

// SAFETY: a block is memory of a mapping that `segment`, which is Send and Sync, keeps alive; nothing about it belongs to
// a thread.
unsafe impl Send for Block {}

impl Block {
    /// Block `index` of a segment; `None` where it has none of that number.
    ///
    /// The caller sees to it that there is one [`Block`] at most that is used for each number, here and at the neighbour:
    /// its own comes from a list of the free ones, a neighbour's is handed over and given back.
    pub fn of(segment: &Arc<Segment>, index: u32) -> Option<Block> {
        let start = segment.block(index)?;
        Some(Block { start, index, segment: segment.clone() })
    }

    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether it is one of this segment's.
    pub fn is_of(&self, segment: &Arc<Segment>) -> bool {
        Arc::ptr_eq(&self.segment, segment)
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is the beginning of BLOCK_LEN mapped bytes that live as long as `self`. Nobody writes to them
        // meanwhile: the block is used by its holder alone (see `of`), and this borrow is the holder's.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), BLOCK_LEN) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), BLOCK_LEN) }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("index", &self.index).finish_non_exhaustive()
    }
}
