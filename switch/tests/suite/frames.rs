//! Frames to feed to a switch, written out byte by byte where the switch's own code would otherwise be
//! checked against itself.

#![allow(clippy::unwrap_used, reason = "the values are constants")]

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv6Slice, Ipv4Header, Ipv6Header, UdpHeader};
use mvpnet_switch::{Config, Ingress, Instant, MacAddr, Rank, Switch, Verdict, Vni, World};

/// A type that nothing in the switch looks at, one of those for local experiments (RFC 9542 §3).
pub const EXPERIMENT: u16 = 0x88b5;
pub const CONTAINER: MacAddr = MacAddr::new([0x02, 0x42, 0xac, 0x11, 0, 2]);
pub const OTHER_CONTAINER: MacAddr = MacAddr::new([0x02, 0x42, 0xac, 0x11, 0, 3]);

pub fn world(size: u32) -> World {
    World::new(size).unwrap()
}

pub fn rank(index: u32) -> Rank {
    world(World::MAX_SIZE).rank(index).unwrap()
}

/// Rank 0 of four, with the default settings.
pub fn switch() -> Switch {
    Switch::new(config())
}

pub fn config() -> Config {
    Config::new(rank(0), world(4))
}

pub fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

/// What the switch decides about a whole frame of its guest.
pub fn from_guest(switch: &mut Switch, frame: &[u8]) -> Verdict {
    switch.decide(Instant::ZERO, Ingress::Guest, frame, frame.len())
}

pub fn ethernet(destination: MacAddr, source: MacAddr, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(destination.octets());
    frame.extend(source.octets());
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame that only its addresses say anything about.
pub fn plain(destination: MacAddr, source: MacAddr) -> Vec<u8> {
    ethernet(destination, source, EXPERIMENT, &[0; 46])
}

/// The frame with VLAN tags of these types put in.
pub fn tagged(frame: &[u8], types: &[u16]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    for tag in types {
        tagged.extend(tag.to_be_bytes());
        tagged.extend([0x20, 0x05]);
    }
    tagged.extend(&frame[12..]);
    tagged
}

pub const REQUEST: u16 = 1;
pub const REPLY: u16 = 2;

/// An ARP packet in a broadcast frame. The target's MAC is unknown, as in requests.
pub fn arp(operation: u16, sender: (MacAddr, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend(sender.0.octets());
    packet.extend(sender.1.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    packet.resize(46, 0);
    ethernet(MacAddr::BROADCAST, sender.0, 0x0806, &packet)
}

/// Rank 0 asks who has `target`.
pub fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    arp(REQUEST, (rank(0).mac(), rank(0).ipv4()), target)
}

/// An ICMPv6 message with a valid checksum, from rank 0's MAC.
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let sum = internet_checksum(&[
        &source.octets(),
        &destination.octets(),
        &(message.len() as u32).to_be_bytes(),
        &[0, 0, 0, 58],
        &message,
    ]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((message.len() as u16).to_be_bytes());
    packet.extend([58, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(message);
    let [.., a, b, c, d] = destination.octets();
    ethernet(MacAddr::new([0x33, 0x33, a, b, c, d]), rank(0).mac(), 0x86dd, &packet)
}

/// RFC 1071, the straightforward way.
fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum as u16
}

pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// A neighbour solicitation's ICMPv6 message.
pub fn solicitation(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), options].concat()
}

/// The source link-layer address option of rank 0.
pub fn source_option() -> Vec<u8> {
    [&[1, 1][..], &rank(0).mac().octets()].concat()
}

/// Rank 0 solicits `target` in the usual way.
pub fn neighbor_solicitation(target: Ipv6Addr) -> Vec<u8> {
    let message = solicitation(target, &source_option());
    icmpv6(rank(0).link_local(), solicited_node(target), 255, &message)
}

/// Rank 0 asks for routers.
pub fn router_solicitation(source: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0];
    if !source.is_unspecified() {
        message.extend(source_option());
    }
    icmpv6(source, "ff02::2".parse().unwrap(), 255, &message)
}

/// Takes an answer apart and checks everything that etherparse can check: Ethernet, IPv6, ICMPv6 checksum.
pub fn icmpv6_of(reply: &[u8]) -> (Ipv6Header, Vec<u8>) {
    assert_eq!(reply[12..14], [0x86, 0xdd]);
    let (ip, rest) = Ipv6Header::from_slice(&reply[14..]).unwrap();
    assert_eq!(rest.len(), usize::from(ip.payload_length));
    assert!(Icmpv6Slice::from_slice(rest).unwrap().is_checksum_valid(ip.source, ip.destination));
    (ip, rest.to_vec())
}

/// A DHCP message in UDP, IPv4 and Ethernet, from rank 0's MAC.
pub fn dhcp(destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let source = [0; 4];
    let mut ip = Ipv4Header::new(
        (8 + message.len()) as u16,
        64,
        etherparse::IpNumber::UDP,
        source,
        destination.octets(),
    )
    .unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    let udp = UdpHeader::with_ipv4_checksum(68, 67, &ip, message).unwrap();
    let packet = [&ip.to_bytes()[..], &udp.to_bytes(), message].concat();
    ethernet(MacAddr::BROADCAST, rank(0).mac(), 0x0800, &packet)
}

/// The message of a DHCP client at `mac`, with these options.
pub fn dhcp_message(mac: MacAddr, message_type: u8, options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef];
    message.resize(28, 0);
    message.extend(mac.octets());
    message.resize(236, 0);
    message.extend([99, 130, 83, 99, 53, 1, message_type]);
    message.extend(options.concat());
    message.push(255);
    message
}

/// Rank 0's client looks for a server.
pub fn dhcp_discover() -> Vec<u8> {
    dhcp(Ipv4Addr::BROADCAST, &dhcp_message(rank(0).mac(), 1, &[]))
}

/// An IPv4 packet of `len` bytes that must not be fragmented, from one rank to another: a UDP datagram as far
/// as anyone looks. The change is made before its header's checksum.
pub fn ipv4(len: u16, from: Rank, to: Rank, change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let source = from.ipv4().octets();
    let mut ip =
        Ipv4Header::new(len - 20, 64, etherparse::IpNumber::UDP, source, to.ipv4().octets()).unwrap();
    ip.dont_fragment = true;
    change(&mut ip);
    ip.header_checksum = ip.calc_header_checksum();
    let mut packet = ip.to_bytes().to_vec();
    packet.extend((0..).take(usize::from(len).saturating_sub(packet.len())).map(|byte: usize| byte as u8));
    ethernet(to.mac(), from.mac(), 0x0800, &packet)
}

/// An IPv6 packet of `len` bytes, likewise, whose payload begins as given.
pub fn ipv6(len: u16, from: Rank, to: Rank, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((len - 40).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(from.link_local().octets());
    packet.extend(to.link_local().octets());
    packet.extend(payload);
    packet.resize(usize::from(len), 0xa5);
    ethernet(to.mac(), from.mac(), 0x86dd, &packet)
}
