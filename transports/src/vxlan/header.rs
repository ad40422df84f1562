//! The VXLAN header (RFC 7348 §5): eight bytes between the outer UDP header and the inner frame.
//!
//! What is in front of it is the kernel's, what is behind it a frame.

use mvpnet_switch::Vni;
use thiserror::Error;

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// Where the fields are, in 32-bit words of network order: `RRRRIRRR` and 24 reserved bits; the VNI and 8
/// reserved bits.
mod field {
    use std::ops::Range;

    /// The first word: flags in its top byte.
    pub const FLAGS: Range<usize> = 0..4;
    /// The second word: the VNI in its top 24 bits.
    pub const VNI: Range<usize> = 4..8;
}

/// The I flag, the only one that RFC 7348 defines: the VNI is valid.
const VNI_IS_VALID: u32 = 0x0800_0000;
/// Where the VNI begins in its word.
const VNI_SHIFT: u32 = 8;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The network that the frame belongs to.
    pub vni: Vni,
}

/// Why bytes do not begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// They are fewer than a header has.
    #[error("{len} bytes are fewer than the {HEADER_LEN} of a VXLAN header")]
    Short {
        /// How many there are.
        len: usize,
    },
    /// The I flag is not set.
    #[error("the I flag is not set in {flags:#010x}")]
    NoVniFlag {
        /// The first word.
        flags: u32,
    },
    /// A bit that has to be zero is not.
    #[error("reserved bits are set in {flags:#010x} {vni:#010x}")]
    ReservedBits {
        /// The first word.
        flags: u32,
        /// The second word.
        vni: u32,
    },
}

impl Header {
    /// Reads the header in front of `datagram`.
    ///
    /// RFC 7348 §5 lets a receiver ignore the reserved bits. They are refused here, as Linux refuses them
    /// (`vxlan_rcv`, `drivers/net/vxlan/vxlan_core.c`): later drafts give them meanings that change what
    /// follows, and who does not know a meaning must not guess at it.
    pub fn parse(datagram: &[u8]) -> Result<Header, HeaderError> {
        let header =
            datagram.first_chunk::<HEADER_LEN>().ok_or(HeaderError::Short { len: datagram.len() })?;
        let (flags, vni) = (word(header, field::FLAGS), word(header, field::VNI));
        if flags & VNI_IS_VALID == 0 {
            return Err(HeaderError::NoVniFlag { flags });
        }
        let reserved = HeaderError::ReservedBits { flags, vni };
        if flags != VNI_IS_VALID || vni & ((1 << VNI_SHIFT) - 1) != 0 {
            return Err(reserved);
        }
        Ok(Header { vni: Vni::new(vni >> VNI_SHIFT).map_err(|_| reserved)? })
    }

    /// The header's bytes.
    pub const fn emit(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = VNI_IS_VALID.to_be_bytes();
        let [e, f, g, h] = (self.vni.value() << VNI_SHIFT).to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

fn word(header: &[u8; HEADER_LEN], field: std::ops::Range<usize>) -> u32 {
    header[field].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_back(number in 0u32..=Vni::MAX.value(), rest in prop::collection::vec(any::<u8>(), 0..20)) {
            let header = Header { vni: Vni::new(number).expect("24 bits") };
            let datagram = [&header.emit()[..], &rest].concat();
            prop_assert_eq!(Header::parse(&datagram), Ok(header));
        }

        #[test]
        fn any_bytes_are_parsed_and_only_one_form_of_a_header_is_good(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.emit()[..], &bytes[..HEADER_LEN]);
            }
        }

        #[test]
        fn every_other_bit_is_refused(number in 0u32..=Vni::MAX.value(), bit in 0usize..64) {
            let mut bytes = Header { vni: Vni::new(number).expect("24 bits") }.emit();
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let wanted = match bit {
                4 => "no flag",
                32..56 => "good",
                _ => "reserved",
            };
            let found = match Header::parse(&bytes) {
                Ok(_) => "good",
                Err(HeaderError::NoVniFlag { .. }) => "no flag",
                Err(HeaderError::ReservedBits { .. }) => "reserved",
                Err(HeaderError::Short { .. }) => "short",
            };
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        // Figure 1 with VNI 40.
        assert_eq!(Header { vni: Vni::new(40).expect("24 bits") }.emit(), [8, 0, 0, 0, 0, 0, 40, 0]);
        assert_eq!(Header::parse(&[8, 0, 0]), Err(HeaderError::Short { len: 3 }));
    }
}
