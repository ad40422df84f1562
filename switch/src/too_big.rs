//! Tells the sender of an oversize IP packet how long its packets may be, so that path MTU discovery
//! (RFC 1191, RFC 8201) finds out what otherwise would be silence.
//!
//! A switch has no address to speak from: the message comes from the packet's destination, as if its host
//! had a link with that MTU. It quotes as much of the packet as the head has and as a message may have.

use std::net::Ipv4Addr;

use etherparse::icmpv4::{
    DestUnreachableHeader, TYPE_DEST_UNREACH, TYPE_PARAMETER_PROBLEM, TYPE_REDIRECT, TYPE_SOURCE_QUENCH,
    TYPE_TIME_EXCEEDED,
};
use etherparse::icmpv6::TYPE_REDIRECT_MESSAGE;
use etherparse::{
    EtherType, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, Ipv4Header, Ipv4HeaderSlice,
    Ipv6ExtensionSlice, Ipv6ExtensionsSlice, Ipv6FlowLabel, Ipv6Header, Ipv6HeaderSlice,
};

use crate::Instant;
use crate::config::FrameLimit;
use crate::frame::{HEAD_LEN, Head};
use crate::reply::Reply;
use crate::token_bucket::TokenBucket;

/// How many messages a second one port gets: RFC 4443 §2.4 (f) asks for a limit.
const PER_SECOND: u32 = 1000;
/// The smallest MTU of IPv4 (RFC 791 §3.2).
const MIN_MTU_V4: usize = 68;
/// The smallest MTU of IPv6 (RFC 8200 §5). Hosts ignore a message that names a smaller one (RFC 8201 §4).
const MIN_MTU_V6: usize = 1280;
/// The longest message in IPv4, with its IP header (RFC 1812 §4.3.2.3).
const MAX_LEN_V4: usize = 576;
/// The longest message in IPv6, with its IP header (RFC 4443 §2.4 (c)).
const MAX_LEN_V6: usize = MIN_MTU_V6;
/// The header of either message, up to the quoted packet.
const ICMP_HEADER_LEN: usize = 8;
/// What has to be quoted beyond an IPv4 header (RFC 792, RFC 1122 §3.2.2).
const MIN_QUOTED_PAYLOAD: usize = 8;
const TIME_TO_LIVE: u8 = 64;

/// Makes the messages for one port, not too many of them.
#[derive(Debug)]
pub(crate) struct TooBig {
    rate: TokenBucket,
}

/// An oversize packet whose sender can be told.
#[derive(Debug)]
enum Packet<'a> {
    V4 { source: [u8; 4], destination: [u8; 4], quote: &'a [u8] },
    V6 { source: [u8; 16], destination: [u8; 16], quote: &'a [u8] },
}

impl Default for TooBig {
    fn default() -> TooBig {
        TooBig { rate: TokenBucket::new(PER_SECOND) }
    }
}

impl TooBig {
    /// Makes the message about an oversize frame, if there is one to be made. It has the frame's tags.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        head: &Head<'_>,
        limit: FrameLimit,
        reply: &mut Reply,
    ) -> bool {
        if head.destination().is_multicast() || head.source().is_multicast() {
            return false;
        }
        let mtu = limit.mtu_behind(head.tags());
        let packet = match head.payload_type() {
            EtherType::IPV4 => read_v4(head.payload(), mtu),
            EtherType::IPV6 => read_v6(head.payload(), mtu),
            _ => None,
        };
        match packet {
            Some(packet) if self.rate.take(now) => {
                write(&packet, mtu, head, reply);
                true
            }
            _ => false,
        }
    }
}

/// RFC 1122 §3.2.2 lists what is not answered: other ICMP errors, what is not for or from a single host, and
/// later fragments. What may be fragmented is a router's to fragment, which a switch is not.
fn read_v4(packet: &[u8], mtu: usize) -> Option<Packet<'_>> {
    let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let header_len = ip.slice().len();
    let is_too_big = usize::from(ip.total_len()) > mtu && mtu >= MIN_MTU_V4;
    if !is_too_big || !ip.dont_fragment() || ip.fragments_offset().value() != 0 {
        return None;
    }
    if ip.to_header().calc_header_checksum() != ip.header_checksum() {
        return None;
    }
    if !is_single_host(ip.source_addr()) || !is_single_host(ip.destination_addr()) {
        return None;
    }
    let end = packet.len().min(usize::from(ip.total_len()));
    let payload = packet[..end].get(header_len..).filter(|payload| payload.len() >= MIN_QUOTED_PAYLOAD)?;
    if ip.protocol() == IpNumber::ICMP && is_icmpv4_error(payload[0]) {
        return None;
    }
    let longest = MAX_LEN_V4.min(mtu) - Ipv4Header::MIN_LEN - ICMP_HEADER_LEN;
    if longest < header_len + MIN_QUOTED_PAYLOAD {
        // Options can make a header longer than a message about it may be.
        return None;
    }
    let quote = &packet[..end.min(longest)];
    Some(Packet::V4 { source: ip.source(), destination: ip.destination(), quote })
}

