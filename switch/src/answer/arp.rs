//! ARP (RFC 826), answered for every rank of the job.

use etherparse::{ArpEthIpv4Packet, ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType, Ethernet2Header};

use super::{Answer, Reply};
use crate::frame::Head;
use crate::{Config, Control, DropReason, Rank, ReplyKind, World};

/// Answers a request for a rank's address, stops what the guest network does not need, and lets the rest
/// pass: replies, and requests about networks that guests have made for themselves.
pub(super) fn answer(config: &Config, head: &Head<'_>, reply: &mut Reply) -> Result<Answer, DropReason> {
    let packet = read(head.payload()).ok_or(DropReason::ArpMalformed)?;
    let (sender, target) = (packet.sender_ipv4_addr(), packet.target_ipv4_addr());
    if sender == target && World::is_network_address(sender) {
        // An announcement, as request or as reply (RFC 5227 §1.1, §3): the addresses of ranks are known.
        return Err(DropReason::GratuitousArp);
    }
    match config.world.rank_of_ipv4(sender) {
        Some(rank) if rank != config.me => return Err(DropReason::ForgedArp),
        _ => {}
    }
    if packet.operation != ArpOperation::REQUEST || !World::is_network_address(target) {
        return Ok(Answer::NotForUs);
    }
    match config.world.rank_of_ipv4(target) {
        // The guest asks whether anyone else has its address (RFC 5227 §2.1.1). Nobody can.
        Some(rank) if rank == config.me => Err(DropReason::GratuitousArp),
        Some(rank) => {
            write(rank, &packet, head, reply);
            Ok(Answer::Reply(ReplyKind::Arp))
        }
        None if target == World::SHUTDOWN_ADDRESS && config.shutdown_by_arp => {
            Ok(Answer::Control(Control::Shutdown))
        }
        None if target == World::SHUTDOWN_ADDRESS => Err(DropReason::ShutdownIgnored),
        None => Err(DropReason::ArpAbsentRank),
    }
}

/// Finds a request for the shutdown address; everything else is between the hosts behind the tunnel.
pub(super) fn answer_before_tunnel(config: &Config, head: &Head<'_>) -> Answer {
    let asks_for_shutdown = |packet: ArpEthIpv4Packet| {
        let (sender, target) = (packet.sender_ipv4_addr(), packet.target_ipv4_addr());
        packet.operation == ArpOperation::REQUEST && target == World::SHUTDOWN_ADDRESS && sender != target
    };
    if config.shutdown_by_arp && read(head.payload()).is_some_and(asks_for_shutdown) {
        Answer::Control(Control::Shutdown)
    } else {
        Answer::NotForUs
    }
}

/// Reads a packet about Ethernet and IPv4.
fn read(payload: &[u8]) -> Option<ArpEthIpv4Packet> {
    let packet = ArpPacketSlice::from_slice(payload).ok()?;
    let types = (packet.hw_addr_type(), packet.proto_addr_type());
    if types != (ArpHardwareId::ETHERNET, EtherType::IPV4) {
        return None;
    }
    Some(ArpEthIpv4Packet {
        operation: packet.operation(),
        sender_mac: packet.sender_hw_addr().try_into().ok()?,
        sender_ipv4: packet.sender_protocol_addr().try_into().ok()?,
        target_mac: packet.target_hw_addr().try_into().ok()?,
        target_ipv4: packet.target_protocol_addr().try_into().ok()?,
    })
}

/// RFC 826, "Packet Reception": swap sender and target, and put in the address that was asked for.
fn write(rank: Rank, request: &ArpEthIpv4Packet, head: &Head<'_>, reply: &mut Reply) {
    let ethernet = Ethernet2Header {
        source: rank.mac().octets(),
        destination: head.source().octets(),
        ether_type: EtherType::ARP,
    };
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REPLY,
        sender_mac: rank.mac().octets(),
        sender_ipv4: rank.ipv4().octets(),
        target_mac: request.sender_mac,
        target_ipv4: request.sender_ipv4,
    };
    reply.assemble(&[&ethernet.to_bytes(), &packet.to_bytes()]);
}
