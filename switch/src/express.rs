//! The common case, decided without looking at more than it takes: a frame from one rank's own address to another's.
//!
//! The decision is the very one that [`Switch`](crate::Switch) comes to the long way, only sooner: a test compares the two.

use crate::config::ETHERNET_HEADER_LEN;
use crate::{Config, Delivery, Ingress, PortId, Rank, Topology, World};

/// What frames are compared with, made once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Express {
    me: Rank,
    world: World,
    /// The own address as a number.
    own: u64,
    /// The longest frame without a tag, in bytes. Zero where nothing goes by express.
    limit: usize,
}

/// Types and protocols that the switch takes part in, or that it must look into to see (IANA).
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Where an IPv6 header says what follows it (RFC 8200 §3).
const NEXT_HEADER: usize = ETHERNET_HEADER_LEN + 6;

impl Express {
    pub(crate) fn new(config: &Config) -> Express {
        let Config { me, world, topology, .. } = *config;
        // Behind a tunnel who has which address is not the switch's to say.
        let limit = if let Topology::Tunnel(_) = topology { 0 } else { config.max_frame_len(0) };
        Express { me, world, own: address(me), limit }
    }

    /// Where the frame goes, if it is the common case.
    #[inline]
    pub(crate) fn port(&self, ingress: Ingress, head: &[u8], longest: usize) -> Option<PortId> {
        let addresses = head.first_chunk::<ETHERNET_HEADER_LEN>()?;
        if longest > self.limit {
            return None;
        }
        let destination = u64::from_be_bytes(*addresses.first_chunk()?) >> 16;
        let source = u64::from_be_bytes(*addresses[4..].first_chunk()?) & ((1 << 48) - 1);
        match ingress {
            Ingress::Guest if source == self.own && is_ordinary(head) => {
                let index = u32::try_from(destination ^ address_of_number(0)).ok()?;
                let rank = self.world.rank(index).ok()?;
                (rank != self.me).then_some(PortId::Peer(rank))
            }
            Ingress::Peer { origin, delivery: Delivery::Unicast }
                if destination == self.own && source == address(origin) =>
            {
                (origin != self.me && self.world.contains(origin)).then_some(PortId::Guest)
            }
            _ => None,
        }
    }
}

/// Whether the frame is surely nothing that the switch answers when it goes from rank to rank.
#[inline]
fn is_ordinary(head: &[u8]) -> bool {
    match u16::from_be_bytes([head[12], head[13]]) {
        ARP => false,
        IPV6 => matches!(head.get(NEXT_HEADER), Some(&(TCP | UDP))),
        _ => true,
    }
}

const fn address(rank: Rank) -> u64 {
    address_of_number(rank.index())
}

/// [`MacAddr::of_rank`](crate::MacAddr) as a number.
const fn address_of_number(index: u32) -> u64 {
    0x5255 << 32 | index as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;

    #[test]
    fn numbers_are_the_addresses_of_ranks() {
        for index in [0, 7, 0x0102_0304, u32::MAX] {
            let octets = MacAddr::of_rank(index).octets();
            assert_eq!(address_of_number(index).to_be_bytes()[2..], octets);
        }
    }
}
