//! Cuts a super-frame up: the segments that its TCP would have sent without a helping network card.

use std::ops::Range;

use super::super::header::HEADER_LEN;
use super::{Layout, Protocol, Sum, Version, complete, ipv4, ipv6, put, tcp, word};

/// Why a frame that is too long was not cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vxlan) enum CutError {
    /// It is no TCP segment, or no packet is small enough for what its headers need.
    Indivisible,
    /// The frames do not fit into the room that is left.
    NoRoom,
}

/// Cuts the TCP segment in `frame` into packets of at most `mtu` bytes, which it writes to `out` as frames,
/// each behind room for a VXLAN header. `each` hears where a frame is. Returns how much of `out` is used.
pub(in crate::vxlan) fn cut(
    frame: &[u8],
    layout: &Layout,
    mtu: usize,
    out: &mut [u8],
    mut each: impl FnMut(Range<usize>),
) -> Result<usize, CutError> {
    let Some((Protocol::Tcp, transport)) = layout.transport else { return Err(CutError::Indivisible) };
    let payload_at = transport + usize::from(frame[transport + tcp::OFFSET] >> 4) * 4;
    if payload_at < transport + tcp::HEADER_LEN || payload_at >= layout.end {
        return Err(CutError::Indivisible);
    }
    let (head, payload) = (&frame[..payload_at], &frame[payload_at..layout.end]);
    let room = mtu.checked_sub(payload_at - layout.network).filter(|room| *room > 0);
    let room = room.ok_or(CutError::Indivisible)?;
    let used = payload.len() + payload.len().div_ceil(room) * (HEADER_LEN + head.len());
    let mut out = out.get_mut(..used).ok_or(CutError::NoRoom)?;

    let (mut at, mut sent) = (0, 0);
    for (number, part) in payload.chunks(room).enumerate() {
        let len = head.len() + part.len();
        let (segment, rest) = out.split_at_mut(HEADER_LEN + len);
        let segment = &mut segment[HEADER_LEN..];
        segment[..head.len()].copy_from_slice(head);
        segment[head.len()..].copy_from_slice(part);
        let place = Place { number, sent, is_last: sent + part.len() == payload.len() };
        finish(segment, layout, transport, place);
        each(at + HEADER_LEN..at + HEADER_LEN + len);
        (at, sent, out) = (at + HEADER_LEN + len, sent + part.len(), rest);
    }
    Ok(used)
}

/// Which of the segments one is.
struct Place {
    number: usize,
    /// Bytes of payload in front of it.
    sent: usize,
    is_last: bool,
}

