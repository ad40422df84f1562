//! Batches and the pooled buffers that they live in.
//!
//! A buffer is a fixed block of bytes: a batch header, then records. It is taken from a [`Pool`], filled by
//! one rank, read by another and goes back to a pool, so a warm path allocates nothing. What the records mean
//! is in [`crate::records`]; when a batch may travel is in [`crate::outbox`].

use mvpnet_switch::Rank;

use crate::records::{
    FLOOD_ROOT_LEN, MAX_FRAME_LEN, RECORD_HEADER_LEN, RecordKind, Records, records, write_record,
};

/// Bytes of the batch header, in front of the first record; [`crate::header`] says what is in it.
pub(crate) const BATCH_HEADER_LEN: usize = 24;

/// A batch is closed before its records would exceed this many bytes; only a single longer record does.
pub const BATCH_LEN: usize = 64 * 1024;

/// Record bytes that every large buffer has room for: one record of the longest frame.
pub(crate) const LARGE_ROOM: usize = RECORD_HEADER_LEN + FLOOD_ROOT_LEN + MAX_FRAME_LEN;

/// Record bytes of a small buffer, which spares memory where many short messages wait.
pub(crate) const SMALL_ROOM: usize = 2048;

const _: () = assert!(LARGE_ROOM >= BATCH_LEN);

/// The two streams between a pair of ranks. Each keeps its order and has its own bound, so that neither can
/// starve the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Unicast and flood records.
    Data,
    /// Control records.
    Control,
}

impl Lane {
    /// The lane that a kind of record travels on.
    pub const fn of(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Unicast | RecordKind::Flood => Lane::Data,
            RecordKind::Control => Lane::Control,
        }
    }
}

/// Records from one rank, in a buffer that belongs to a transport: hand it back with
/// [`crate::Transport::recycle`], which also tells the sender that there is room again.
#[derive(Debug)]
pub struct Batch {
    pub(crate) from: Rank,
    pub(crate) lane: Lane,
    pub(crate) buffer: Buffer,
}

impl Batch {
    /// The rank that sent the batch, which is the origin of its unicast records.
    pub fn from(&self) -> Rank {
        self.from
    }

    /// Which of the two streams the batch came on.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The records, without the batch header.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.records()
    }

    /// The records, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.records_mut()
    }

    /// Reads the records.
    pub fn records(&self) -> Records<'_> {
        records(self.bytes())
    }
}

/// A block of bytes with a batch header and room for records.
pub(crate) struct Buffer {
    /// Always wholly initialised, so that safe code may hand any part of it to a receive.
    block: Box<[u8]>,
    /// Bytes in use, batch header included.
    len: usize,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("capacity", &self.block.len()).finish()
    }
}

#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only MPI carries batches as messages"))]
impl Buffer {
    fn new(room: usize) -> Self {
        Buffer { block: vec![0; BATCH_HEADER_LEN + room].into_boxed_slice(), len: BATCH_HEADER_LEN }
    }

    /// A buffer for a message that no batch is, to receive and drop it.
    pub fn of_any_size(message_len: usize) -> Self {
        Buffer::new(message_len.saturating_sub(BATCH_HEADER_LEN))
    }

    /// Whether the buffer is of a size that batches have.
    pub fn is_batch(&self) -> bool {
        self.room() <= LARGE_ROOM
    }

    /// Record bytes that the buffer can hold in all.
    fn room(&self) -> usize {
        self.block.len() - BATCH_HEADER_LEN
    }

    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn is_empty(&self) -> bool {
        self.len == BATCH_HEADER_LEN
    }

    pub fn records(&self) -> &[u8] {
        &self.block[BATCH_HEADER_LEN..self.len]
    }

    pub fn records_mut(&mut self) -> &mut [u8] {
        &mut self.block[BATCH_HEADER_LEN..self.len]
    }

    /// Batch header and records: what travels.
    pub fn message(&self) -> &[u8] {
        &self.block[..self.len]
    }

    /// The first `len` bytes, header included, to receive into; `None` where the block is smaller or `len`
    /// has no header.
    pub fn message_mut(&mut self, len: usize) -> Option<&mut [u8]> {
        let message = self.block.get_mut(..len).filter(|_| len >= BATCH_HEADER_LEN)?;
        self.len = len;
        Some(message)
    }

    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn header(&self) -> &[u8; BATCH_HEADER_LEN] {
        self.block.first_chunk().expect("every block has room for a header")
    }

    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn header_mut(&mut self) -> &mut [u8; BATCH_HEADER_LEN] {
        self.block.first_chunk_mut().expect("every block has room for a header")
    }

    /// Whether `more` record bytes may join what is there: up to `batch_len`, or any one record in an empty
    /// buffer.
    pub fn takes(&self, more: usize, batch_len: usize) -> bool {
        let used = self.len - BATCH_HEADER_LEN;
        used + more <= self.room() && (used == 0 || used + more <= batch_len)
    }

    /// Bytes of header and records.
    pub fn message_len(&self) -> usize {
        self.len
    }

    /// Appends records as they are. The caller has asked [`Buffer::takes`].
    pub fn push_run(&mut self, run: &[u8]) {
        self.block[self.len..self.len + run.len()].copy_from_slice(run);
        self.len += run.len();
    }

    /// Appends one record. The caller has asked [`Buffer::takes`].
    pub fn push_record(&mut self, kind: RecordKind, root: u32, payload: &[u8]) {
        let written = write_record(&mut self.block[self.len..], kind, root, payload);
        self.len += written.expect("the caller made sure that the record fits");
    }
}

/// Spent buffers kept for the next batch, up to a bound; what is more than that is freed.
#[derive(Debug)]
pub(crate) struct Pool {
    large: Vec<Buffer>,
    small: Vec<Buffer>,
    keep: usize,
    made: u64,
}

impl Pool {
    /// A pool that keeps at most `keep` unused buffers of each size.
    pub fn new(keep: usize) -> Self {
        Pool { large: Vec::with_capacity(keep), small: Vec::with_capacity(keep), keep, made: 0 }
    }

    /// An empty buffer for any batch.
    pub fn take(&mut self) -> Buffer {
        self.large.pop().unwrap_or_else(|| {
            self.made += 1;
            Buffer::new(LARGE_ROOM)
        })
    }

    /// An empty buffer for a short batch, or none at all but the header.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn take_small(&mut self) -> Buffer {
        self.small.pop().unwrap_or_else(|| {
            self.made += 1;
            Buffer::new(SMALL_ROOM)
        })
    }

    /// An empty buffer for a message of `len` bytes, header included; `None` where that is more than any
    /// batch has.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn take_for(&mut self, len: usize) -> Option<Buffer> {
        if len <= BATCH_HEADER_LEN + SMALL_ROOM {
            return Some(self.take_small());
        }
        (len <= BATCH_HEADER_LEN + LARGE_ROOM).then(|| self.take())
    }

    pub fn put(&mut self, mut buffer: Buffer) {
        let shelf = match buffer.room() {
            SMALL_ROOM => &mut self.small,
            LARGE_ROOM => &mut self.large,
            _ => return,
        };
        if shelf.len() < self.keep {
            buffer.len = BATCH_HEADER_LEN;
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
