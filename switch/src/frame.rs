//! The head of an Ethernet frame: addresses, VLAN tags and type, checked once.

use etherparse::{EtherType, Ethernet2Slice, SingleVlanSlice};

use crate::MacAddr;
use crate::config::{ETHERNET_HEADER_LEN, TAG_LEN};

/// How much of a frame the switch wants to see. That is enough for every message that it answers: 576
/// bytes of IPv4 are what every host must accept (RFC 791 §3.1, RFC 2131 §2) in a DHCP message, and
/// neighbour discovery is shorter. Of longer messages it sees that they are not complete, and forwards
/// them like any other frame.
pub const HEAD_LEN: usize = 640;

/// Length of an Ethernet address.
const MAC_LEN: usize = 6;

/// The tags that are looked through: the customer's inside the service provider's (IEEE 802.1Q §9.5).
const MAX_TAGS: usize = 2;

/// A frame's beginning, as far as it was handed in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    destination: MacAddr,
    source: MacAddr,
    ether_type: EtherType,
    tags: usize,
    /// All that was handed in: the header, the tags and what follows them.
    bytes: &'a [u8],
}

/// Why a frame has no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// It is shorter than an Ethernet header.
    Runt,
}

impl<'a> Head<'a> {
    /// Reads the head of a frame of `frame_len` bytes, whatever part of it `bytes` is.
    pub(crate) fn new(bytes: &'a [u8], frame_len: usize) -> Result<Head<'a>, HeadError> {
        // A caller's buffer may be longer than the frame.
        let bytes = &bytes[..bytes.len().min(frame_len)];
        let ethernet = Ethernet2Slice::from_slice_without_fcs(bytes).map_err(|_| HeadError::Runt)?;
        let mut head = Head {
            destination: MacAddr::new(ethernet.destination()),
            source: MacAddr::new(ethernet.source()),
            ether_type: ethernet.ether_type(),
            tags: 0,
            bytes,
        };
        while head.tags < MAX_TAGS && is_tag(head.ether_type) {
            // A tag type with nothing behind it is not a tag.
            let Ok(tag) = SingleVlanSlice::from_slice(head.payload()) else { break };
            head.tags += 1;
            head.ether_type = tag.ether_type();
        }
        Ok(head)
    }

    pub(crate) fn destination(&self) -> MacAddr {
        self.destination
    }

    pub(crate) fn source(&self) -> MacAddr {
        self.source
    }

    /// How many VLAN tags the frame has, two at most.
    pub(crate) fn tags(&self) -> usize {
        self.tags
    }

    /// The type of the payload if the frame has no tag: the switch takes part in nothing that is on a VLAN.
    pub(crate) fn untagged_type(&self) -> Option<EtherType> {
        (self.tags == 0).then_some(self.ether_type)
    }

    /// The type of the payload, behind whatever tags there are.
    pub(crate) fn payload_type(&self) -> EtherType {
        self.ether_type
    }

    /// What follows the addresses up to the payload: the tags and the type.
    pub(crate) fn tags_and_type(&self) -> &'a [u8] {
        &self.bytes[2 * MAC_LEN..ETHERNET_HEADER_LEN + self.tags * TAG_LEN]
    }

    /// What follows the header and the tags, as far as it was handed in, padding included.
    pub(crate) fn payload(&self) -> &'a [u8] {
        &self.bytes[ETHERNET_HEADER_LEN + self.tags * TAG_LEN..]
    }
}

/// IEEE 802.1Q §9.5, table 9-1: 0x8100 for customer VLANs, 0x88a8 for service VLANs.
fn is_tag(ether_type: EtherType) -> bool {
    ether_type == EtherType::VLAN_TAGGED_FRAME || ether_type == EtherType::PROVIDER_BRIDGING
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(types: &[u16]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1]);
        for (place, ether_type) in types.iter().enumerate() {
            if place > 0 {
                frame.extend([0x00, 0x05]);
            }
            frame.extend(ether_type.to_be_bytes());
        }
        frame
    }

    fn tags(types: &[u16]) -> usize {
        let frame = frame(types);
        Head::new(&frame, frame.len()).unwrap().tags()
    }

    #[test]
    fn counts_the_tags_that_are_present() {
        assert_eq!(tags(&[0x0800]), 0);
        assert_eq!(tags(&[0x8100, 0x0800]), 1);
        assert_eq!(tags(&[0x88a8, 0x0800]), 1);
        assert_eq!(tags(&[0x88a8, 0x8100, 0x0800]), 2);
        assert_eq!(tags(&[0x8100, 0x8100, 0x8100, 0x0800]), 2);
    }

    #[test]
    fn a_tag_type_with_nothing_behind_it_is_not_a_tag() {
        assert_eq!(tags(&[0x8100]), 0);
        assert_eq!(tags(&[0x88a8, 0x8100]), 1);
    }

    #[test]
    fn tagged_frames_have_no_untagged_type() {
        let frame = frame(&[0x8100, 0x0806]);
        assert_eq!(Head::new(&frame, frame.len()).unwrap().untagged_type(), None);
    }

    #[test]
    fn bytes_beyond_the_frame_do_not_count() {
        assert_eq!(Head::new(&[0; 100], 13).unwrap_err(), HeadError::Runt);
        assert_eq!(Head::new(&[0; 13], 100).unwrap_err(), HeadError::Runt);
        assert_eq!(Head::new(&[0; 100], 14).unwrap().payload(), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..80), frame_len in 0..100usize) {
            let readable = bytes.len().min(frame_len) >= 14;
            prop_assert_eq!(Head::new(&bytes, frame_len).is_ok(), readable);
        }
    }
}
