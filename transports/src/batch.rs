//! Batches and the pooled buffers that they live in.
//!
//! A buffer is a fixed block of bytes: a batch header, then records. It is taken from a [pool](crate::pool), filled by
//! one rank, read by another and goes back to a pool, so a warm path allocates nothing. What the records mean
//! is in [`crate::records`]; when a batch may travel is in [`crate::outbox`].

use std::fmt;

use mvpnet_switch::{OFFLOAD_LEN, Rank};

use crate::records::{
    FLOOD_ROOT_LEN, MAX_FRAME_LEN, RECORD_HEADER_LEN, RecordKind, Records, records, write_record,
};
use crate::shm::Block;

/// Bytes of the batch header, in front of the first record; [`crate::header`] says what is in it.
pub(crate) const BATCH_HEADER_LEN: usize = 24;

/// A batch is closed before its records would exceed this many bytes; only a single longer record does.
pub const BATCH_LEN: usize = 64 * 1024;

/// Record bytes that every large buffer has room for: one record of the longest frame, unfinished.
pub(crate) const LARGE_ROOM: usize = RECORD_HEADER_LEN + OFFLOAD_LEN + MAX_FRAME_LEN;

/// Record bytes of a small buffer, which spares memory where many short messages wait.
pub(crate) const SMALL_ROOM: usize = 2048;

const _: () = assert!(LARGE_ROOM >= BATCH_LEN && OFFLOAD_LEN >= FLOOD_ROOT_LEN);

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
    #[inline]
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

/// A buffer to read frames into, which can go to a peer as it is: [`Transport::send_draft`](crate::Transport::send_draft).
#[derive(Debug)]
pub struct Draft {
    pub(crate) buffer: Buffer,
}

impl Draft {
    /// A draft in this process's own memory.
    pub(crate) fn new() -> Self {
        Draft { buffer: Buffer::new(LARGE_ROOM) }
    }

    /// The bytes of the draft: room for [`BATCH_LEN`] bytes of records, and for any one record.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.space()
    }

    /// The same, to be written to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.space_mut()
    }
}

/// Memory with a batch header and room for records.
pub(crate) struct Buffer {
    memory: Memory,
    /// Bytes in use, batch header included.
    len: usize,
}

/// Whose memory it is. Always wholly initialised, so that safe code may hand any part of it to a receive.
enum Memory {
    /// This process's.
    Own(Box<[u8]>),
    /// A block of a segment, which neighbours see too.
    Shared(Block),
}

impl Memory {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Own(bytes) => bytes,
            Memory::Shared(block) => block.bytes(),
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Own(bytes) => bytes,
            Memory::Shared(block) => block.bytes_mut(),
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("room", &self.room()).finish()
    }
}

#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only MPI carries batches as messages"))]
impl Buffer {
    pub fn new(room: usize) -> Self {
        let bytes = vec![0; BATCH_HEADER_LEN + room].into_boxed_slice();
        Buffer { memory: Memory::Own(bytes), len: BATCH_HEADER_LEN }
    }

    /// An empty buffer in shared memory.
    pub fn shared(block: Block) -> Self {
        Buffer { memory: Memory::Shared(block), len: BATCH_HEADER_LEN }
    }

    /// The block that the buffer is, where it is in shared memory.
    pub fn block(&self) -> Option<&Block> {
        match &self.memory {
            Memory::Own(_) => None,
            Memory::Shared(block) => Some(block),
        }
    }

    /// A buffer for a message that no batch is, to receive and drop it.
    pub fn of_any_size(message_len: usize) -> Self {
        Buffer::new(message_len.saturating_sub(BATCH_HEADER_LEN))
    }

    /// Forgets what is in it.
    pub fn empty(&mut self) {
        self.len = BATCH_HEADER_LEN;
    }

    /// Whether the buffer is of a size that batches have.
    pub fn is_batch(&self) -> bool {
        self.room() <= LARGE_ROOM
    }

    /// Record bytes that the buffer can hold in all.
    pub fn room(&self) -> usize {
        match &self.memory {
            Memory::Own(bytes) => bytes.len() - BATCH_HEADER_LEN,
            Memory::Shared(_) => LARGE_ROOM,
        }
    }

    /// All the bytes that records may take, whether there are any or not.
    pub fn space(&self) -> &[u8] {
        &self.memory.bytes()[BATCH_HEADER_LEN..BATCH_HEADER_LEN + self.room()]
    }

    /// The same, to be written to.
    pub fn space_mut(&mut self) -> &mut [u8] {
        let room = self.room();
        &mut self.memory.bytes_mut()[BATCH_HEADER_LEN..BATCH_HEADER_LEN + room]
    }

    /// Says that the first `len` bytes of the space are records.
    ///
    /// # Panics
    /// The space is shorter.
    pub fn fill(&mut self, len: usize) {
        assert!(len <= self.room(), "{len} bytes of records exceed the room of {}", self.room());
        self.len = BATCH_HEADER_LEN + len;
    }

    pub fn is_empty(&self) -> bool {
        self.len == BATCH_HEADER_LEN
    }

    #[inline]
    pub fn records(&self) -> &[u8] {
        &self.memory.bytes()[BATCH_HEADER_LEN..self.len]
    }

    pub fn records_mut(&mut self) -> &mut [u8] {
        &mut self.memory.bytes_mut()[BATCH_HEADER_LEN..self.len]
    }

    /// Batch header and records: what travels.
    pub fn message(&self) -> &[u8] {
        &self.memory.bytes()[..self.len]
    }

    /// The first `len` bytes, header included, to receive into; `None` where the block is smaller or `len`
    /// has no header.
    pub fn message_mut(&mut self, len: usize) -> Option<&mut [u8]> {
        if len < BATCH_HEADER_LEN || len > BATCH_HEADER_LEN + self.room() {
            return None;
        }
        self.len = len;
        Some(&mut self.memory.bytes_mut()[..len])
    }

    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn header(&self) -> &[u8; BATCH_HEADER_LEN] {
        self.memory.bytes().first_chunk().expect("every block has room for a header")
    }

    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn header_mut(&mut self) -> &mut [u8; BATCH_HEADER_LEN] {
        self.memory.bytes_mut().first_chunk_mut().expect("every block has room for a header")
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
        self.memory.bytes_mut()[self.len..self.len + run.len()].copy_from_slice(run);
        self.len += run.len();
    }

    /// Appends one record. The caller has asked [`Buffer::takes`].
    pub fn push_record(&mut self, kind: RecordKind, root: u32, payload: &[u8]) {
        let written = write_record(&mut self.memory.bytes_mut()[self.len..], kind, root, payload);
        self.len += written.expect("the caller made sure that the record fits");
    }
}
