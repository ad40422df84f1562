//! Which of its source ports a tunnel uses for a frame: always the same for an inner flow, so that its frames
//! stay in order, and different ones for different flows, so that routers and network cards spread them (RFC
//! 7348 §5, "Source Port").

use crate::offload::layout::{Layout, ethernet};

/// The ports to choose from, as RFC 7348 §5 recommends: the dynamic ports of RFC 6335 §6.
pub(super) const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// A hash of the frame's flow: addresses, protocol and ports of whole IP packets, addresses of fragments and
/// of other IP packets, else the Ethernet addresses.
#[inline]
pub(super) fn flow_hash(frame: &[u8], layout: Option<&Layout>) -> u32 {
    let Some(layout) = layout else {
        return mix_all(0, frame.get(..ethernet::ADDRESSES).unwrap_or(frame));
    };
    let (seed, ports) = match layout.transport {
        // Both ports are the first four bytes of TCP's and of UDP's header.
        Some((protocol, at)) => (protocol.number(), &frame[at..at + 4]),
        None => (0, &frame[..0]),
    };
    mix_all(mix(u64::from(seed), ports), layout.addresses(frame))
}

/// Folds up to eight bytes into a hash: a multiplication by an odd number near 2^64/phi, whose upper half
/// depends on every bit (Knuth, The Art of Computer Programming, vol. 3, §6.4).
#[inline]
fn mix(hash: u64, bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let product =
        u128::from(hash ^ u64::from_le_bytes(word) ^ 0x243f_6a88_85a3_08d3) * 0x9e37_79b9_7f4a_7c15_u128;
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn mix_all(hash: u64, bytes: &[u8]) -> u32 {
    let mixed = bytes.chunks(8).fold(hash, mix);
    (mixed ^ (mixed >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    fn hash(frame: &[u8]) -> u32 {
        flow_hash(frame, Layout::of(frame).as_ref())
    }

    fn udp(source: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        builder.udp(source, 53).write(&mut frame, payload).unwrap();
        frame
    }

    #[test]
    fn flows_spread_over_a_few_sockets() {
        let mut uses = [0; 8];
        for port in 0..4000 {
            uses[hash(&udp(port, b"")) as usize % uses.len()] += 1;
        }
        assert!(uses.iter().all(|count| (400..600).contains(count)), "{uses:?}");
    }

    #[test]
    fn frames_without_ip_spread_by_their_addresses() {
        let hashes: std::collections::BTreeSet<u32> = (0..=255)
            .map(|last| hash(&[&[2, 0, 0, 0, 0, last][..], &[4; 6], &[0x08, 0x06]].concat()))
            .collect();
        assert_eq!(hashes.len(), 256);
    }

    proptest! {
        #[test]
        fn a_flow_has_one_hash_whatever_it_carries(port: u16, one in prop::collection::vec(any::<u8>(), 0..90), two in prop::collection::vec(any::<u8>(), 0..90)) {
            prop_assert_eq!(hash(&udp(port, &one)), hash(&udp(port, &two)));
        }

        #[test]
        fn any_bytes_have_a_hash(frame in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = hash(&frame);
        }
    }
}
