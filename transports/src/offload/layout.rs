//! Where the headers of a frame are: read once per frame, for its checksums, for cutting it up, and for the
//! hash of its flow.
//!
//! Only offsets: etherparse's slices say more and cost more, and nothing here is built. What the bytes mean
//! for a guest is the switch's matter.

/// The two kinds of IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// The transports whose checksums a sender may leave to its network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// Where the headers of a whole IP packet are, as offsets into its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub version: Version,
    /// Where the IP header begins.
    pub network: usize,
    /// Where the packet ends; what is behind it pads the frame.
    pub end: usize,
    /// The protocol and where its header begins. `None` in fragments and for other protocols.
    pub transport: Option<(Protocol, usize)>,
    /// A routing header is in front of the transport, whose checksum may cover another destination than that of
    /// the IP header (RFC 8200 §8.1).
    pub is_routed: bool,
}

/// Fields of the Ethernet header (IEEE 802.3 §3.1.1).
pub(crate) mod ethernet {
    /// Length of the two addresses.
    pub const ADDRESSES: usize = 12;
    pub const HEADER_LEN: usize = 14;
    /// Length of a tag (IEEE 802.1Q §9.3).
    pub const TAG_LEN: usize = 4;
    /// The tags that are looked through: the customer's inside the service provider's (IEEE 802.1Q §9.5).
    pub const MAX_TAGS: usize = 2;
    pub const TAGGED: [u16; 2] = [0x8100, 0x88a8];
    pub const IPV4: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
}

/// Fields of the IPv4 header (RFC 791 §3.1), from its beginning.
pub(crate) mod ipv4 {
    pub const HEADER_LEN: usize = 20;
    pub const TOTAL_LEN: usize = 2;
    pub const IDENTIFICATION: usize = 4;
    pub const FRAGMENT: usize = 6;
    /// More fragments, and the offset: zero in a whole packet.
    pub const FRAGMENT_MASK: u16 = 0x3fff;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: usize = 10;
    pub const ADDRESSES: std::ops::Range<usize> = 12..20;
}

/// Fields of the IPv6 header (RFC 8200 §3), from its beginning.
pub(crate) mod ipv6 {
    pub const HEADER_LEN: usize = 40;
    pub const PAYLOAD_LEN: usize = 4;
    pub const NEXT_HEADER: usize = 6;
    pub const ADDRESSES: std::ops::Range<usize> = 8..40;
    /// The extension headers that may stand in front of a transport, all of one form: hop-by-hop options,
    /// routing and destination options (RFC 8200 §4.3, §4.4, §4.6).
    pub const EXTENSIONS: [u8; 3] = [0, ROUTING, 60];
    pub const ROUTING: u8 = 43;
    /// More of them than anybody sends.
    pub const MAX_EXTENSIONS: usize = 4;
}

/// Fields of the TCP header (RFC 9293 §3.1), from its beginning.
pub(crate) mod tcp {
    pub const HEADER_LEN: usize = 20;
    pub const SEQUENCE: usize = 4;
    pub const OFFSET: usize = 12;
    pub const FLAGS: usize = 13;
    pub const CHECKSUM: usize = 16;
    pub const FIN: u8 = 0x01;
    pub const PSH: u8 = 0x08;
    pub const CWR: u8 = 0x80;
}

/// Fields of the UDP header (RFC 768), from its beginning.
pub(crate) mod udp {
    pub const HEADER_LEN: usize = 8;
    pub const LEN: usize = 4;
    pub const CHECKSUM: usize = 6;
}

const TCP: u8 = 6;
const UDP: u8 = 17;

impl Protocol {
    /// Its number (RFC 790).
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
        }
    }

    /// Where its checksum is, from the beginning of its header.
    pub const fn checksum(self) -> usize {
        match self {
            Protocol::Tcp => tcp::CHECKSUM,
            Protocol::Udp => udp::CHECKSUM,
        }
    }

    /// Octets of its header, without options.
    pub const fn header_len(self) -> usize {
        match self {
            Protocol::Tcp => tcp::HEADER_LEN,
            Protocol::Udp => udp::HEADER_LEN,
        }
    }
}

/// Two bytes in network order. The caller knows that they are there.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Writes two bytes in network order. The caller knows that there is room.
#[inline]
pub(crate) fn put(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

impl Layout {
    /// Finds the headers of a frame. `None` where it holds no whole IP packet.
    #[inline]
    pub fn of(frame: &[u8]) -> Option<Layout> {
        let (ether_type, network) = past_tags(frame)?;
        match ether_type {
            ethernet::IPV4 => v4(frame, network),
            ethernet::IPV6 => v6(frame, network),
            _ => None,
        }
    }

    /// The addresses, both in one piece.
    pub fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        match self.version {
            Version::V4 => &frame[self.network..][ipv4::ADDRESSES],
            Version::V6 => &frame[self.network..][ipv6::ADDRESSES],
        }
    }
}

/// The type of the payload, and where it begins.
#[inline]
fn past_tags(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = ethernet::ADDRESSES;
    for _ in 0..ethernet::MAX_TAGS {
        if frame.len() < at + 2 || !ethernet::TAGGED.contains(&word(frame, at)) {
            break;
        }
        at += ethernet::TAG_LEN;
    }
    (frame.len() >= at + 2).then(|| (word(frame, at), at + 2))
}

