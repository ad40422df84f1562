//! What is offered to a guest's driver, and what it has taken of it.

use mvpnet_switch::{OFFLOAD_LEN, Offload, SegmentKind};

/// What is offered to guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// Checksums may be left to the receiver, both ways.
    pub checksum: bool,
    /// Cutting TCP and UDP into segments may be left to the receiver, both ways. Needs [`checksum`](Self::checksum).
    pub segmentation: bool,
    /// The largest IP MTU that the front end may announce to the guest, in octets.
    pub mtu: u16,
}

impl Default for Offers {
    fn default() -> Self {
        Self { checksum: true, segmentation: true, mtu: u16::MAX }
    }
}

/// Bits of a device's features (VIRTIO 1.2 §5.1.3, §6).
pub(super) mod bit {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const GUEST_ECN: u64 = 1 << 9;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const HOST_ECN: u64 = 1 << 13;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    /// vhost-user's own (vhost-user.rst, "Protocol features"); the driver never sees it.
    pub const PROTOCOL_FEATURES: u64 = 1 << 30;
    pub const VERSION_1: u64 = 1 << 32;
    pub const GUEST_USO4: u64 = 1 << 54;
    pub const GUEST_USO6: u64 = 1 << 55;
    pub const HOST_USO: u64 = 1 << 56;
}

/// Bits of the protocol's features (vhost-user.rst, "Protocol features").
pub(super) mod protocol_bit {
    pub const REPLY_ACK: u64 = 1 << 3;
    pub const NET_MTU: u64 = 1 << 4;
}

/// All protocol features that are offered.
pub(super) const PROTOCOL_OFFERS: u64 = protocol_bit::REPLY_ACK | protocol_bit::NET_MTU;

const ALWAYS: u64 =
    bit::MTU | bit::MRG_RXBUF | bit::INDIRECT_DESC | bit::EVENT_IDX | bit::PROTOCOL_FEATURES | bit::VERSION_1;
const CHECKSUM: u64 = bit::CSUM | bit::GUEST_CSUM;
const SEGMENTATION: u64 = bit::HOST_TSO4
    | bit::HOST_TSO6
    | bit::HOST_ECN
    | bit::HOST_USO
    | bit::GUEST_TSO4
    | bit::GUEST_TSO6
    | bit::GUEST_ECN
    | bit::GUEST_USO4
    | bit::GUEST_USO6;

/// Fields of a virtio-net header (VIRTIO 1.2 §5.1.6) that say whether a frame is unfinished.
const FLAGS: usize = 0;
const SEGMENT_KIND: usize = 1;
const NEEDS_CHECKSUM: u8 = 1;
/// A flag beside the kind, which alone says nothing.
const ECN: u8 = 0x80;

impl Offers {
    /// The device's features.
    pub(super) fn features(self) -> u64 {
        let segmentation = if self.segmentation { SEGMENTATION } else { 0 };
        ALWAYS | if self.checksum { CHECKSUM | segmentation } else { 0 }
    }
}

/// The features that the driver has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Negotiated(pub(super) u64);

impl Negotiated {
    #[inline]
    pub(super) fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// Octets of the header in front of every frame. Without either feature the number of buffers at its end is
    /// missing (VIRTIO 1.2 §5.1.6.1).
    #[inline]
    pub(super) fn header_len(self) -> usize {
        if self.0 & (bit::VERSION_1 | bit::MRG_RXBUF) != 0 { OFFLOAD_LEN } else { OFFLOAD_LEN - 2 }
    }

    /// Whether the driver may leave this to us.
    pub(super) fn may_send(self, offload: &Offload) -> bool {
        let Some(segments) = offload.segments else { return self.has(bit::CSUM) };
        let kind = match segments.kind {
            SegmentKind::TcpV4 => bit::HOST_TSO4,
            SegmentKind::TcpV6 => bit::HOST_TSO6,
            SegmentKind::Udp => bit::HOST_USO,
        };
        self.has(bit::CSUM | kind | if segments.ecn { bit::HOST_ECN } else { 0 })
    }

