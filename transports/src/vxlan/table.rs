//! Which tunnels there are: what a datagram's sender and VNI are looked up in.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use mvpnet_switch::Vni;

use super::refusal::Refusal;

/// A tunnel: what goes to and comes from one VTEP with one VNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The network's identifier.
    pub vni: Vni,
    /// Where the peer listens. What it sends comes from this address and from any port.
    pub peer: SocketAddr,
}

/// The slot of a tunnel in a [`Vtep`](super::Vtep), given again to another once the tunnel is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(u16);

impl TunnelId {
    /// The slot's number. Numbers are given from zero on.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VNI {} of {}", self.vni, self.peer)
    }
}

/// Why a tunnel cannot be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// What this peer sends with this VNI belongs to another tunnel.
    Taken,
    /// There are as many as slots can be numbered.
    Full,
}

/// The tunnels in their slots, and the way from an address and a VNI to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Tunnel>>,
    /// In the order of the addresses.
    peers: Vec<Peer>,
    /// The peer that was looked up last: most datagrams come in a row.
    last: usize,
}

#[derive(Clone, Debug)]
struct Peer {
    address: IpAddr,
    /// In the order of the VNIs. Never empty.
    tunnels: Vec<(Vni, TunnelId)>,
}

impl Table {
    pub fn insert(&mut self, tunnel: Tunnel) -> Result<TunnelId, Collision> {
        let address = tunnel.peer.ip().to_canonical();
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let id = TunnelId(u16::try_from(slot).map_err(|_| Collision::Full)?);
        let at = match self.peers.binary_search_by_key(&address, |peer| peer.address) {
            Ok(at) => at,
            Err(at) => {
                self.peers.insert(at, Peer { address, tunnels: Vec::new() });
                at
            }
        };
        let tunnels = &mut self.peers[at].tunnels;
        match tunnels.binary_search_by_key(&tunnel.vni, |(vni, _)| *vni) {
            Ok(_) => return Err(Collision::Taken),
            Err(at) => tunnels.insert(at, (tunnel.vni, id)),
        }
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(tunnel);
        Ok(id)
    }

    pub fn remove(&mut self, id: TunnelId) -> Option<Tunnel> {
        let tunnel = self.slots.get_mut(id.index())?.take()?;
        for peer in &mut self.peers {
            peer.tunnels.retain(|(_, other)| *other != id);
        }
        self.peers.retain(|peer| !peer.tunnels.is_empty());
        Some(tunnel)
    }

    pub fn tunnel(&self, id: TunnelId) -> Option<Tunnel> {
        *self.slots.get(id.index())?
    }

    pub fn iter(&self) -> impl Iterator<Item = (TunnelId, Tunnel)> + '_ {
        // There are no more slots than numbers.
        let numbered = (0..=u16::MAX).zip(&self.slots);
        numbered.filter_map(|(slot, tunnel)| Some((TunnelId(slot), (*tunnel)?)))
    }

    /// The peer that sends from this address.
    #[inline]
    pub fn peer(&mut self, address: IpAddr) -> Result<usize, Refusal> {
        if self.peers.get(self.last).is_some_and(|peer| peer.address == address) {
            return Ok(self.last);
        }
        let found = self.peers.binary_search_by_key(&address, |peer| peer.address);
        self.last = found.map_err(|_| Refusal::UnknownPeer)?;
        Ok(self.last)
    }

    /// The tunnel of a peer that [`Table::peer`] has found.
    #[inline]
    pub fn of_peer(&self, peer: usize, vni: Vni) -> Result<TunnelId, Refusal> {
        let tunnels = &self.peers[peer].tunnels;
        let found = tunnels.binary_search_by_key(&vni, |(vni, _)| *vni);
        found.map(|at| tunnels[at].1).map_err(|_| Refusal::UnknownVni)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(vni: u32, peer: &str) -> Tunnel {
        Tunnel { vni: Vni::new(vni).unwrap(), peer: peer.parse().unwrap() }
    }

    fn find(table: &mut Table, address: &str, vni: u32) -> Result<usize, Refusal> {
        let peer = table.peer(address.parse().unwrap())?;
        table.of_peer(peer, Vni::new(vni).unwrap()).map(TunnelId::index)
    }

    #[test]
    fn tunnels_are_found_by_address_and_vni_and_by_nothing_else() {
        let mut table = Table::default();
        table.insert(tunnel(40, "192.0.2.1:4789")).unwrap();
        table.insert(tunnel(41, "192.0.2.1:4789")).unwrap();
        table.insert(tunnel(40, "[2001:db8::1]:4789")).unwrap();
        table.insert(tunnel(60, "[::ffff:192.0.2.7]:4789")).unwrap();
        assert_eq!(find(&mut table, "192.0.2.1", 41), Ok(1));
        assert_eq!(find(&mut table, "2001:db8::1", 40), Ok(2));
        assert_eq!(find(&mut table, "192.0.2.7", 60), Ok(3));
        assert_eq!(find(&mut table, "192.0.2.1", 42), Err(Refusal::UnknownVni));
        assert_eq!(find(&mut table, "192.0.2.2", 40), Err(Refusal::UnknownPeer));
    }

    #[test]
    fn a_peer_has_a_vni_once_whatever_its_port() {
        let mut table = Table::default();
        table.insert(tunnel(40, "192.0.2.1:4789")).unwrap();
        assert_eq!(table.insert(tunnel(40, "192.0.2.1:8472")), Err(Collision::Taken));
        assert_eq!(table.iter().count(), 1);
    }

    #[test]
    fn a_removed_tunnel_is_not_found_and_its_slot_is_given_again() {
        let mut table = Table::default();
        let first = table.insert(tunnel(40, "192.0.2.1:4789")).unwrap();
        table.insert(tunnel(40, "192.0.2.2:4789")).unwrap();
        assert_eq!(table.remove(first), Some(tunnel(40, "192.0.2.1:4789")));
        assert_eq!(table.remove(first), None);
        assert_eq!(find(&mut table, "192.0.2.1", 40), Err(Refusal::UnknownPeer));
        assert_eq!(find(&mut table, "192.0.2.2", 40), Ok(1));
        assert_eq!(table.insert(tunnel(50, "192.0.2.3:4789")).map(TunnelId::index), Ok(0));
        assert_eq!(table.tunnel(first), Some(tunnel(50, "192.0.2.3:4789")));
    }
}
