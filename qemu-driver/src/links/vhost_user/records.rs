//! Records as the frame loop has them: a kind and a length, then a frame, which may have its virtio-net header in
//! front.

use mvpnet_switch::OFFLOAD_LEN;

use crate::links::PREFIX_LEN;

/// The kind of a frame that is finished, and of one behind a header.
const FINISHED: u8 = 0;
const UNFINISHED: u8 = 0x80;

/// A record that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// What is left to be done to the frame.
    pub(super) header: Option<&'a [u8; OFFLOAD_LEN]>,
    pub(super) frame: &'a [u8],
}

/// Takes the record at the beginning of a run of them: what it is, and its octets. A record of an unknown kind or
/// without a frame is `None`.
#[inline]
pub(super) fn split(run: &[u8]) -> (Option<Record<'_>>, usize) {
    let Some((&[kind, high, middle, low], rest)) = run.split_first_chunk::<PREFIX_LEN>() else {
        return (None, run.len());
    };
    let len = (u32::from_be_bytes([0, high, middle, low]) as usize).min(rest.len());
    let body = &rest[..len];
    let record = match kind {
        FINISHED => Some(Record { header: None, frame: body }),
        UNFINISHED => body.split_first_chunk().map(|(header, frame)| Record { header: Some(header), frame }),
        _ => None,
    };
    (record.filter(|record| !record.frame.is_empty()), PREFIX_LEN + len)
}

/// Octets in front of a frame.
#[inline]
pub(super) fn prefix_len(unfinished: bool) -> usize {
    PREFIX_LEN + if unfinished { OFFLOAD_LEN } else { 0 }
}

/// Writes what is in front of the frame in `record`.
#[inline]
pub(super) fn write_prefix(record: &mut [u8], header: Option<&[u8; OFFLOAD_LEN]>) {
    let len = u32::try_from(record.len() - PREFIX_LEN).expect("a frame is shorter");
    let [_, high, middle, low] = len.to_be_bytes();
    let kind = if header.is_some() { UNFINISHED } else { FINISHED };
    record[..PREFIX_LEN].copy_from_slice(&[kind, high, middle, low]);
    if let Some(header) = header {
        record[PREFIX_LEN..PREFIX_LEN + OFFLOAD_LEN].copy_from_slice(header);
    }
}
