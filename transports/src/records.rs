//! The record codec: what stands between two frames in a batch.
//!
//! A record is a four-byte header, big-endian, kind in the top 8 bits and length in the low 24, and then
//! `length` bytes. Kind 0 is a unicast frame, so a run of unicast records is byte for byte what qemu's
//! `-netdev stream` reads and writes (qemu, `net/stream.c`: 32-bit big-endian length, then the frame), and
//! goes to or comes from a guest's socket as it is. In a unicast record with the flag 0x80 in its kind the frame
//! is unfinished: in front of it, inside the record, stands the header that says what its sender has left to
//! others (VIRTIO 1.2 §5.1.6; [`Offload::read`](mvpnet_switch::Offload::read)).
//!
//! This module neither allocates nor does I/O. Batches are in [`crate::batch`].

use std::ops::Range;

use mvpnet_switch::OFFLOAD_LEN;
use thiserror::Error;

/// Bytes of a record's header.
pub const RECORD_HEADER_LEN: usize = 4;

/// Bytes of the root rank in front of a flooded frame; the record's length covers them.
pub const FLOOD_ROOT_LEN: usize = 4;

/// The longest frame that any transport carries: qemu's own packet buffer (`NET_BUFSIZE`,
/// `include/net/net.h`).
pub const MAX_FRAME_LEN: usize = 4096 + 65536;

const KIND_UNICAST: u8 = 0;
const KIND_FLOOD: u8 = 1;
const KIND_CONTROL: u8 = 2;
/// A unicast record with a virtio-net header in front of its frame.
const KIND_UNFINISHED: u8 = KIND_UNICAST | 0x80;
const LENGTH_BITS: u32 = 24;
const LENGTH_MASK: u32 = (1 << LENGTH_BITS) - 1;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// One frame for the receiving rank's guest, finished or not; its origin is the sender of the batch.
    Unicast,
    /// One frame on its way down the tree of the root rank that stands in front of it.
    Flood,
    /// Bytes between ranks that no guest can send.
    Control,
}

impl RecordKind {
    const fn code(self) -> u8 {
        match self {
            RecordKind::Unicast => KIND_UNICAST,
            RecordKind::Flood => KIND_FLOOD,
            RecordKind::Control => KIND_CONTROL,
        }
    }

    /// Bytes that a record of this kind adds to its payload, which is a finished frame or a control record's.
    pub const fn overhead(self) -> usize {
        match self {
            RecordKind::Flood => RECORD_HEADER_LEN + FLOOD_ROOT_LEN,
            RecordKind::Unicast | RecordKind::Control => RECORD_HEADER_LEN,
        }
    }
}

/// A record found in a batch. The ranges are positions in the bytes that were given to [`records`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the record carries.
    pub kind: RecordKind,
    /// The root of a flood, not yet checked against the world; `None` for other kinds.
    pub root: Option<u32>,
    /// The record with its header: adjacent unicast records, all finished, make one run for a stream socket.
    pub whole: Range<usize>,
    /// The virtio-net header in front of an unfinished frame, not yet read; `None` where nothing was left to
    /// others. Always [`OFFLOAD_LEN`] bytes.
    pub offload: Option<Range<usize>>,
    /// The frame, or a control record's payload.
    pub frame: Range<usize>,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Fewer bytes are left than a header has. Nothing more can be read.
    #[error("{left} bytes after the last record, fewer than the {RECORD_HEADER_LEN} of a header")]
    HeaderCut {
        /// Bytes left in the batch.
        left: usize,
    },
    /// The record is longer than what is left of the batch. Nothing more can be read.
    #[error("record of {len} bytes where only {left} are left in the batch")]
    RecordCut {
        /// The length in the header.
        len: usize,
        /// Bytes left behind the header.
        left: usize,
    },
    /// A kind that this version does not know. The record is skipped.
    #[error("record of unknown kind {kind:#04x}")]
    UnknownKind {
        /// The kind in the header.
        kind: u8,
    },
    /// A flood record without room for its root rank. The record is skipped.
    #[error("flood record of {len} bytes, fewer than the {FLOOD_ROOT_LEN} of its root rank")]
    NoRoot {
        /// The length in the header.
        len: usize,
    },
    /// A record of an unfinished frame without room for its virtio-net header. The record is skipped.
    #[error("record of {len} bytes, fewer than the {OFFLOAD_LEN} of its virtio-net header")]
    NoOffload {
        /// The length in the header.
        len: usize,
    },
}

/// Reads records from `bytes`. Any bytes are good to read: what is no record comes out as an error,
/// and where the records after it cannot be found any more, the error is the last item.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { bytes, at: 0 }
}

