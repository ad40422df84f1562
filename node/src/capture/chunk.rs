//! A piece of memory full of frames on their way from the frame loop to the disk. It never grows.

use mvpnet_switch::DropReason;

use super::{Direction, Port};

/// Room for what is known of each frame is made for frames of this many bytes and more.
const SMALLEST_FRAME: usize = 64;

/// What is known of a frame in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) time_ns: u64,
    /// Frames of the same port that were lost to the capture since the one before.
    pub(super) missed: u64,
    pub(super) original_len: u32,
    pub(super) port: Port,
    pub(super) direction: Direction,
    pub(super) dropped: Option<DropReason>,
}

/// Frames, back to back, and what is known of each.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<(Entry, u32)>,
}

impl Chunk {
    /// An empty chunk for `len` bytes of frames.
    pub(super) fn new(len: usize) -> Self {
        Self { bytes: Vec::with_capacity(len), entries: Vec::with_capacity(len.div_ceil(SMALLEST_FRAME)) }
    }

    /// Whether a frame of `len` bytes still has room.
    #[inline]
    pub(super) fn fits(&self, len: usize) -> bool {
        len <= self.bytes.capacity() - self.bytes.len() && self.entries.len() < self.entries.capacity()
    }

    /// Adds a frame that [fits](Self::fits).
    #[inline]
    pub(super) fn push(&mut self, entry: Entry, frame: &[u8]) {
        debug_assert!(self.fits(frame.len()), "a chunk never grows");
        self.bytes.extend_from_slice(frame);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.entries.push((entry, end));
    }

    /// The time of the first frame.
    #[inline]
    pub(super) fn first_time_ns(&self) -> Option<u64> {
        self.entries.first().map(|(entry, _)| entry.time_ns)
    }

    /// The time of the last frame.
    pub(super) fn last_time_ns(&self) -> Option<u64> {
        self.entries.last().map(|(entry, _)| entry.time_ns)
    }

    /// All frames, oldest first.
    pub(super) fn frames(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |(entry, end)| {
            let frame = &self.bytes[start..*end as usize];
            start = *end as usize;
            (entry, frame)
        })
    }

    /// Forgets all frames and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_entry(time_ns: u64) -> Entry {
        Entry {
            time_ns,
            missed: 0,
            original_len: 0,
            port: Port::Guest,
            direction: Direction::Inbound,
            dropped: None,
        }
    }

    #[test]
    fn gives_back_the_frames_that_were_put_in() {
        let mut chunk = Chunk::new(1000);
        chunk.push(an_entry(5), b"first");
        chunk.push(an_entry(6), b"");
        chunk.push(an_entry(7), b"third");

        let frames: Vec<_> = chunk.frames().map(|(entry, frame)| (entry.time_ns, frame)).collect();

        assert_eq!(frames, [(5, &b"first"[..]), (6, b""), (7, b"third")]);
        assert_eq!((chunk.first_time_ns(), chunk.last_time_ns()), (Some(5), Some(7)));
    }

    #[test]
    fn never_grows_whatever_the_size_of_frames() {
        for len in [0, 1, 60, 64, 1514] {
            let mut chunk = Chunk::new(64 << 10);
            let memory = (chunk.bytes.capacity(), chunk.entries.capacity());
            while chunk.fits(len) {
                chunk.push(an_entry(0), &vec![0; len]);
            }
            assert_eq!((chunk.bytes.capacity(), chunk.entries.capacity()), memory, "frames of {len} bytes");
        }
    }
}
