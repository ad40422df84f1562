//! Spent buffers, kept for the next batch.

use std::sync::Arc;

use crate::batch::{BATCH_HEADER_LEN, Buffer, LARGE_ROOM, SMALL_ROOM};
use crate::shm::{Block, Segment};

/// Spent buffers kept for the next batch, up to a bound; what is more than that is freed. The blocks of this rank's
/// segment, if it has one, are taken first, the one that was used last before others: it is still in the cache.
#[derive(Debug)]
pub(crate) struct Pool {
    blocks: Option<Blocks>,
    large: Vec<Buffer>,
    small: Vec<Buffer>,
    keep: usize,
    made: u64,
}

#[derive(Debug)]
struct Blocks {
    segment: Arc<Segment>,
    free: Vec<Buffer>,
    /// The first that was never used, and so is not backed by memory yet.
    unused: u32,
}

impl Pool {
    /// A pool that keeps at most `keep` unused buffers of each size.
    pub fn new(keep: usize) -> Self {
        Pool { blocks: None, large: Vec::with_capacity(keep), small: Vec::with_capacity(keep), keep, made: 0 }
    }

    /// One that has the blocks of a segment besides.
    pub fn with_blocks(keep: usize, segment: Arc<Segment>) -> Self {
        let free = Vec::with_capacity(segment.blocks());
        Pool { blocks: Some(Blocks { segment, free, unused: 0 }), ..Pool::new(keep) }
    }

    /// An empty buffer for any batch.
    pub fn take(&mut self) -> Buffer {
        self.take_shared().unwrap_or_else(|| self.take_own())
    }

    /// The same in shared memory; `None` where there is no block left.
    pub fn take_shared(&mut self) -> Option<Buffer> {
        let Blocks { segment, free, unused } = self.blocks.as_mut()?;
        if let Some(block) = free.pop() {
            return Some(block);
        }
        let block = Block::of(segment, *unused)?;
        *unused += 1;
        self.made += 1;
        Some(Buffer::shared(block))
    }

    /// The same in this process's own memory, for what comes in.
    pub fn take_own(&mut self) -> Buffer {
        self.large.pop().unwrap_or_else(|| {
            self.made += 1;
            Buffer::new(LARGE_ROOM)
        })
    }

    /// Blocks that nothing is in.
    pub fn free_blocks(&self) -> usize {
        let free =
            |Blocks { segment, free, unused }: &Blocks| free.len() + segment.blocks() - *unused as usize;
        self.blocks.as_ref().map_or(0, free)
    }

    /// An empty buffer for a short batch, or none at all but the header.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn take_small(&mut self) -> Buffer {
        self.small.pop().unwrap_or_else(|| {
            self.made += 1;
            Buffer::new(SMALL_ROOM)
        })
    }

    /// An empty buffer to receive a message of `len` bytes, header included; `None` where that is more than any
    /// batch has.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn take_for(&mut self, len: usize) -> Option<Buffer> {
        if len <= BATCH_HEADER_LEN + SMALL_ROOM {
            return Some(self.take_small());
        }
        (len <= BATCH_HEADER_LEN + LARGE_ROOM).then(|| self.take_own())
    }

    pub fn put(&mut self, mut buffer: Buffer) {
        buffer.empty();
        if let Some(block) = buffer.block() {
            // A neighbour's block goes back to the neighbour, not here.
            if let Some(blocks) = self.blocks.as_mut().filter(|blocks| block.is_of(&blocks.segment)) {
                blocks.free.push(buffer);
            }
            return;
        }
        let shelf = match buffer.room() {
            SMALL_ROOM => &mut self.small,
            LARGE_ROOM => &mut self.large,
            _ => return,
        };
        if shelf.len() < self.keep {
            shelf.push(buffer);
        }
    }

    /// Buffers allocated so far: stands still once the path is warm.
    pub fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BATCH_LEN;
    use crate::records::RecordKind;

    #[test]
    fn a_warm_pool_makes_no_new_buffers() {
        let mut pool = Pool::new(2);
        for _ in 0..100 {
            let (one, two) = (pool.take(), pool.take());
            pool.put(one);
            pool.put(two);
        }
        assert_eq!(pool.made(), 2);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_bound() {
        let mut pool = Pool::new(2);
        let taken: Vec<_> = (0..5).map(|_| pool.take()).collect();
        taken.into_iter().for_each(|buffer| pool.put(buffer));
        assert_eq!(pool.large.len(), 2);
    }

    #[test]
    fn a_used_buffer_comes_back_empty() {
        let mut pool = Pool::new(1);
        let mut buffer = pool.take();
        buffer.push_record(RecordKind::Flood, 7, b"frame");
        assert_eq!(buffer.records().len(), 13);
        pool.put(buffer);
        assert!(pool.take().is_empty());
    }

    #[test]
    fn only_a_single_record_exceeds_the_length_of_a_batch() {
        let mut buffer = Pool::new(0).take();
        assert!(buffer.takes(LARGE_ROOM, BATCH_LEN) && !buffer.takes(LARGE_ROOM + 1, BATCH_LEN));
        buffer.push_run(&[0; 100]);
        assert!(buffer.takes(BATCH_LEN - 100, BATCH_LEN) && !buffer.takes(BATCH_LEN - 99, BATCH_LEN));
    }

    #[test]
    fn a_message_longer_than_any_batch_gets_no_buffer() {
        let mut pool = Pool::new(1);
        assert!(pool.take_for(BATCH_HEADER_LEN + LARGE_ROOM).is_some());
        assert!(pool.take_for(BATCH_HEADER_LEN + LARGE_ROOM + 1).is_none());
        let mut small = pool.take_for(30).expect("30 bytes fit a batch");
        assert!(small.message_mut(30).is_some() && small.message_mut(23).is_none());
        assert!(small.message_mut(BATCH_HEADER_LEN + SMALL_ROOM + 1).is_none());
    }
}
