//! DHCP (RFC 2131): gives the guest the address that is its rank's, for ever.
//!
//! There is no pool and no lease to remember. What a client may want is all computed from the rank, so that
//! an image without cloud-init comes up with its address, host name and MTU.

mod message;

use std::net::Ipv4Addr;

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv4HeaderSlice, UdpHeader, UdpSlice};

use self::message::{MessageType, Op, Repr, View};
use super::{Answer, Reply};
use crate::frame::Head;
use crate::rank::NETMASK;
use crate::{Config, Control, DropReason, MacAddr, ReplyKind, World};

/// The address by which the server is known: the dummy address of RFC 7600 §6, which no host has.
///
/// An address of the guest network would do harm: a client that wants to talk to its server would ask for
/// it by ARP, and the only addresses there that are no rank's mean something else, one of them shutdown.
/// This one is on no link of the guest, so that it is never asked for.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// RFC 2131 §4.1.
const SERVER_PORT: u16 = 67;
/// RFC 2131 §4.1.
const CLIENT_PORT: u16 = 68;
/// A lease without end (RFC 2131 §3.3).
const INFINITE: u32 = u32::MAX;
/// The smallest MTU that the option can say (RFC 2132 §5.1).
const MIN_MTU: u16 = 68;
const TIME_TO_LIVE: u8 = 64;
/// What is left for the message in the 576 bytes of IPv4 that every client takes (RFC 2131 §2).
const MAX_MESSAGE_LEN: usize = 576 - Ipv4Header::MIN_LEN - UdpHeader::LEN;

/// The guest's name as it is sent, made once: formatting it for every answer would allocate.
#[derive(Debug)]
pub(super) struct HostName(String);

impl HostName {
    pub(super) fn new(config: &Config) -> HostName {
        HostName(config.me.host_name())
    }
}

/// Answers the guest's own client. Those of containers and nested guests have other hardware addresses,
/// and their messages pass like any other frame, as do those to servers that the user runs.
pub(super) fn answer(
    config: &Config,
    host_name: &HostName,
    head: &Head<'_>,
    reply: &mut Reply,
) -> Result<Answer, DropReason> {
    let for_a_server = head.destination().is_broadcast() || head.destination() == MacAddr::SWITCH;
    if !for_a_server || head.source() != config.me.mac() {
        return Ok(Answer::NotForUs);
    }
    let Some(bytes) = read(head.payload()) else { return Ok(Answer::NotForUs) };
    let view = View::new_checked(bytes).map_err(|_| DropReason::DhcpMalformed)?;
    let from_own_client = view.op() == Some(Op::Request)
        && (!view.is_ethernet() || view.hardware_address() == config.me.mac())
        && view.relay_address().is_unspecified();
    if !from_own_client {
        return Ok(Answer::NotForUs);
    }
    let request = Repr::parse(&view).map_err(|_| DropReason::DhcpMalformed)?;
    let message_type = request.message_type.ok_or(DropReason::DhcpUnserved)?;
    let kind = match message_type {
        MessageType::DISCOVER => ReplyKind::DhcpOffer,
        MessageType::REQUEST => answer_to_request(config, &request)?,
        // RFC 2131 §4.3.5: the client has its address from elsewhere and wants the rest.
        MessageType::INFORM if request.client_address.is_unspecified() => {
            return Err(DropReason::DhcpMalformed);
        }
        MessageType::INFORM => ReplyKind::DhcpAck,
        MessageType::RELEASE => return Ok(Answer::Control(Control::DhcpRelease)),
        MessageType::DECLINE => return Ok(Answer::Control(Control::DhcpDecline)),
        _ => return Err(DropReason::DhcpUnserved),
    };
    write(config, host_name, &request, kind, reply);
    Ok(Answer::Reply(kind))
}

