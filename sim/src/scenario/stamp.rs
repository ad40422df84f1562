//! What datagrams and raw frames of scenarios carry: whose they are, which, and since when they are under way.

use mvpnet_switch::Instant;

/// EtherType "local experimental 2" (IEEE 802, §9.2.4), which no stack takes for its own.
pub(super) const ETHERTYPE: [u8; 2] = [0x88, 0xb6];

/// Which datagram or frame this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The traffic's place in the scenario.
    pub(super) line: u32,
    pub(super) from: u32,
    pub(super) number: u64,
    pub(super) sent: Instant,
}

impl Stamp {
    /// Bytes of a stamp; zeros follow.
    pub(super) const LEN: usize = super::Kind::LEAST_UDP_LEN as usize;
    const SUM_AT: usize = 24;

    pub(super) fn encode(&self) -> [u8; Stamp::LEN] {
        let mut bytes = [0; Stamp::LEN];
        bytes[..4].copy_from_slice(&self.line.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.from.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sent.as_nanos().to_be_bytes());
        let sum = sum(&bytes[..Stamp::SUM_AT]);
        bytes[Stamp::SUM_AT..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// None if it has not arrived as it was sent.
    pub(super) fn decode(bytes: &[u8]) -> Option<Stamp> {
        let stamp = bytes.get(..Stamp::LEN)?;
        let word = |at: usize| stamp[at..at + 4].try_into().map(u32::from_be_bytes).ok();
        let long = |at: usize| stamp[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        if word(Stamp::SUM_AT)? != sum(&stamp[..Stamp::SUM_AT]) {
            return None;
        }
        Some(Stamp { line: word(0)?, from: word(4)?, number: long(8)?, sent: Instant::from_nanos(long(16)?) })
    }

    /// Whether what follows the stamp has arrived as it was sent.
    pub(super) fn rest_is_intact(bytes: &[u8]) -> bool {
        bytes.get(Stamp::LEN..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    }
}

/// FNV-1a: finds every single flipped bit.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_or_not_at_all() {
        let stamp = Stamp { line: 3, from: 70_000, number: 1 << 40, sent: Instant::from_nanos(99) };
        let bytes = stamp.encode();
        assert_eq!(Stamp::decode(&bytes), Some(stamp));
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::decode(&wrong), None, "bit {bit}");
        }
        assert_eq!(Stamp::decode(&bytes[1..]), None);
    }
}
