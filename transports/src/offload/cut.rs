//! Cuts a packet up: into the TCP segments or UDP datagrams that its sender would have sent without a network
//! card that does it.
//!
//! What of the headers every segment repeats and what is its own is as Linux has it (`tcp_gso_segment`,
//! `net/ipv4/tcp_offload.c`; `__udp_gso_segment`, `net/ipv4/udp_offload.c`; `inet_gso_segment`,
//! `net/ipv4/af_inet.c`; `ipv6_gso_segment`, `net/ipv6/ip6_offload.c`).

use super::FinishError;
use super::checksum::{self, Sum};
use super::layout::{Layout, Protocol, Version, ipv4, ipv6, put, tcp, udp, word};

/// A packet in its frame, and where it is to be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    /// The frame up to the end of its packet.
    frame: &'a [u8],
    version: Version,
    network: usize,
    protocol: Protocol,
    transport: usize,
    /// Octets of all headers.
    headers_len: usize,
    /// Octets of payload in each segment but the last.
    payload_len: usize,
    count: usize,
}

impl<'a> Cut<'a> {
    /// Cuts what is behind the first `headers_len` octets of `frame` after every `payload_len` octets.
    /// `transport` is that of `layout`, which is that of the frame.
    pub fn new(
        frame: &'a [u8],
        layout: &Layout,
        (protocol, transport): (Protocol, usize),
        headers_len: usize,
        payload_len: usize,
    ) -> Result<Cut<'a>, FinishError> {
        let Layout { version, network, end, .. } = *layout;
        if headers_len < transport + protocol.header_len() || headers_len >= end || payload_len == 0 {
            return Err(FinishError::Indivisible { headers_len, end, payload_len });
        }
        let count = (end - headers_len).div_ceil(payload_len);
        let frame = &frame[..end];
        Ok(Cut { frame, version, network, protocol, transport, headers_len, payload_len, count })
    }

    /// How many segments there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The length of the frame of a segment, numbered from zero on.
    pub fn len_of(&self, number: usize) -> usize {
        self.headers_len + self.payload_len.min(self.frame.len() - self.payload_at(number))
    }

    /// Octets of all segments' frames.
    pub fn total_len(&self) -> usize {
        self.frame.len() - self.headers_len + self.count * self.headers_len
    }

    fn payload_at(&self, number: usize) -> usize {
        self.headers_len + number * self.payload_len
    }

    /// Writes the frame of a segment to `segment`, which has [its length](Cut::len_of).
    pub fn write(&self, number: usize, segment: &mut [u8]) {
        let (headers, payload) = segment.split_at_mut(self.headers_len);
        headers.copy_from_slice(&self.frame[..self.headers_len]);
        payload.copy_from_slice(&self.frame[self.payload_at(number)..][..payload.len()]);
        self.finish_network(number, &mut segment[self.network..]);
        self.finish_transport(number, &mut segment[self.transport..]);
    }

    /// Makes the IP header of a segment its own. `packet` is no longer than the one that is cut: lengths fit.
    fn finish_network(&self, number: usize, packet: &mut [u8]) {
        match self.version {
            Version::V4 => {
                put(packet, ipv4::TOTAL_LEN, packet.len() as u16);
                let identification = word(packet, ipv4::IDENTIFICATION).wrapping_add(number as u16);
                put(packet, ipv4::IDENTIFICATION, identification);
                put(packet, ipv4::CHECKSUM, 0);
                let header_len = usize::from(packet[0] & 0x0f) * 4;
                let checksum = Sum::default().add(&packet[..header_len]).finish();
                put(packet, ipv4::CHECKSUM, checksum);
            }
            Version::V6 => put(packet, ipv6::PAYLOAD_LEN, (packet.len() - ipv6::HEADER_LEN) as u16),
        }
    }

    /// Makes the transport header of a segment its own.
    fn finish_transport(&self, number: usize, bytes: &mut [u8]) {
        match self.protocol {
            Protocol::Tcp => {
                let first = bytes[tcp::SEQUENCE..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
                // Sequence numbers are modulo 2^32 (RFC 9293 §3.4).
                let sequence = first.wrapping_add((number * self.payload_len) as u32);
                bytes[tcp::SEQUENCE..tcp::SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
                if number + 1 < self.count {
                    bytes[tcp::FLAGS] &= !(tcp::FIN | tcp::PSH);
                }
                if number > 0 {
                    // The answer to a congestion mark is given once (RFC 3168 §6.1.2).
                    bytes[tcp::FLAGS] &= !tcp::CWR;
                }
            }
            Protocol::Udp => put(bytes, udp::LEN, bytes.len() as u16),
        }
        // The sender has summed the pseudo-header of the whole packet, which differs in its length alone.
        // Nothing else knows the addresses that it has summed: behind a routing header they are others (RFC
        // 8200 §8.1).
        let (at, whole_len) = (self.protocol.checksum(), self.frame.len() - self.transport);
        let whole = Sum::default().add_number(word(bytes, at));
        let partial = whole.add_number(!(whole_len as u16)).add_number(bytes.len() as u16).fold();
        put(bytes, at, partial);
        checksum::complete(bytes, at);
    }
}
