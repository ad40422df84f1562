//! Finishes what a kernel on the same machine has left to a network card that is not there.
//!
//! A guest or namespace behind Linux's vxlan driver may have its checksums and its TCP segmentation done by
//! the network card (Linux, Documentation/networking/segmentation-offloads.rst). On a wire the card has done
//! so. Where the packets never meet one, as between namespaces, a VTEP in user space gets them unfinished:
//! with a partial checksum, whose field holds the sum of the pseudo-header and nothing else, or as a
//! super-frame, one TCP segment of up to 64 KiB. [`complete`] and [`cut`](cut::cut) do the card's work. Finished frames pass
//! untouched, and to see that they are costs the sum of a pseudo-header.

use super::checksum::Sum;
use super::layout::{Layout, Protocol, Version, ipv4, ipv6, tcp, word};

mod cut;

pub(super) use cut::{CutError, cut};

/// Whether the checksum of a frame's TCP or UDP is partial.
///
/// A finished checksum has that value once in 65536 frames. To finish it again does it no harm.
#[inline]
pub(super) fn is_partial(frame: &[u8], layout: &Layout) -> bool {
    layout.transport.is_some_and(|(protocol, at)| {
        word(frame, at + protocol.checksum())
            == pseudo_header(frame, layout, protocol, layout.end - at).fold()
    })
}

/// Writes the checksum of a frame's TCP or UDP.
pub(super) fn complete(frame: &mut [u8], layout: &Layout) {
    let Some((protocol, at)) = layout.transport else { return };
    let field = at + protocol.checksum();
    frame[field..field + 2].fill(0);
    let sum = pseudo_header(frame, layout, protocol, layout.end - at).add(&frame[at..layout.end]);
    let checksum = match (protocol, sum.finish()) {
        // A UDP checksum of zero would mean that there is none (RFC 768).
        (Protocol::Udp, 0) => 0xffff,
        (_, checksum) => checksum,
    };
    put(frame, field, checksum);
}

/// The sum over addresses, protocol and length of what follows the IP header (RFC 9293 §3.1, RFC 8200 §8.1).
#[inline]
fn pseudo_header(frame: &[u8], layout: &Layout, protocol: Protocol, len: usize) -> Sum {
    // A packet is no longer than IP's own length field can say.
    Sum::default()
        .add(layout.addresses(frame))
        .add_number(u16::from(protocol.number()))
        .add_number(u16::try_from(len).unwrap_or(u16::MAX))
}

#[inline]
fn put(frame: &mut [u8], at: usize, number: u16) {
    frame[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
pub(super) mod tests {
    pub(in crate::vxlan) use super::cut::tests::{checksums_are_right, frame};
    use super::*;

    #[test]
    fn a_partial_checksum_is_seen_and_completed() {
        for is_v4 in [true, false] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let whole = frame(is_v4, protocol, b"odd numbered payload, 31 bytes.");
                let layout = Layout::of(&whole).unwrap();
                assert!(!is_partial(&whole, &layout));
                let mut partial = whole.clone();
                make_partial(&mut partial);
                assert!(is_partial(&partial, &layout));
                complete(&mut partial, &layout);
                assert_eq!(partial, whole);
                checksums_are_right(&partial).unwrap();
            }
        }
    }

    #[test]
    fn padding_is_no_part_of_the_sum() {
        let mut padded = frame(true, Protocol::Udp, b"1");
        let whole = padded.clone();
        padded.extend([0xaa; 17]);
        make_partial(&mut padded);
        let layout = Layout::of(&padded).unwrap();
        complete(&mut padded, &layout);
        assert_eq!(padded[..whole.len()], whole);
    }

    #[test]
    fn a_udp_packet_without_a_checksum_is_left_alone() {
        let mut whole = frame(true, Protocol::Udp, b"no checksum");
        let layout = Layout::of(&whole).unwrap();
        let (_, at) = layout.transport.unwrap();
        put(&mut whole, at + Protocol::Udp.checksum(), 0);
        assert!(!is_partial(&whole, &layout));
    }

    #[test]
    fn a_udp_checksum_that_comes_out_as_zero_is_written_as_ones() {
        let mut whole = frame(true, Protocol::Udp, &[0, 0]);
        let layout = Layout::of(&whole).unwrap();
        let (_, at) = layout.transport.unwrap();
        let checksum = word(&whole, at + Protocol::Udp.checksum());
        // Adding what the checksum complements makes the sum all ones.
        put(&mut whole, at + 8, checksum);
        complete(&mut whole, &layout);
        assert_eq!(word(&whole, at + Protocol::Udp.checksum()), 0xffff);
    }

    pub(in crate::vxlan) fn make_partial(frame: &mut [u8]) {
        let layout = Layout::of(frame).unwrap();
        let (protocol, at) = layout.transport.unwrap();
        let partial = pseudo_header(frame, &layout, protocol, layout.end - at).fold();
        put(frame, at + protocol.checksum(), partial);
    }
}
