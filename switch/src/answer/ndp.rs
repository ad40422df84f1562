//! Neighbour discovery (RFC 4861), answered for the addresses that follow from ranks.
//!
//! A message that fails RFC 4861's checks is no neighbour discovery and passes like any other frame: the
//! guests it reaches make the same checks.

mod advertise;

use std::net::Ipv6Addr;

use etherparse::icmpv6::{NdpOptionSlice, NdpOptionsIterator, NeighborSolicitationPayloadSlice};
use etherparse::icmpv6::{NeighborAdvertisementPayloadSlice, RouterSolicitationPayloadSlice};
use etherparse::{Icmpv6Slice, Icmpv6Type, IpNumber, Ipv6Header, Ipv6HeaderSlice};

use super::{Answer, Reply};
use crate::frame::Head;
use crate::ipv6::link_local;
use crate::{Config, DropReason, MacAddr, ReplyKind};

/// The only hop limit with which a message can come from the same link (RFC 4861 §6.1, §7.1).
const HOP_LIMIT: u8 = 255;

/// A message of neighbour discovery that has passed the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// Who has `target`? From the unspecified address: I would like to have it (RFC 4862 §5.4).
    NeighborSolicitation { source: Ipv6Addr, target: Ipv6Addr },
    /// I have `target`.
    NeighborAdvertisement { target: Ipv6Addr },
    /// Which routers and prefixes are there?
    RouterSolicitation { source: Ipv6Addr },
}

/// Answers solicitations of other ranks' neighbours and of routers, and stops what claims another rank's
/// address.
pub(super) fn answer(config: &Config, head: &Head<'_>, reply: &mut Reply) -> Result<Answer, DropReason> {
    let rank_of = |address| config.world.rank_of_ipv6(address, config.ula);
    let belongs_to_another = |address| rank_of(address).is_some_and(|rank| rank != config.me);
    match read(head.payload()) {
        None => Ok(Answer::NotForUs),
        Some(Message::RouterSolicitation { source }) => {
            advertise::router(config, source, head.source(), reply);
            Ok(Answer::Reply(ReplyKind::RouterAdvertisement))
        }
        Some(Message::NeighborAdvertisement { target }) => {
            if belongs_to_another(target) {
                Err(DropReason::ForgedNeighbor)
            } else {
                Ok(Answer::NotForUs)
            }
        }
        Some(Message::NeighborSolicitation { source, .. }) if belongs_to_another(source) => {
            Err(DropReason::ForgedNeighbor)
        }
        Some(Message::NeighborSolicitation { source, target }) => {
            let owner = match rank_of(target) {
                Some(rank) if rank == config.me => return Err(DropReason::OwnNeighbor),
                Some(rank) => rank.mac(),
                None if target == link_local(MacAddr::SWITCH) => MacAddr::SWITCH,
                None => return Ok(Answer::NotForUs),
            };
            advertise::neighbor(target, owner, source, head.source(), reply);
            Ok(Answer::Reply(ReplyKind::NeighborAdvertisement))
        }
    }
}

/// Answers router solicitations alone; neighbours are found by asking those behind the tunnel.
pub(super) fn answer_before_tunnel(config: &Config, head: &Head<'_>, reply: &mut Reply) -> Answer {
    match read(head.payload()) {
        Some(Message::RouterSolicitation { source }) => {
            advertise::router(config, source, head.source(), reply);
            Answer::Reply(ReplyKind::RouterAdvertisement)
        }
        _ => Answer::NotForUs,
    }
}

/// Reads an IPv6 packet and makes the checks of RFC 4861 §6.1.1, §7.1.1 and §7.1.2.
fn read(packet: &[u8]) -> Option<Message> {
    let ip = Ipv6HeaderSlice::from_slice(packet).ok()?;
    if ip.next_header() != IpNumber::IPV6_ICMP || ip.hop_limit() != HOP_LIMIT {
        return None;
    }
    // The frame may be padded, and its head may be all that is here.
    let end = Ipv6Header::LEN + usize::from(ip.payload_length());
    let icmp = Icmpv6Slice::from_slice(packet.get(Ipv6Header::LEN..end)?).ok()?;
    let source = ip.source_addr();
    // A code other than 0 makes the type unknown.
    let (message, options) = match icmp.icmp_type() {
        Icmpv6Type::NeighborSolicitation => {
            let payload = NeighborSolicitationPayloadSlice::from_slice(icmp.payload()).ok()?;
            let target = payload.target_address();
            if source.is_unspecified() && !is_solicited_node(ip.destination_addr()) {
                return None;
            }
            (Message::NeighborSolicitation { source, target }, payload.options_iterator())
        }
        Icmpv6Type::NeighborAdvertisement(_) => {
            let payload = NeighborAdvertisementPayloadSlice::from_slice(icmp.payload()).ok()?;
            let target = payload.target_address();
            (Message::NeighborAdvertisement { target }, payload.options_iterator())
        }
        Icmpv6Type::RouterSolicitation => {
            let payload = RouterSolicitationPayloadSlice::from_slice(icmp.payload()).ok()?;
            (Message::RouterSolicitation { source }, payload.options_iterator())
        }
        _ => return None,
    };
    let sound = are_sound(options, source) && icmp.is_checksum_valid(ip.source(), ip.destination());
    sound.then_some(message)
}

/// All options must be readable, none of length zero, and who has no address yet cannot be told where to
/// send an answer.
fn are_sound(options: NdpOptionsIterator<'_>, source: Ipv6Addr) -> bool {
    let mut options = options;
    options.all(|option| match option {
        Ok(NdpOptionSlice::SourceLinkLayerAddress(_)) => !source.is_unspecified(),
        Ok(_) => true,
        Err(_) => false,
    })
}

/// ff02::1:ff00:0/104 (RFC 4291 §2.7.1).
fn is_solicited_node(address: Ipv6Addr) -> bool {
    matches!(address.octets(), [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, _, _, _])
}