/// The iterator that [`records`] makes.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Records<'_> {
    /// The place of the next record's frame, if that record is of the common kind, a unicast frame that is finished and
    /// whole. Otherwise it is left to [`next`](Iterator::next).
    #[inline]
    pub fn next_unicast(&mut self) -> Option<Range<usize>> {
        let (header, body) = self.bytes.get(self.at..)?.split_first_chunk::<RECORD_HEADER_LEN>()?;
        // With the kind of such a frame the header is its length.
        let len = u32::from_be_bytes(*header) as usize;
        if len > body.len() {
            return None;
        }
        let start = self.at + RECORD_HEADER_LEN;
        self.at = start + len;
        Some(start..start + len)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some((header, body)) = rest.split_first_chunk::<RECORD_HEADER_LEN>() else {
            self.at = self.bytes.len();
            return Some(Err(RecordError::HeaderCut { left: rest.len() }));
        };
        let word = u32::from_be_bytes(*header);
        let (kind, len) = ((word >> LENGTH_BITS) as u8, (word & LENGTH_MASK) as usize);
        if body.len() < len {
            self.at = self.bytes.len();
            return Some(Err(RecordError::RecordCut { len, left: body.len() }));
        }
        let start = self.at;
        let data = start + RECORD_HEADER_LEN;
        self.at = data + len;
        let record = |kind, root, skip| Record {
            kind,
            root,
            whole: start..data + len,
            offload: None,
            frame: data + skip..data + len,
        };
        Some(match kind {
            KIND_UNICAST => Ok(record(RecordKind::Unicast, None, 0)),
            KIND_UNFINISHED if len < OFFLOAD_LEN => Err(RecordError::NoOffload { len }),
            KIND_UNFINISHED => {
                let offload = Some(data..data + OFFLOAD_LEN);
                Ok(Record { offload, ..record(RecordKind::Unicast, None, OFFLOAD_LEN) })
            }
            KIND_CONTROL => Ok(record(RecordKind::Control, None, 0)),
            KIND_FLOOD => match body[..len].first_chunk::<FLOOD_ROOT_LEN>() {
                Some(root) => Ok(record(RecordKind::Flood, Some(u32::from_be_bytes(*root)), FLOOD_ROOT_LEN)),
                None => Err(RecordError::NoRoot { len }),
            },
            kind => Err(RecordError::UnknownKind { kind }),
        })
    }
}

impl std::iter::FusedIterator for Records<'_> {}