fn is_single_host(address: Ipv4Addr) -> bool {
    // 240.0.0.0/4 is reserved and has the broadcast address in it (RFC 1112 §4).
    let [first, ..] = address.octets();
    !(first == 0 || first >= 240 || address.is_loopback() || address.is_multicast())
}

fn is_icmpv4_error(icmp_type: u8) -> bool {
    [TYPE_DEST_UNREACH, TYPE_SOURCE_QUENCH, TYPE_REDIRECT, TYPE_TIME_EXCEEDED, TYPE_PARAMETER_PROBLEM]
        .contains(&icmp_type)
}

/// RFC 4443 §2.4 (e), but for packets to groups: they are not answered either, as no single host is there to
/// speak for.
fn read_v6(packet: &[u8], mtu: usize) -> Option<Packet<'_>> {
    let ip = Ipv6HeaderSlice::from_slice(packet).ok()?;
    let len = Ipv6Header::LEN + usize::from(ip.payload_length());
    if len <= mtu || mtu < MIN_MTU_V6 {
        return None;
    }
    let (source, destination) = (ip.source_addr(), ip.destination_addr());
    if [source, destination].iter().any(|end| end.is_unspecified() || end.is_loopback() || end.is_multicast())
    {
        return None;
    }
    let quote = &packet[..packet.len().min(len).min(MAX_LEN_V6 - Ipv6Header::LEN - ICMP_HEADER_LEN)];
    // Within a switch's usual view of a frame, so that the steps are few.
    let payload = &quote[Ipv6Header::LEN..quote.len().min(HEAD_LEN)];
    let (extensions, protocol, payload) = Ipv6ExtensionsSlice::from_slice(ip.next_header(), payload).ok()?;
    let is_later_fragment = |extension: Ipv6ExtensionSlice<'_>| matches!(extension, Ipv6ExtensionSlice::Fragment(fragment) if fragment.fragment_offset().value() != 0);
    if extensions.into_iter().any(is_later_fragment) {
        return None;
    }
    if protocol == IpNumber::IPV6_ICMP && is_icmpv6_error(*payload.first()?) {
        return None;
    }
    Some(Packet::V6 { source: ip.source(), destination: ip.destination(), quote })
}

/// RFC 4443 §2.1; a redirect counts as one (§2.4 (e.2)).
fn is_icmpv6_error(icmp_type: u8) -> bool {
    icmp_type < 128 || icmp_type == TYPE_REDIRECT_MESSAGE
}

fn write(packet: &Packet<'_>, mtu: usize, head: &Head<'_>, reply: &mut Reply) {
    let (to, from) = (head.source().octets(), head.destination().octets());
    let tags_and_type = head.tags_and_type();
    match *packet {
        Packet::V4 { source, destination, quote } => {
            let next_hop_mtu = mtu as u16; // shorter than a packet of IPv4
            let message = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu };
            let icmp = Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(message), quote);
            let len = (ICMP_HEADER_LEN + quote.len()) as u16;
            let ip = Ipv4Header::new(len, TIME_TO_LIVE, IpNumber::ICMP, destination, source);
            let mut ip = ip.expect("the message is far shorter than 2^16 bytes");
            ip.header_checksum = ip.calc_header_checksum();
            reply.assemble(&[&to, &from, tags_and_type, &ip.to_bytes(), &icmp.to_bytes(), quote]);
        }
        Packet::V6 { source, destination, quote } => {
            let message = Icmpv6Type::PacketTooBig { mtu: mtu as u32 };
            let icmp = Icmpv6Header::with_checksum(message, destination, source, quote)
                .expect("the quote is far shorter than 2^32 bytes");
            let ip = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: (ICMP_HEADER_LEN + quote.len()) as u16,
                next_header: IpNumber::IPV6_ICMP,
                hop_limit: TIME_TO_LIVE,
                source: destination,
                destination: source,
            };
            reply.assemble(&[&to, &from, tags_and_type, &ip.to_bytes(), &icmp.to_bytes(), quote]);
        }
    }
}
