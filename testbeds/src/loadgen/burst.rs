//! Many frames in one buffer, built once, restamped for every round, sent with as few system calls as can be.

use super::frame::{self, Kind, Message, segmented};

/// The most datagrams that one system call carries.
pub const DATAGRAMS: usize = 64;

/// What a burst has at most: one write on a stream.
const BYTES: usize = 64 << 10;

/// A buffer of frames of one size to one destination, each behind its 4-byte length.
#[derive(Debug)]
pub struct Burst {
    bytes: Vec<u8>,
    size: usize,
    /// Frames in use, from the start of the buffer.
    frames: usize,
    /// Bytes of the buffer that have gone.
    at: usize,
    /// What stands in front of packets that are still to be cut.
    header: Option<[u8; segmented::OFFLOAD_LEN]>,
}

impl Burst {
    /// Nothing to send yet; for up to `most` frames of `size` bytes, but no more than 64 KiB unless one is longer.
    pub fn new(most: usize, size: usize, to: [u8; 6], origin: u32) -> Burst {
        let write = |frame: &mut [u8], message| frame::write(frame, to, frame::rank_mac(origin), message);
        Burst::of(most, size, origin, write)
    }

    /// The same of packets that the receiver is to cut into segments of so many bytes.
    pub fn segmented(most: usize, size: usize, to: u32, origin: u32, segment: u16) -> Burst {
        let write = |packet: &mut [u8], message| segmented::write(packet, to, origin, message);
        Burst { header: Some(segmented::header(segment)), ..Burst::of(most, size, origin, write) }
    }

    fn of(most: usize, size: usize, origin: u32, write: impl Fn(&mut [u8], Message)) -> Burst {
        let slot = size + 4;
        let frames = most.min(BYTES / slot).max(1);
        let mut bytes = vec![0; frames * slot];
        for chunk in bytes.chunks_exact_mut(slot) {
            chunk[..4].copy_from_slice(&(size as u32).to_be_bytes());
            write(&mut chunk[4..], Message { kind: Kind::Data, origin, seq: 0, stamp: 0 });
        }
        Burst { bytes, size, frames: 0, at: 0, header: None }
    }

    /// What stands in front of each frame on a link that has a place for it.
    pub fn header(&self) -> Option<&[u8; segmented::OFFLOAD_LEN]> {
        self.header.as_ref()
    }

    /// The most frames that one burst has.
    pub fn capacity(&self) -> usize {
        self.bytes.len() / self.slot()
    }

    /// Makes a burst of the next `frames` numbers, from `seq` on.
    pub fn load(&mut self, frames: usize, origin: u32, seq: u64) {
        debug_assert!(self.gone() && frames <= self.capacity());
        let slot = self.slot();
        for (number, chunk) in self.bytes.chunks_exact_mut(slot).take(frames).enumerate() {
            let message = Message { kind: Kind::Data, origin, seq: seq + number as u64, stamp: 0 };
            frame::restamp(&mut chunk[4..], message);
        }
        self.frames = frames;
        self.at = 0;
    }

    /// Whether all of it has gone.
    #[inline]
    pub fn gone(&self) -> bool {
        self.at == self.end()
    }

    /// What a stream has still to take.
    pub fn stream_rest(&self) -> &[u8] {
        &self.bytes[self.at..self.end()]
    }

    /// A stream took so many bytes.
    pub fn stream_sent(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The frames that have still to go as datagrams.
    pub fn datagrams_rest(&self) -> impl Iterator<Item = &[u8]> {
        self.stream_rest().chunks_exact(self.slot()).map(|chunk| &chunk[4..])
    }

    /// So many datagrams went.
    pub fn datagrams_sent(&mut self, frames: usize) {
        self.at += frames * self.slot();
    }

    fn slot(&self) -> usize {
        self.size + 4
    }

    fn end(&self) -> usize {
        self.frames * self.slot()
    }
}
