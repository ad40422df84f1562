//! The `mesh` transport: every rank is a VTEP and knows the addresses of all others; one VNI is their
//! network. No MPI, no bridge: what is for everybody its sender sends to everybody itself.
//!
//! A VTEP is known by its address (RFC 7348 §4.1), so every rank needs one of its own. What stands in a
//! record beside the frame does not travel: a frame to a group address becomes a flood whose root is its
//! sender, every other a unicast record.

use std::net::{IpAddr, SocketAddr};

use mvpnet_switch::{Rank, Vni, World};
use thiserror::Error;

use super::RecordKind;
use super::carrier::{VxlanTransport, Ways};
use super::mtu::{inner_mtu, longest_frame};
use super::socket::BindError;
use super::table::{Tunnel, TunnelId};
use super::vtep::{AddError, Vtep, VtepConfig};
use crate::mem::MemTransport;

/// One rank's end of a [`mesh`].
pub type MeshTransport = VxlanTransport<ToRanks>;

/// A rank's place in a mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// The rank.
    pub me: Rank,
    /// All ranks.
    pub world: World,
    /// Where each of them listens, in their order.
    pub addresses: Vec<SocketAddr>,
    /// The network of all.
    pub vni: Vni,
    /// Source ports per peer. Frames to a peer stay in order within their flow, with one port in all.
    pub flows: u8,
}

/// The ways to all ranks, oneself included.
#[derive(Debug)]
pub struct ToRanks {
    /// By rank.
    tunnels: Vec<TunnelId>,
    /// By slot of the tunnel.
    ranks: Vec<Option<Rank>>,
}

/// Why a rank has no mesh.
#[derive(Debug, Error)]
pub enum MeshError {
    /// The port could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A peer cannot be reached.
    #[error(transparent)]
    Add(#[from] AddError),
    /// There are more ranks than addresses, or fewer.
    #[error("{given} addresses for {ranks} ranks: each has one")]
    Addresses {
        /// How many were given.
        given: usize,
        /// How many are needed.
        ranks: u32,
    },
    /// Two ranks could not be told apart.
    #[error("ranks {one} and {other} both have {address}: every rank of a mesh needs an address of its own")]
    SharedAddress {
        /// The first of them.
        one: Rank,
        /// The second.
        other: Rank,
        /// Their address.
        address: IpAddr,
    },
    /// The kernel has no more of something.
    #[error("no VTEP: {0}")]
    Failed(#[from] std::io::Error),
}

/// Makes a rank's end of a mesh. Control records go by `control`; without it they are refused.
pub fn mesh(config: &MeshConfig, control: Option<MemTransport>) -> Result<MeshTransport, MeshError> {
    let MeshConfig { me, world, addresses, vni, flows } = config;
    let ranks: Vec<Rank> = world.ranks().collect();
    if addresses.len() != ranks.len() {
        return Err(MeshError::Addresses { given: addresses.len(), ranks: world.size() });
    }
    let listen = addresses[me.index() as usize];
    let mut vtep = Vtep::bind(&VtepConfig { flows: *flows, ..VtepConfig::new(listen) })?;
    let mut ways = ToRanks { tunnels: Vec::with_capacity(ranks.len()), ranks: Vec::new() };
    let mut longest = usize::MAX;
    for (rank, peer) in ranks.iter().zip(addresses) {
        let tunnel = vtep.add(Tunnel { vni: *vni, peer: *peer }).map_err(|error| {
            let is_same = |other: &&SocketAddr| other.ip().to_canonical() == peer.ip().to_canonical();
            match (error, ranks.iter().zip(addresses).find(|(_, other)| is_same(other))) {
                (AddError::Taken(_), Some((one, _))) => {
                    MeshError::SharedAddress { one: *one, other: *rank, address: peer.ip() }
                }
                (error, _) => error.into(),
            }
        })?;
        longest = longest.min(longest_frame(vtep.path_mtu(tunnel), peer.ip()));
        ways.tunnels.push(tunnel);
        if ways.ranks.len() <= tunnel.index() {
            ways.ranks.resize(tunnel.index() + 1, None);
        }
        ways.ranks[tunnel.index()] = Some(*rank);
    }
    let path = vtep.tunnels().map(|(id, tunnel)| inner_mtu(vtep.path_mtu(id), tunnel.peer.ip()));
    if let Some(mtu) = path.flatten().min() {
        vtep.set_mtu(mtu);
    }
    Ok(VxlanTransport::new(*me, *world, ways, vtep, control, longest)?)
}

impl Ways for ToRanks {
    fn tunnel(&self, to: Rank) -> Option<TunnelId> {
        self.tunnels.get(to.index() as usize).copied()
    }

    fn rank(&self, tunnel: TunnelId) -> Option<Rank> {
        *self.ranks.get(tunnel.index())?
    }

    fn kind(&self, frame: &[u8]) -> RecordKind {
        // The I/G bit (IEEE 802.3 §3.2.3).
        let is_group = frame.first().is_some_and(|first| first & 1 != 0);
        if is_group { RecordKind::Flood } else { RecordKind::Unicast }
    }
}
