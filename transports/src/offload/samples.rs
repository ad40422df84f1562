//! Frames to test with, and what etherparse says about them.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::layout::{Protocol, ethernet, put, word};

/// What a frame is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub is_v4: bool,
    pub protocol: Protocol,
    /// VLAN tags in front.
    pub tags: usize,
    /// Options of IPv4; hop-by-hop options and a routing header of IPv6.
    pub has_options: bool,
}

impl Shape {
    /// Any of them.
    pub fn any() -> impl Strategy<Value = Shape> {
        (any::<bool>(), any::<bool>(), 0..=ethernet::MAX_TAGS, any::<bool>()).prop_map(
            |(is_v4, is_tcp, tags, has_options)| {
                let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
                Shape { is_v4, protocol, tags, has_options }
            },
        )
    }

    /// Where the IP header of the frame begins.
    pub fn network(&self) -> usize {
        ethernet::HEADER_LEN + self.tags * ethernet::TAG_LEN
    }

    /// Where the transport header of the frame begins.
    pub fn transport(&self) -> usize {
        let options = match (self.is_v4, self.has_options) {
            (true, true) => 4,
            (false, true) => 8 + 24,
            (_, false) => 0,
        };
        self.network() + if self.is_v4 { 20 } else { 40 } + options
    }

    /// Octets of all headers of the frame.
    pub fn headers_len(&self) -> usize {
        // TCP has a timestamp.
        self.transport() + if self.protocol == Protocol::Tcp { 32 } else { 8 }
    }

    /// A frame of one packet, with right checksums.
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(self.is_v4, self.protocol, payload);
        if self.has_options {
            self.add_options(&mut frame);
        }
        for tag in 0..self.tags {
            let kind = if tag == 0 { [0x81, 0] } else { [0x88, 0xa8] };
            frame.splice(12..12, [kind[0], kind[1], 0, 7 + tag as u8]);
        }
        frame
    }

    /// The frame with nothing done that can be left to others.
    pub fn unfinished(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.frame(payload);
        let network = self.network();
        let addresses = if self.is_v4 { network + 12..network + 20 } else { network + 8..network + 40 };
        let len = (frame.len() - self.transport()) as u16;
        let sum = plain_sum(&[&frame[addresses], &[0, self.protocol.number()], &len.to_be_bytes()].concat());
        put(&mut frame, self.transport() + self.protocol.checksum(), sum);
        frame
    }

    fn add_options(&self, frame: &mut Vec<u8>) {
        if self.is_v4 {
            // A no-operation thrice, and the end of options (RFC 791 §3.1).
            frame.splice(34..34, [1, 1, 1, 0]);
            frame[14] = 0x46;
            let len = word(frame, 16) + 4;
            put(frame, 16, len);
            put(frame, 24, 0);
            let checksum = !plain_sum(&frame[14..38]);
            put(frame, 24, checksum);
        } else {
            // A router alert; and a routing header of type 2 whose last segment has been reached (RFC 8200
            // §4.4).
            let mut extensions = vec![43, 0, 5, 2, 0, 0, 1, 0];
            extensions.extend([self.protocol.number(), 2, 2, 0, 0, 0, 0, 0]);
            extensions.extend([0xfc; 16]);
            let len = word(frame, 18) + extensions.len() as u16;
            put(frame, 18, len);
            frame[20] = 0;
            frame.splice(54..54, extensions);
        }
    }
}

/// The sum of words, one after the other (RFC 1071 §1).
pub(crate) fn plain_sum(bytes: &[u8]) -> u16 {
    let sum: u64 = bytes
        .chunks(2)
        .map(|word| u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])))
        .sum();
    let folded = std::iter::successors(Some(sum), |sum| Some((sum & 0xffff) + (sum >> 16)));
    folded.take(5).last().map_or(0, |sum| sum as u16)
}

/// A frame of one packet without tags and options, with right checksums.
pub(crate) fn frame(is_v4: bool, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
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

/// The same with a partial checksum.
pub(crate) fn unfinished(is_v4: bool, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    Shape { is_v4, protocol, tags: 0, has_options: false }.unfinished(payload)
}

/// What etherparse says about all checksums of a frame.
pub(crate) fn checksums_are_right(frame: &[u8]) -> Result<(), String> {
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
