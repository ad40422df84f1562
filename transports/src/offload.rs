//! Does in software what a frame's sender has left to others: its checksum, and cutting it into segments.
//!
//! A guest or namespace on a fast link leaves that work to a network card (VIRTIO 1.2 §5.1.6; Linux,
//! Documentation/networking/segmentation-offloads.rst). Where its frames go to a receiver that does not take
//! them so, the work is done here. What is left to be done is said by an [`Offload`], which came with the
//! frame, or is seen in the frame itself, as by [VXLAN](crate::vxlan).
//!
//! Frames come from guests and peers: any bytes are good, and what does not fit together is a [`FinishError`].
//!
//! | module | what lives there |
//! | --- | --- |
//! | `layout` | where the headers of a frame are |
//! | `checksum` | the Internet checksum |
//! | `cut` | one packet into segments |

use mvpnet_switch::{DropReason, Offload, SegmentKind, Segments};
use thiserror::Error;

pub(crate) mod checksum;
pub(crate) mod cut;
pub(crate) mod layout;
#[cfg(test)]
pub(crate) mod samples;

use cut::Cut;
use layout::{Layout, Protocol, Version};

/// The most segments that a packet is cut into: as many as 64 KiB make with the least payload that Linux's
/// TCP puts into one, 8 octets (`TCP_MIN_SND_MSS` less `MAX_TCP_OPTION_SPACE`, `include/net/tcp.h`). A sender
/// who asks for more wants others to work for nothing.
const MAX_SEGMENTS: usize = 8192;

/// Why a frame cannot be finished: its headers and what is left to be done do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FinishError {
    /// The place of the checksum is behind the packet, whose length IP says.
    #[error("checksum at octet {at} of a packet that ends at octet {end}")]
    Checksum {
        /// Where the checksum is to be, in octets of the frame.
        at: usize,
        /// Where the packet ends.
        end: usize,
    },
    /// There is no IP packet to be cut up, or not all of it.
    #[error("no whole IP packet in a frame of {len} octets that is to be cut up")]
    NoPacket {
        /// Octets of the frame.
        len: usize,
    },
    /// The IP packet is of the other version, of another protocol or a fragment, or its transport header is
    /// elsewhere.
    #[error("no {kind:?} header at octet {at} of a frame that is to be cut up as such")]
    Kind {
        /// What is to be cut up.
        kind: SegmentKind,
        /// Where its header should be, in octets of the frame.
        at: usize,
    },
    /// There is nothing to cut behind the headers, or the headers do not fit.
    #[error(
        "headers of {headers_len} octets, {payload_len} per segment, in a packet that ends at octet {end}"
    )]
    Indivisible {
        /// Octets of all headers.
        headers_len: usize,
        /// Octets of payload in each segment.
        payload_len: usize,
        /// Where the packet ends, in octets of the frame.
        end: usize,
    },
    /// More segments than anybody needs.
    #[error("{count} segments of one frame, more than {MAX_SEGMENTS}")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
}

impl From<FinishError> for DropReason {
    fn from(_: FinishError) -> DropReason {
        DropReason::BadOffload
    }
}

/// Finishes frames in software. It keeps the memory that it works in, so that a warm one allocates nothing.
#[derive(Debug, Default)]
pub struct Finisher {
    finished: Vec<u8>,
}

impl Finisher {
    /// A finisher without memory yet.
    pub fn new() -> Finisher {
        Finisher::default()
    }

    /// Finishes a frame: writes its checksum, and cuts a super-frame into the frames that a wire would carry.
    /// `each` gets them in order; the return value is how many there were. `frame` stays as it is.
    ///
    /// A frame that is cut up loses what pads it, others keep it.
    ///
    /// # Errors
    /// What is left to be done does not fit the frame; `each` has not been called.
    pub fn finish(
        &mut self,
        offload: &Offload,
        frame: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, FinishError> {
        let Some(segments) = &offload.segments else {
            self.finished.clear();
            self.finished.extend_from_slice(frame);
            complete_checksum(offload, &mut self.finished)?;
            each(&self.finished);
            return Ok(1);
        };
        let cut = cut_of(usize::from(offload.checksum_start), segments, frame)?;
        for number in 0..cut.count() {
            self.finished.resize(cut.len_of(number), 0);
            cut.write(number, &mut self.finished);
            each(&self.finished);
        }
        Ok(cut.count())
    }
}

/// Writes the checksum that is left to be done, in place. Nothing is cut up: where segments are left to be
/// done, the one long packet gets its checksum.
///
/// It covers what follows its start up to the end of the packet. Where IP says where that is, what is behind
/// pads the frame and is not covered, since the receiver removes it first (RFC 9293 §3.1 and RFC 768 sum the
/// length that IP says). Linux sums to the end of the frame (`skb_checksum_help`, `net/core/dev.c`), which is
/// the same where padding is of zeros or there is none, and a wrong checksum else. In a frame whose headers
/// are not known it is the end here, too.
///
/// # Errors
/// The checksum's place is not inside the packet; the frame stays as it is.
pub fn complete_checksum(offload: &Offload, frame: &mut [u8]) -> Result<(), FinishError> {
    let (start, offset) = (usize::from(offload.checksum_start), usize::from(offload.checksum_offset));
    let end = Layout::of(frame).map_or(frame.len(), |layout| layout.end);
    if start + offset + 2 > end {
        return Err(FinishError::Checksum { at: start + offset, end });
    }
    checksum::complete(&mut frame[start..end], offset);
    Ok(())
}

/// Where a super-frame is to be cut.
fn cut_of<'a>(at: usize, segments: &Segments, frame: &'a [u8]) -> Result<Cut<'a>, FinishError> {
    let layout = Layout::of(frame).ok_or(FinishError::NoPacket { len: frame.len() })?;
    let (protocol, version) = match segments.kind {
        SegmentKind::TcpV4 => (Protocol::Tcp, Version::V4),
        SegmentKind::TcpV6 => (Protocol::Tcp, Version::V6),
        SegmentKind::Udp => (Protocol::Udp, layout.version),
    };
    if (layout.version, layout.transport) != (version, Some((protocol, at))) {
        return Err(FinishError::Kind { kind: segments.kind, at });
    }
    let payload_len = usize::from(segments.payload_len);
    let cut = Cut::new(frame, &layout, (protocol, at), segments.headers_len(), payload_len)?;
    if cut.count() > MAX_SEGMENTS { Err(FinishError::TooMany { count: cut.count() }) } else { Ok(cut) }
}

#[cfg(test)]
mod tests;