fn v4(frame: &[u8], network: usize) -> Option<Layout> {
    let header = frame.get(network..network + ipv4::HEADER_LEN)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let end = network + usize::from(word(header, ipv4::TOTAL_LEN));
    if header[0] >> 4 != 4 || header_len < ipv4::HEADER_LEN || network + header_len > end || end > frame.len()
    {
        return None;
    }
    let is_whole = word(header, ipv4::FRAGMENT) & ipv4::FRAGMENT_MASK == 0;
    let transport =
        if is_whole { transport(header[ipv4::PROTOCOL], network + header_len, end) } else { None };
    Some(Layout { version: Version::V4, network, end, transport, is_routed: false })
}

fn v6(frame: &[u8], network: usize) -> Option<Layout> {
    let header = frame.get(network..network + ipv6::HEADER_LEN)?;
    let end = network + ipv6::HEADER_LEN + usize::from(word(header, ipv6::PAYLOAD_LEN));
    if header[0] >> 4 != 6 || end > frame.len() {
        return None;
    }
    let (mut next, mut at) = (header[ipv6::NEXT_HEADER], network + ipv6::HEADER_LEN);
    let mut is_routed = false;
    for _ in 0..ipv6::MAX_EXTENSIONS {
        if !ipv6::EXTENSIONS.contains(&next) || at + 8 > end {
            break;
        }
        is_routed |= next == ipv6::ROUTING;
        (next, at) = (frame[at], at + 8 + 8 * usize::from(frame[at + 1]));
    }
    Some(Layout { version: Version::V6, network, end, transport: transport(next, at, end), is_routed })
}

#[inline]
fn transport(number: u8, at: usize, end: usize) -> Option<(Protocol, usize)> {
    let protocol = match number {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        _ => return None,
    };
    (at + protocol.header_len() <= end).then_some((protocol, at))
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_found_behind_two_tags() {
        let outer = etherparse::VlanId::try_new(7).unwrap();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .double_vlan(outer, outer)
            .ipv6([1; 16], [2; 16], 64)
            .udp(5, 6);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"payload").unwrap();
        frame.extend([0; 9]);
        let layout = Layout::of(&frame).unwrap();
        assert_eq!(layout.version, Version::V6);
        assert_eq!(layout.transport, Some((Protocol::Udp, 22 + 40)));
        assert_eq!(layout.end, frame.len() - 9);
    }

    #[test]
    fn extensions_of_ipv6_are_looked_through_and_fragments_are_not() {
        let mut frame = [0u8; 14 + 40 + 8 + 8 + 8];
        frame[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
        frame[14] = 0x60;
        frame[14 + ipv6::PAYLOAD_LEN + 1] = 24;
        frame[14 + ipv6::NEXT_HEADER] = 60;
        frame[54] = 0;
        frame[62] = UDP;
        let layout = Layout::of(&frame).unwrap();
        assert_eq!((layout.transport, layout.is_routed), (Some((Protocol::Udp, 70)), false));
        frame[54] = ipv6::ROUTING;
        let layout = Layout::of(&frame).unwrap();
        assert_eq!((layout.transport, layout.is_routed), (Some((Protocol::Udp, 70)), true));
        frame[62] = 44;
        assert_eq!(Layout::of(&frame).unwrap().transport, None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_layout_within_them_or_none(mut frame in prop::collection::vec(any::<u8>(), 0..120), kind in 0usize..6) {
            let types = [ethernet::IPV4, ethernet::IPV6, 0x8100, 0x88a8, 0x0806, 0x86dd];
            if frame.len() > 15 {
                frame[12..14].copy_from_slice(&types[kind].to_be_bytes());
                frame[14] = if kind == 0 { 0x45 } else { 0x60 };
            }
            if let Some(layout) = Layout::of(&frame) {
                prop_assert!(layout.end <= frame.len());
                let _ = layout.addresses(&frame);
                if let Some((protocol, at)) = layout.transport {
                    prop_assert!(at > layout.network && at + protocol.header_len() <= layout.end);
                }
            }
        }

        /// etherparse finds the same.
        #[test]
        fn what_is_found_is_what_etherparse_finds(is_tcp: bool, is_v4: bool, payload in prop::collection::vec(any::<u8>(), 0..60), pad in 0usize..20) {
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
            let builder = if is_v4 { builder.ipv4([1; 4], [2; 4], 64) } else { builder.ipv6([1; 16], [2; 16], 64) };
            let mut frame = Vec::new();
            if is_tcp { builder.tcp(1, 2, 3, 4).write(&mut frame, &payload) } else { builder.udp(1, 2).write(&mut frame, &payload) }.unwrap();
            frame.extend(std::iter::repeat_n(0, pad));
            let layout = Layout::of(&frame).unwrap();
            let (protocol, at) = layout.transport.unwrap();
            prop_assert_eq!(layout.end, frame.len() - pad);
            match SlicedPacket::from_ethernet(&frame).unwrap().transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    prop_assert_eq!(protocol, Protocol::Tcp);
                    prop_assert_eq!(tcp.slice().as_ptr(), frame[at..].as_ptr());
                }
                Some(TransportSlice::Udp(udp)) => {
                    prop_assert_eq!(protocol, Protocol::Udp);
                    prop_assert_eq!(udp.slice().as_ptr(), frame[at..].as_ptr());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