    /// Whether the driver takes this from us.
    pub(super) fn takes(self, offload: &Offload) -> bool {
        let Some(segments) = offload.segments else { return self.has(bit::GUEST_CSUM) };
        let kind = match segments.kind {
            SegmentKind::TcpV4 => bit::GUEST_TSO4,
            SegmentKind::TcpV6 => bit::GUEST_TSO6,
            // Which of the two it is only the frame knows; drivers have both or none.
            SegmentKind::Udp => bit::GUEST_USO4 | bit::GUEST_USO6,
        };
        self.has(bit::GUEST_CSUM | kind | if segments.ecn { bit::GUEST_ECN } else { 0 })
    }
}

/// Whether a header says that anything is left to be done.
#[inline]
pub(super) fn is_unfinished(header: &[u8; OFFLOAD_LEN]) -> bool {
    header[FLAGS] & NEEDS_CHECKSUM != 0 || header[SEGMENT_KIND] & !ECN != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8) -> Option<Offload> {
        let mut frame = [0; 200];
        // A TCP header of 20 octets behind the others.
        frame[34 + 12] = 5 << 4;
        let checksum_offset = if kind & 0x7f == 5 { 6 } else { 16 };
        let header = [1, kind, 0, 0, 100, 0, 34, 0, checksum_offset, 0, 0, 0];
        Offload::read(&header, &frame).unwrap()
    }

    #[test]
    fn without_checksums_nothing_can_be_cut_up() {
        let offers = Offers { checksum: false, ..Offers::default() };
        assert_eq!(offers.features() & (CHECKSUM | SEGMENTATION), 0);
        let offers = Offers { segmentation: false, ..Offers::default() };
        assert_eq!(offers.features() & (CHECKSUM | SEGMENTATION), CHECKSUM);
    }

    #[test]
    fn each_kind_of_unfinished_frame_has_its_features_in_each_direction() {
        use bit::*;
        for (kind, sends, takes) in [
            (0, CSUM, GUEST_CSUM),
            (1, CSUM | HOST_TSO4, GUEST_CSUM | GUEST_TSO4),
            (4, CSUM | HOST_TSO6, GUEST_CSUM | GUEST_TSO6),
            (0x81, CSUM | HOST_TSO4 | HOST_ECN, GUEST_CSUM | GUEST_TSO4 | GUEST_ECN),
            (5, CSUM | HOST_USO, GUEST_CSUM | GUEST_USO4 | GUEST_USO6),
        ] {
            let offload = header(kind).unwrap();
            assert!(Negotiated(sends).may_send(&offload) && Negotiated(takes).takes(&offload));
            for missing in (0..64).map(|n| 1u64 << n) {
                assert_eq!(
                    Negotiated(!missing).may_send(&offload),
                    sends & missing == 0,
                    "{kind} {missing:x}"
                );
                assert_eq!(Negotiated(!missing).takes(&offload), takes & missing == 0, "{kind} {missing:x}");
            }
        }
    }

    #[test]
    fn flags_of_finished_frames_leave_nothing_to_be_done() {
        let header = |flags, kind| [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // Its checksum was found right; and a mark that belongs to segments, without any.
        assert!(!is_unfinished(&header(2, 0)) && !is_unfinished(&header(0, ECN)));
        assert!(is_unfinished(&header(1, 0)) && is_unfinished(&header(0, ECN | 1)));
    }

    #[test]
    fn the_header_is_short_only_for_drivers_without_either_feature() {
        assert_eq!(Negotiated(0).header_len(), 10);
        assert_eq!(Negotiated(bit::MRG_RXBUF).header_len(), 12);
        assert_eq!(Negotiated(bit::VERSION_1).header_len(), 12);
    }
}