/// Makes the headers of a segment its own.
fn finish(segment: &mut [u8], layout: &Layout, transport: usize, place: Place) {
    let network = layout.network;
    match layout.version {
        Version::V4 => {
            let header = &mut segment[network..];
            let total = u16::try_from(header.len()).unwrap_or(u16::MAX);
            put(header, ipv4::TOTAL_LEN, total);
            let identification = word(header, ipv4::IDENTIFICATION).wrapping_add(place.number as u16);
            put(header, ipv4::IDENTIFICATION, identification);
            put(header, ipv4::CHECKSUM, 0);
            let checksum = Sum::default().add(&header[..usize::from(header[0] & 0x0f) * 4]).finish();
            put(header, ipv4::CHECKSUM, checksum);
        }
        Version::V6 => {
            let len = segment.len() - network - ipv6::HEADER_LEN;
            put(segment, network + ipv6::PAYLOAD_LEN, u16::try_from(len).unwrap_or(u16::MAX));
        }
    }
    let header = &mut segment[transport..];
    let first = header[tcp::SEQUENCE..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    // Sequence numbers are modulo 2^32 (RFC 9293 §3.4).
    let sequence = first.wrapping_add(place.sent as u32);
    header[tcp::SEQUENCE..tcp::SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
    if !place.is_last {
        header[tcp::FLAGS] &= !(tcp::FIN | tcp::PSH);
    }
    if place.number > 0 {
        // The answer to a congestion mark is given once (RFC 3168 §6.1.2).
        header[tcp::FLAGS] &= !tcp::CWR;
    }
    let end = segment.len();
    complete(segment, &Layout { end, ..*layout });
}

#[cfg(test)]
pub(in crate::vxlan) mod tests {
    use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::*;

    /// A frame of one packet, with right checksums.
    pub(in crate::vxlan) fn frame(is_v4: bool, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let builder = if is_v4 {
            builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        } else {
            builder.ipv6([0xfd; 16], [0xfe; 16], 64)
        };
        let mut frame = Vec::new();
        match protocol {
            Protocol::Tcp => {
                let tcp = builder.tcp(5001, 5002, 0xffff_f000, 4000).ack(7).psh().fin().cwr();
                let options = [etherparse::TcpOptionElement::Timestamp(1, 2)];
                tcp.options(&options).unwrap().write(&mut frame, payload)
            }
            Protocol::Udp => builder.udp(53, 54).write(&mut frame, payload),
        }
        .unwrap();
        frame
    }

    /// What etherparse says about all checksums of a frame.
    pub(in crate::vxlan) fn checksums_are_right(frame: &[u8]) -> Result<(), String> {
        let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
        let net = packet.net.ok_or("no IP packet")?;
        if let NetSlice::Ipv4(ip) = &net {
            let header = ip.header();
            if header.to_header().calc_header_checksum() != header.header_checksum() {
                return Err("IPv4 header checksum".into());
            }
        }
        let (found, wanted) = match (&net, packet.transport.ok_or("no transport")?) {
            (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
                (tcp.checksum(), tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()))
            }
            (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
                (tcp.checksum(), tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()))
            }
            (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
                let header = udp.to_header();
                (udp.checksum(), header.calc_checksum_ipv4(&ip.header().to_header(), udp.payload()))
            }
            (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
                let header = udp.to_header();
                (udp.checksum(), header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload()))
            }
            _ => return Err("neither TCP nor UDP".into()),
        };
        let wanted = wanted.map_err(|error| error.to_string())?;
        if found == wanted { Ok(()) } else { Err(format!("checksum {found:#06x}, not {wanted:#06x}")) }
    }

    proptest! {
        #[test]
        fn the_parts_make_the_stream_again_and_all_their_checksums_are_right(
            is_v4: bool, len in 1usize..65000, mtu in 200usize..3000, seed: u8
        ) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 31 / 7) as u8 ^ seed).collect();
            let whole = frame(is_v4, Protocol::Tcp, &payload);
            let layout = Layout::of(&whole).unwrap();
            let mut out = vec![0; 3 * whole.len() + 1000];
            let mut places = Vec::new();
            let used = cut(&whole, &layout, mtu, &mut out, |place| places.push(place)).unwrap();
            let mut stream = Vec::new();
            let mut end = 0;
            for (number, place) in places.iter().enumerate() {
                prop_assert_eq!(place.start, end + HEADER_LEN);
                end = place.end;
                let segment = &out[place.clone()];
                let packet = SlicedPacket::from_ethernet(segment).unwrap();
                prop_assert!(segment.len() <= mtu + 14);
                if let Err(what) = checksums_are_right(segment) {
                    prop_assert!(false, "segment {}: {}", number, what);
                }
                if let Some(NetSlice::Ipv4(ip)) = packet.net {
                    prop_assert_eq!(usize::from(ip.header().identification()), number);
                }
                let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
                let is_last = number + 1 == places.len();
                prop_assert_eq!(tcp.sequence_number(), 0xffff_f000_u32.wrapping_add(stream.len() as u32));
                prop_assert_eq!((tcp.fin(), tcp.psh(), tcp.cwr()), (is_last, is_last, number == 0));
                prop_assert!(tcp.ack() && tcp.acknowledgment_number() == 7);
                stream.extend_from_slice(tcp.payload());
            }
            prop_assert_eq!(used, end);
            prop_assert_eq!(stream, payload);
        }

        #[test]
        fn any_bytes_are_cut_or_not(mut bytes in prop::collection::vec(any::<u8>(), 54..300), mtu in 0usize..200, is_v4: bool) {
            let real = frame(is_v4, Protocol::Tcp, b"");
            bytes[..15].copy_from_slice(&real[..15]);
            if let Some(layout) = Layout::of(&bytes) {
                let mut out = vec![0; 4000];
                let used = cut(&bytes, &layout, mtu, &mut out, |_| ());
                prop_assert!(used.is_ok_and(|used| used <= out.len()) || used.is_err());
            }
        }
    }

    #[test]
    fn what_is_not_tcp_or_has_no_room_is_not_cut() {
        let udp = frame(true, Protocol::Udp, &[0; 3000]);
        let tcp = frame(true, Protocol::Tcp, &[0; 3000]);
        let try_cut = |frame: &[u8], mtu, room| {
            cut(frame, &Layout::of(frame).unwrap(), mtu, &mut vec![0; room], |_| ())
        };
        assert_eq!(try_cut(&udp, 1450, 9000), Err(CutError::Indivisible));
        assert_eq!(try_cut(&tcp, 52, 9000), Err(CutError::Indivisible));
        assert_eq!(try_cut(&tcp, 1450, 3000), Err(CutError::NoRoom));
        assert_eq!(try_cut(&tcp, 1450, 9000), Ok(3000 + 3 * (8 + 66)));
    }
}
