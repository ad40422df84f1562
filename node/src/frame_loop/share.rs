//! The guest's share of a batch: which of its records go to the guest, and how they are framed on the link.

use std::ops::Range;

use mvpnet_qemu_driver::links::PREFIX_LEN;
use mvpnet_switch::{OFFLOAD_LEN, Tally};
use mvpnet_transports::{Record, RecordKind};

/// The guest's share of a batch: runs of records, ready to be written as they stand.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) runs: Vec<Range<usize>>,
    /// Frames in front of which the prefix must be written: a flood's root stands there.
    pub(super) unprefixed: Vec<Range<usize>>,
    /// The frames, as the books have them.
    pub(super) tally: Tally,
    pub(super) octets: usize,
    /// Whether the guest's frames are copied one by one, for the sake of one that its link does not take as it is.
    pub(super) is_copied: bool,
    /// Whether the books know nothing of its frames: second copies, made by a link.
    pub(super) is_extra: bool,
}

impl Share {
    /// Adds a record's frame; records must be added in the order in which they stand in the batch.
    pub(super) fn add(&mut self, record: &Record) {
        self.add_unicast(record.frame.clone());
        if record.kind == RecordKind::Flood {
            self.unprefixed.push(record.frame.clone());
        }
    }

    /// The same for the frame of a unicast record.
    #[inline]
    pub(super) fn add_unicast(&mut self, frame: Range<usize>) {
        self.add_octets(frame.start - PREFIX_LEN..frame.end, frame.len());
    }

    /// The same for a whole record with a virtio-net header.
    pub(super) fn add_unfinished(&mut self, record: Range<usize>) {
        let frame_len = record.len() - PREFIX_LEN - OFFLOAD_LEN;
        self.add_octets(record, frame_len);
    }

    #[inline]
    fn add_octets(&mut self, octets: Range<usize>, frame_len: usize) {
        self.tally += frame_len;
        self.octets += octets.len();
        match self.runs.last_mut() {
            Some(last) if last.end == octets.start => last.end = octets.end,
            _ => self.runs.push(octets),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tally.frames == 0
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.unprefixed.clear();
        self.tally = Tally::default();
        self.octets = 0;
        self.is_copied = false;
        self.is_extra = false;
    }
}

/// Puts a frame with its prefix behind what is there; returns how many octets that were.
pub(super) fn append(bytes: &mut Vec<u8>, frame: &[u8]) -> usize {
    let length = u32::try_from(frame.len()).expect("a frame's length has 24 bits");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    PREFIX_LEN + frame.len()
}

/// Writes the prefix of the frame of this length that begins at `at`.
pub(super) fn write_prefix(bytes: &mut [u8], at: usize, frame_len: usize) {
    let length = u32::try_from(frame_len).expect("a record's length has 24 bits");
    bytes[at - PREFIX_LEN..at].copy_from_slice(&length.to_be_bytes());
}
