//! The Internet checksum (RFC 1071), as much of it at a time as the processor likes.

use super::layout::{put, udp};

/// Writes a checksum that is left to be done: over `covered`, the transport header and all that follows it, at
/// offset `at` of it, where the sum over the pseudo-header stands. There is room for it.
pub(crate) fn complete(covered: &mut [u8], at: usize) {
    let checksum = match (at, Sum::default().add(covered).finish()) {
        // A UDP checksum of zero would mean that there is none (RFC 768), and where UDP has its checksum no
        // other protocol minds: both are zero in one's complement.
        (udp::CHECKSUM, 0) => 0xffff,
        (_, checksum) => checksum,
    };
    put(covered, at, checksum);
}

/// A one's complement sum that is not folded yet. Words are summed in the processor's byte order, which only
/// swaps the sum (RFC 1071 §2 (B)).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes. All but the last call must be given an even number.
    #[inline]
    pub fn add(self, bytes: &[u8]) -> Sum {
        // Eight lanes without carries between them: this compiles to vector additions. A lane takes 2^32
        // additions before it runs over.
        let mut lanes = [0u64; 8];
        let mut chunks = bytes.chunks_exact(32);
        for chunk in &mut chunks {
            for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
                *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
            }
        }
        let mut sum: u64 = lanes.iter().map(|lane| (lane & 0xffff_ffff) + (lane >> 32)).sum();
        let mut words = chunks.remainder().chunks_exact(2);
        for word in &mut words {
            sum += u64::from(u16::from_ne_bytes([word[0], word[1]]));
        }
        if let [last] = words.remainder() {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Sum(self.0 + sum)
    }

    /// Adds a 16-bit number of the host.
    #[inline]
    pub fn add_number(self, number: u16) -> Sum {
        Sum(self.0 + u64::from(number.to_be()))
    }

    /// Sixteen bits, not complemented: what a partial checksum is, to be written in network order.
    #[inline]
    pub fn fold(self) -> u16 {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_be(sum as u16)
    }

    /// The checksum.
    #[inline]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_rfc_adds_up() {
        // RFC 1071 §3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).fold(), 0xddf2);
    }

    #[test]
    fn a_checksum_that_comes_out_as_zero_is_written_as_ones_for_udp_alone() {
        // The rest of what is summed is the complement of the pseudo-header's sum.
        let covered = |at: usize| {
            let mut bytes = [0; 20];
            put(&mut bytes, at, 0x1234);
            put(&mut bytes, 0, !0x1234);
            complete(&mut bytes, at);
            super::super::layout::word(&bytes, at)
        };
        assert_eq!((covered(udp::CHECKSUM), covered(16)), (0xffff, 0));
    }

    proptest! {
        #[test]
        fn the_wide_sum_is_the_plain_sum(bytes in prop::collection::vec(any::<u8>(), 0..3000), cut in 0usize..1500, number: u16) {
            let mut plain = u64::from(number);
            for word in bytes.chunks(2) {
                plain += u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
            }
            while plain > 0xffff {
                plain = (plain & 0xffff) + (plain >> 16);
            }
            let cut = (cut * 2).min(bytes.len() / 2 * 2);
            let sum = Sum::default().add(&bytes[..cut]).add_number(number).add(&bytes[cut..]);
            prop_assert_eq!(u64::from(sum.fold()), plain);
            prop_assert_eq!(sum.finish(), !sum.fold());
        }
    }
}