/// Finds the message in an IPv4 packet, if it is one for a DHCP server and all of it is here.
fn read(packet: &[u8]) -> Option<&[u8]> {
    let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let destination = ip.destination_addr();
    let for_a_server = [Ipv4Addr::BROADCAST, World::BROADCAST_ADDRESS, SERVER].contains(&destination);
    if ip.protocol() != IpNumber::UDP || ip.is_fragmenting_payload() || !for_a_server {
        return None;
    }
    if ip.to_header().calc_header_checksum() != ip.header_checksum() {
        return None;
    }
    let udp = packet.get(ip.slice().len()..usize::from(ip.total_len()))?;
    let udp = UdpSlice::from_slice(udp).ok()?;
    if udp.destination_port() != SERVER_PORT {
        return None;
    }
    // RFC 768: a checksum of zero means that there is none.
    let header = udp.to_header();
    let sum = header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), udp.payload()).ok()?;
    (header.checksum == 0 || header.checksum == sum).then_some(udp.payload())
}

/// RFC 2131 §4.3.2: which of its states the client is in shows in what it sends.
fn answer_to_request(config: &Config, request: &Repr<'_>) -> Result<ReplyKind, DropReason> {
    if request.server.is_some_and(|server| server != SERVER) {
        return Err(DropReason::DhcpOtherServer);
    }
    let wanted = match request.requested_address {
        // SELECTING and INIT-REBOOT
        Some(address) => address,
        // RENEWING and REBINDING
        None if !request.client_address.is_unspecified() => request.client_address,
        None => return Err(DropReason::DhcpMalformed),
    };
    Ok(if wanted == config.me.ipv4() { ReplyKind::DhcpAck } else { ReplyKind::DhcpNak })
}

/// RFC 2131 §4.3.1, table 3, says what an answer holds; §4.1 where it goes.
fn write(config: &Config, host_name: &HostName, request: &Repr<'_>, kind: ReplyKind, reply: &mut Reply) {
    let message_type = match kind {
        ReplyKind::DhcpOffer => MessageType::OFFER,
        ReplyKind::DhcpNak => MessageType::NAK,
        _ => MessageType::ACK,
    };
    let mut answer = Repr {
        broadcast: request.broadcast,
        server: Some(SERVER),
        // RFC 6842 §3: returned as it came.
        client_id: request.client_id,
        ..Repr::new(Op::Reply, message_type, request.transaction, request.hardware_address)
    };
    if kind != ReplyKind::DhcpNak {
        answer.netmask = Some(NETMASK);
        answer.broadcast_address = Some(World::BROADCAST_ADDRESS);
        answer.host_name = Some(host_name.0.as_bytes());
        answer.mtu = Some(u16::try_from(config.mtu).unwrap_or(u16::MAX)).filter(|&mtu| mtu >= MIN_MTU);
        if request.message_type != Some(MessageType::INFORM) {
            answer.your_address = config.me.ipv4();
            answer.lease_seconds = Some(INFINITE);
        }
        if kind == ReplyKind::DhcpAck {
            answer.client_address = request.client_address;
        }
    }
    let (destination, mac) = if kind == ReplyKind::DhcpNak {
        (Ipv4Addr::BROADCAST, MacAddr::BROADCAST)
    } else if !request.client_address.is_unspecified() {
        (request.client_address, config.me.mac())
    } else if request.broadcast {
        (Ipv4Addr::BROADCAST, MacAddr::BROADCAST)
    } else {
        (config.me.ipv4(), config.me.mac())
    };
    send(&answer, destination, mac, reply);
}

fn send(answer: &Repr<'_>, destination: Ipv4Addr, mac: MacAddr, reply: &mut Reply) {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    // The longest is 540 bytes, with a client identifier of 255.
    let message = &mut buffer[..answer.buffer_len()];
    answer.emit(message);
    let (source, destination) = (SERVER.octets(), destination.octets());
    let ip = Ipv4Header::new(
        (UdpHeader::LEN + message.len()) as u16,
        TIME_TO_LIVE,
        IpNumber::UDP,
        source,
        destination,
    );
    let mut ip = ip.expect("the message is far shorter than 2^16 bytes");
    ip.header_checksum = ip.calc_header_checksum();
    let udp = UdpHeader::with_ipv4_checksum(SERVER_PORT, CLIENT_PORT, &ip, message)
        .expect("the message is far shorter than 2^16 bytes");
    let ethernet = Ethernet2Header {
        source: MacAddr::SWITCH.octets(),
        destination: mac.octets(),
        ether_type: EtherType::IPV4,
    };
    reply.assemble(&[&ethernet.to_bytes(), &ip.to_bytes(), &udp.to_bytes(), message]);
}
