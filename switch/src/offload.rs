//! What a frame's sender has left to others: its checksum, and cutting it into segments.
//!
//! A guest on a fast link hands over TCP segments of up to 64 KiB with partial checksums, and says so in the
//! header that virtio-net puts in front of a frame (VIRTIO 1.2 §5.1.6). Where the receiver takes such frames
//! nobody does the work. Here is what the switch has to know of it: whether a header can belong to a frame,
//! and how long the frames are that a wire would carry. Doing the work is the business of those who hold frames.

/// Octets of the header with all its fields (`virtio_net_hdr_v1`).
pub const OFFLOAD_LEN: usize = 12;

/// Where the fields are; all numbers are little-endian.
mod field {
    use std::ops::Range;

    pub const FLAGS: usize = 0;
    pub const SEGMENTATION: usize = 1;
    pub const HEADER_LEN: Range<usize> = 2..4;
    pub const SEGMENT_LEN: Range<usize> = 4..6;
    pub const CHECKSUM_START: Range<usize> = 6..8;
    pub const CHECKSUM_OFFSET: Range<usize> = 8..10;
}

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CHECKSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_ECN`, a flag beside the kind.
const ECN: u8 = 0x80;

/// Offset of a TCP header's length and of its checksum (RFC 9293 §3.1), and of a UDP header's (RFC 768).
const TCP_LENGTH: usize = 12;
const TCP_CHECKSUM: u16 = 16;
const TCP_HEADER_LEN: usize = 20;
const UDP_CHECKSUM: u16 = 6;
const UDP_HEADER_LEN: usize = 8;

/// What is left to be done to a frame. Only made for frames that it can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Where the bytes begin that the checksum covers, which go on to the end of the packet: the transport header.
    pub checksum_start: u16,
    /// Where the checksum is, from there. In its place stands the sum over the pseudo-header.
    pub checksum_offset: u16,
    /// How the frame is to be cut up, if it is.
    pub segments: Option<Segments>,
}

/// How a frame is to be cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Of which protocol they are.
    pub kind: SegmentKind,
    /// Octets of payload in each but the last, which may have fewer. Not zero.
    pub payload_len: u16,
    /// Whether a segment may have the mark of a congestion window that was reduced (RFC 3168 §6.1.2).
    pub ecn: bool,
    /// Octets of all headers, which every segment repeats.
    headers_len: u16,
}

/// The protocols whose segments can be left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either; the segments are datagrams.
    Udp,
}

/// Why a header cannot belong to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffloadError {
    /// Segmentation of an unknown kind.
    Kind(u8),
    /// The checksum is not inside the frame, or not that of the protocol.
    Checksum,
    /// Segments without payload, or headers that do not fit.
    Segments,
}

impl SegmentKind {
    /// `VIRTIO_NET_HDR_GSO_TCPV4`, `_TCPV6` and `_UDP_L4`.
    const fn code(self) -> u8 {
        match self {
            SegmentKind::TcpV4 => 1,
            SegmentKind::TcpV6 => 4,
            SegmentKind::Udp => 5,
        }
    }
}

impl Offload {
    /// Reads the header of a frame; `None` where nothing is left to be done.
    ///
    /// # Errors
    /// What the header says cannot be true of the frame.
    pub fn read(header: &[u8; OFFLOAD_LEN], frame: &[u8]) -> Result<Option<Offload>, OffloadError> {
        let kind = match header[field::SEGMENTATION] & !ECN {
            0 => None,
            1 => Some(SegmentKind::TcpV4),
            4 => Some(SegmentKind::TcpV6),
            5 => Some(SegmentKind::Udp),
            kind => return Err(OffloadError::Kind(kind)),
        };
        if header[field::FLAGS] & NEEDS_CHECKSUM == 0 {
            // VIRTIO 1.2 §5.1.6.2.1: without a partial checksum nothing can be cut up.
            return if kind.is_none() { Ok(None) } else { Err(OffloadError::Checksum) };
        }
        let number =
            |at: std::ops::Range<usize>| u16::from_le_bytes([header[at.start], header[at.start + 1]]);
        let (checksum_start, checksum_offset) =
            (number(field::CHECKSUM_START), number(field::CHECKSUM_OFFSET));
        let checksum_end = usize::from(checksum_start) + usize::from(checksum_offset) + 2;
        if checksum_end > frame.len() {
            return Err(OffloadError::Checksum);
        }
        let ecn = header[field::SEGMENTATION] & ECN != 0;
        let payload_len = number(field::SEGMENT_LEN);
        let segments =
            kind.map(|kind| Segments::of(kind, payload_len, ecn, (checksum_start, checksum_offset), frame));
        Ok(Some(Offload { checksum_start, checksum_offset, segments: segments.transpose()? }))
    }

    /// The header that says this, without a number of buffers.
    pub fn header(&self) -> [u8; OFFLOAD_LEN] {
        let mut header = [0; OFFLOAD_LEN];
        let mut put =
            |at: std::ops::Range<usize>, number: u16| header[at].copy_from_slice(&number.to_le_bytes());
        put(field::CHECKSUM_START, self.checksum_start);
        put(field::CHECKSUM_OFFSET, self.checksum_offset);
        if let Some(segments) = &self.segments {
            put(field::HEADER_LEN, segments.headers_len);
            put(field::SEGMENT_LEN, segments.payload_len);
            header[field::SEGMENTATION] = segments.kind.code() | if segments.ecn { ECN } else { 0 };
        }
        header[field::FLAGS] = NEEDS_CHECKSUM;
        header
    }

    /// The length of the longest frame that a wire would carry of a frame of `frame_len` octets.
    pub fn longest_frame(&self, frame_len: usize) -> usize {
        let segment = |segments: Segments| segments.headers_len() + usize::from(segments.payload_len);
        self.segments.map_or(frame_len, |segments| frame_len.min(segment(segments)))
    }
}

impl Segments {
    fn of(
        kind: SegmentKind,
        payload_len: u16,
        ecn: bool,
        (start, offset): (u16, u16),
        frame: &[u8],
    ) -> Result<Segments, OffloadError> {
        let transport = usize::from(start);
        // The sender's own word for the length is a hint (VIRTIO 1.2 §5.1.6.2): the headers are believed.
        let (wanted, header_len) = match kind {
            SegmentKind::TcpV4 | SegmentKind::TcpV6 => {
                let length = frame.get(transport + TCP_LENGTH).map_or(0, |byte| usize::from(byte >> 4) * 4);
                (TCP_CHECKSUM, if length < TCP_HEADER_LEN { None } else { Some(length) })
            }
            SegmentKind::Udp => (UDP_CHECKSUM, Some(UDP_HEADER_LEN)),
        };
        if offset != wanted {
            return Err(OffloadError::Checksum);
        }
        let headers_len =
            header_len.map(|len| transport + len).filter(|len| *len < frame.len() && payload_len > 0);
        let headers_len =
            headers_len.and_then(|len| u16::try_from(len).ok()).ok_or(OffloadError::Segments)?;
        Ok(Segments { kind, payload_len, ecn, headers_len })
    }

    /// Octets of all headers, Ethernet's included: where the payload begins.
    pub fn headers_len(&self) -> usize {
        usize::from(self.headers_len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(payload_len: u16) -> ([u8; OFFLOAD_LEN], Vec<u8>) {
        let mut frame = vec![0; 14 + 20 + 20 + 4000];
        frame[14 + 20 + TCP_LENGTH] = 5 << 4;
        let segments = Segments { kind: SegmentKind::TcpV4, payload_len, ecn: true, headers_len: 54 };
        let offload = Offload { checksum_start: 34, checksum_offset: 16, segments: Some(segments) };
        (offload.header(), frame)
    }

    proptest! {
        #[test]
        fn any_header_is_read_and_what_is_read_is_inside_the_frame(
            header: [u8; OFFLOAD_LEN], kind in 0u8..6, frame in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            for header in [header, [1, kind, 0, 0, header[4], 0, header[6] % 64, 0, 16, 0, 0, 0]] {
                if let Ok(Some(offload)) = Offload::read(&header, &frame) {
                    let end = usize::from(offload.checksum_start) + usize::from(offload.checksum_offset) + 2;
                    prop_assert!(end <= frame.len() && offload.longest_frame(frame.len()) <= frame.len());
                    if let Some(segments) = offload.segments {
                        prop_assert!(segments.headers_len() < frame.len() && segments.payload_len > 0);
                    }
                    prop_assert_eq!(Offload::read(&offload.header(), &frame), Ok(Some(offload)));
                }
            }
        }
    }

    #[test]
    fn a_finished_frame_has_nothing_left() {
        assert_eq!(Offload::read(&[0; OFFLOAD_LEN], &[0; 60]), Ok(None));
        // Its checksum was found right: nothing to be done either (VIRTIO_NET_HDR_F_DATA_VALID).
        assert_eq!(Offload::read(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 60]), Ok(None));
    }

    #[test]
    fn a_super_frame_is_as_long_as_its_segments() {
        let (header, frame) = tcp(1446);
        let offload = Offload::read(&header, &frame).unwrap().unwrap();
        assert_eq!(offload.longest_frame(frame.len()), 1500);
        assert_eq!(offload.header(), header);
        let (header, _) = tcp(5000);
        let offload = Offload::read(&header, &frame).unwrap().unwrap();
        assert_eq!(offload.longest_frame(frame.len()), frame.len());
    }

    #[test]
    fn what_cannot_be_true_is_refused() {
        let (header, frame) = tcp(1446);
        let with = |at: usize, byte: u8| {
            let mut header = header;
            header[at] = byte;
            Offload::read(&header, &frame)
        };
        assert_eq!(with(field::SEGMENTATION, 3), Err(OffloadError::Kind(3)));
        assert_eq!(with(field::FLAGS, 0), Err(OffloadError::Checksum));
        assert_eq!(with(field::CHECKSUM_START.start + 1, 0xff), Err(OffloadError::Checksum));
        assert_eq!(with(field::CHECKSUM_OFFSET.start, 6), Err(OffloadError::Checksum));
        assert_eq!(with(field::CHECKSUM_START.start, 35), Err(OffloadError::Segments));
        assert_eq!(Offload::read(&tcp(0).0, &frame), Err(OffloadError::Segments));
        assert_eq!(Offload::read(&header, &frame[..54]), Err(OffloadError::Segments));
    }
}