/// Writes a record of a finished frame, or of control, to the front of `out` and returns its length, or `None`
/// where it does not fit.
pub(crate) fn write_record(out: &mut [u8], kind: RecordKind, root: u32, payload: &[u8]) -> Option<usize> {
    let whole = kind.overhead() + payload.len();
    let len = whole - RECORD_HEADER_LEN;
    let out = out.get_mut(..whole)?;
    let word = (u32::from(kind.code()) << LENGTH_BITS)
        | u32::try_from(len).ok().filter(|len| *len <= LENGTH_MASK)?;
    let (header, mut body) = out.split_at_mut(RECORD_HEADER_LEN);
    header.copy_from_slice(&word.to_be_bytes());
    if kind == RecordKind::Flood {
        let (head, frame) = body.split_at_mut(FLOOD_ROOT_LEN);
        head.copy_from_slice(&root.to_be_bytes());
        body = frame;
    }
    body.copy_from_slice(payload);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kinds, and whether there is a virtio-net header.
    fn kind() -> impl Strategy<Value = (RecordKind, bool)> {
        prop_oneof![
            any::<bool>().prop_map(|has_offload| (RecordKind::Unicast, has_offload)),
            Just((RecordKind::Flood, false)),
            Just((RecordKind::Control, false)),
        ]
    }

    /// A record as it stands in a run; `payload` begins with the virtio-net header where there is one.
    fn push((kind, has_offload): (RecordKind, bool), root: u32, payload: &[u8], bytes: &mut Vec<u8>) {
        let at = bytes.len();
        let len = kind.overhead() + payload.len();
        bytes.resize(at + len, 0);
        assert_eq!(write_record(&mut bytes[at..], kind, root, payload), Some(len));
        bytes[at] |= if has_offload { 0x80 } else { 0 };
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            wanted in prop::collection::vec((kind(), any::<u32>(), prop::collection::vec(any::<u8>(), OFFLOAD_LEN..200)), 0..20)
        ) {
            let mut bytes = Vec::new();
            for (kind, root, payload) in &wanted {
                push(*kind, *root, payload, &mut bytes);
            }
            let found: Vec<Record> = records(&bytes).collect::<Result<_, _>>().expect("only whole records were written");
            prop_assert_eq!(found.len(), wanted.len());
            let mut at = 0;
            for (record, ((kind, has_offload), root, payload)) in found.iter().zip(&wanted) {
                prop_assert_eq!(record.kind, *kind);
                prop_assert_eq!(record.root, (*kind == RecordKind::Flood).then_some(*root));
                let (offload, frame) = payload.split_at(if *has_offload { OFFLOAD_LEN } else { 0 });
                prop_assert_eq!(record.offload.clone().map(|at| &bytes[at]), has_offload.then_some(offload));
                prop_assert_eq!(&bytes[record.frame.clone()], frame);
                prop_assert_eq!(record.whole.end, record.frame.end);
                prop_assert_eq!(record.whole.start, at);
                at = record.whole.end;
            }
            prop_assert_eq!(at, bytes.len());
        }

        #[test]
        fn any_bytes_end_within_as_many_items_as_there_are_headers(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut items = 0;
            for record in records(&bytes).flatten() {
                prop_assert!(bytes.get(record.frame.clone()).is_some() && record.whole.end <= bytes.len());
                prop_assert!(record.offload.is_none_or(|at| at.len() == OFFLOAD_LEN && at.end == record.frame.start));
            }
            for _ in records(&bytes) {
                items += 1;
            }
            prop_assert!(items <= bytes.len() / RECORD_HEADER_LEN + 1);
        }

        #[test]
        fn short_lengths_and_odd_kinds_never_panic(
            words in prop::collection::vec((0u8..4, any::<bool>(), 0u32..16), 0..40), tail in prop::collection::vec(any::<u8>(), 0..12)
        ) {
            let mut bytes = Vec::new();
            for (kind, flag, len) in words {
                bytes.extend_from_slice(&((u32::from(kind) << 24) | (u32::from(flag) << 31) | len).to_be_bytes());
                bytes.extend(std::iter::repeat_n(0xa5, len as usize));
            }
            bytes.extend_from_slice(&tail);
            for record in records(&bytes).flatten() {
                prop_assert!(bytes.get(record.frame).is_some());
            }
        }
    }

    #[test]
    fn the_common_kind_is_read_by_itself_and_others_are_left() {
        let bytes = b"\0\0\0\x01a\0\0\0\0\x02\0\0\x01z\0\0\0\x01b\0\0\0\x09c";
        let mut records = records(bytes);
        assert_eq!(
            [records.next_unicast(), records.next_unicast(), records.next_unicast()],
            [Some(4..5), Some(9..9), None]
        );
        assert!(matches!(records.next(), Some(Ok(Record { kind: RecordKind::Control, .. }))));
        assert_eq!([records.next_unicast(), records.next_unicast()], [Some(18..19), None]);
        assert_eq!(records.next(), Some(Err(RecordError::RecordCut { len: 9, left: 1 })));
        assert_eq!(records.next_unicast(), None);
    }

    #[test]
    fn a_unicast_record_is_the_stream_format_of_qemu() {
        let mut out = [0; 10];
        assert_eq!(write_record(&mut out, RecordKind::Unicast, 9, b"frame!"), Some(10));
        assert_eq!(&out, b"\0\0\0\x06frame!");
    }

    #[test]
    fn reading_goes_on_after_a_record_that_can_be_skipped() {
        let bytes = b"\x81\0\0\x01x\x01\0\0\x02yy\x02\0\0\x01z";
        let found: Vec<_> = records(bytes).collect();
        assert_eq!(found[0], Err(RecordError::UnknownKind { kind: 0x81 }));
        assert_eq!(found[1], Err(RecordError::NoRoot { len: 2 }));
        assert_eq!(
            found[2].as_ref().map(|record| (record.kind, record.frame.clone())),
            Ok((RecordKind::Control, 15..16))
        );
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn an_unfinished_frame_is_behind_its_header() {
        let bytes =
            [&b"\x80\0\0\x0e"[..], &[7; OFFLOAD_LEN], b"fr", b"\x80\0\0\x0b", &[7; 11], b"\0\0\0\0"].concat();
        let found: Vec<_> = records(&bytes).collect();
        let record = |whole, offload, frame: Range<usize>| Record {
            kind: RecordKind::Unicast,
            root: None,
            whole,
            offload,
            frame,
        };
        assert_eq!(found[0], Ok(record(0..18, Some(4..16), 16..18)));
        assert_eq!(found[1], Err(RecordError::NoOffload { len: 11 }));
        assert_eq!(found[2], Ok(record(33..37, None, 37..37)));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn floods_and_control_are_always_finished() {
        for kind in [0x81, 0x82] {
            let bytes = [&[kind, 0, 0, 20][..], &[0; 20]].concat();
            assert_eq!(records(&bytes).collect::<Vec<_>>(), [Err(RecordError::UnknownKind { kind })]);
        }
    }

    #[test]
    fn reading_stops_where_the_next_record_cannot_be_found() {
        assert_eq!(
            records(b"\0\0\0\x09ab").collect::<Vec<_>>(),
            [Err(RecordError::RecordCut { len: 9, left: 2 })]
        );
        assert_eq!(records(b"\0\0").collect::<Vec<_>>(), [Err(RecordError::HeaderCut { left: 2 })]);
    }
}
