//! Sees and finishes what a kernel on the same machine has left to a network card that is not there.
//!
//! A guest or namespace behind Linux's vxlan driver may have its checksums and its TCP segmentation done by
//! the network card. On a wire the card has done so. Where the packets never meet one, as between namespaces,
//! a VTEP in user space gets them unfinished: with a partial checksum, whose field holds the sum of the
//! pseudo-header and nothing else, or as a super-frame, one TCP segment of up to 64 KiB. Nothing in a
//! datagram says so. Finished frames pass untouched, and to see that they are costs the sum of a
//! pseudo-header.

use std::ops::Range;

use super::header::HEADER_LEN;
use crate::offload::checksum::{self, Sum};
use crate::offload::cut::Cut;
use crate::offload::layout::{Layout, Protocol, tcp, word};

/// Why a frame that is too long was not cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutError {
    /// It is no TCP segment, or no packet is small enough for what its headers need.
    Indivisible,
    /// The frames do not fit into the room that is left.
    NoRoom,
}

/// Whether the checksum of a frame's TCP or UDP is partial.
///
/// A finished checksum has that value once in 65536 frames. To finish it again does it no harm. Behind a
/// routing header nobody but the sender knows what is summed.
#[inline]
pub(super) fn is_partial(frame: &[u8], layout: &Layout) -> bool {
    layout.transport.is_some_and(|(protocol, at)| {
        !layout.is_routed
            && word(frame, at + protocol.checksum())
                == pseudo_header(frame, layout, protocol, layout.end - at).fold()
    })
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

/// Writes the checksum of a frame's TCP or UDP, which is [partial](is_partial).
pub(super) fn complete(frame: &mut [u8], layout: &Layout) {
    if let Some((protocol, at)) = layout.transport {
        checksum::complete(&mut frame[at..layout.end], protocol.checksum());
    }
}

/// Cuts the TCP segment in `frame`, whose checksum is [partial](is_partial), into packets of at most `mtu`
/// bytes, which it writes to `out` as frames, each behind room for a VXLAN header. `each` hears where a frame
/// is. Returns how much of `out` is used.
pub(super) fn cut(
    frame: &[u8],
    layout: &Layout,
    mtu: usize,
    out: &mut [u8],
    mut each: impl FnMut(Range<usize>),
) -> Result<usize, CutError> {
    let Some((Protocol::Tcp, at)) = layout.transport else { return Err(CutError::Indivisible) };
    let headers_len = at + usize::from(frame[at + tcp::OFFSET] >> 4) * 4;
    let room = mtu.saturating_sub(headers_len - layout.network);
    let cut =
        Cut::new(frame, layout, (Protocol::Tcp, at), headers_len, room).map_err(|_| CutError::Indivisible)?;
    let used = cut.total_len() + cut.count() * HEADER_LEN;
    let out = out.get_mut(..used).ok_or(CutError::NoRoom)?;
    let mut start = 0;
    for number in 0..cut.count() {
        let place = start + HEADER_LEN..start + HEADER_LEN + cut.len_of(number);
        cut.write(number, &mut out[place.clone()]);
        start = place.end;
        each(place);
    }
    Ok(used)
}

#[cfg(test)]
mod tests;
