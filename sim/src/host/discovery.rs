//! The frames by which hosts find each other: ARP (RFC 826) and neighbour discovery (RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use mvpnet_switch::{Rank, UlaPrefix};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

fn hardware(rank: Rank) -> EthernetAddress {
    EthernetAddress(rank.mac().octets())
}

/// Whose hardware address a frame tells, if it is an answer.
pub(super) fn answer(frame: &EthernetFrame<&[u8]>) -> Option<IpAddr> {
    match frame.ethertype() {
        EthernetProtocol::Arp => {
            let packet = ArpPacket::new_checked(frame.payload()).ok()?;
            let ArpRepr::EthernetIpv4 { operation, source_protocol_addr, .. } =
                ArpRepr::parse(&packet).ok()?
            else {
                return None;
            };
            (operation == ArpOperation::Reply).then_some(source_protocol_addr.into())
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            let (source, destination) = (packet.src_addr(), packet.dst_addr());
            if packet.next_header() != IpProtocol::Icmpv6 {
                return None;
            }
            let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
            let checksums = ChecksumCapabilities::default();
            match Icmpv6Repr::parse(&source, &destination, &message, &checksums).ok()? {
                Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, .. }) => Some(target_addr.into()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The frame by which a rank asks for a neighbour's hardware address.
pub(super) fn question(me: Rank, neighbor: IpAddr) -> Rc<[u8]> {
    match neighbor {
        IpAddr::V4(neighbor) => {
            arp(ArpOperation::Request, hardware(me), me.ipv4(), EthernetAddress::BROADCAST, neighbor)
        }
        IpAddr::V6(neighbor) => {
            let group = solicited_node(neighbor);
            let source =
                if neighbor.is_unicast_link_local() { me.link_local() } else { me.ula(UlaPrefix::default()) };
            let solicitation =
                NdiscRepr::NeighborSolicit { target_addr: neighbor, lladdr: Some(hardware(me).into()) };
            let [.., a, b, c, d] = group.octets();
            let to = EthernetAddress([0x33, 0x33, a, b, c, d]); // RFC 2464 §7
            discovery(hardware(me), to, source, group, solicitation)
        }
    }
}

/// The frame that tells a rank's stack who is behind an address.
pub(super) fn introduction(me: Rank, from: EthernetAddress, source: IpAddr) -> Rc<[u8]> {
    match source {
        IpAddr::V4(source) => arp(ArpOperation::Reply, from, source, hardware(me), me.ipv4()),
        IpAddr::V6(source) => {
            let advertisement = NdiscRepr::NeighborAdvert {
                flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
                target_addr: source,
                lladdr: Some(from.into()),
            };
            discovery(from, hardware(me), source, me.link_local(), advertisement)
        }
    }
}

/// RFC 4291 §2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Address {
    let [.., a, b, c] = address.octets();
    Ipv6Address::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c))
}

fn header(
    from: EthernetAddress,
    to: EthernetAddress,
    ethertype: EthernetProtocol,
    payload: usize,
) -> Vec<u8> {
    let header = EthernetRepr { src_addr: from, dst_addr: to, ethertype };
    let mut bytes = vec![0; header.buffer_len() + payload];
    header.emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    bytes
}

fn arp(
    operation: ArpOperation,
    from: EthernetAddress,
    source: Ipv4Addr,
    to: EthernetAddress,
    target: Ipv4Addr,
) -> Rc<[u8]> {
    let packet = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: from,
        source_protocol_addr: source,
        target_hardware_addr: to,
        target_protocol_addr: target,
    };
    let mut bytes = header(from, to, EthernetProtocol::Arp, packet.buffer_len());
    let at = bytes.len() - packet.buffer_len();
    packet.emit(&mut ArpPacket::new_unchecked(&mut bytes[at..]));
    Rc::from(bytes)
}

fn discovery(
    from: EthernetAddress,
    to: EthernetAddress,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: NdiscRepr<'_>,
) -> Rc<[u8]> {
    let message = Icmpv6Repr::Ndisc(message);
    let ip = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: 255, // RFC 4861 §7.1
    };
    let len = ip.buffer_len() + message.buffer_len();
    let mut bytes = header(from, to, EthernetProtocol::Ipv6, len);
    let at = bytes.len() - len;
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes[at..]);
    ip.emit(&mut packet);
    message.emit(
        &source,
        &destination,
        &mut Icmpv6Packet::new_unchecked(packet.payload_mut()),
        &ChecksumCapabilities::default(),
    );
    Rc::from(bytes)
}
