//! Where frames come from and go to.

use std::fmt;

use crate::{Rank, Vni};

/// A port of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortId {
    /// This rank's own guest.
    Guest,
    /// The switch of another rank.
    Peer(Rank),
    /// The far end of this rank's tunnel, if its [`Topology`](crate::Topology) has one.
    Tunnel(Vni),
}

/// How a peer sent a frame, as the record's kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To this rank alone.
    Unicast,
    /// Down the flood tree whose root is the origin: this rank passes it on to its children.
    Flood,
}

/// Where a frame came in, and what its record says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ingress {
    /// This rank's own guest sent the frame.
    Guest,
    /// Another rank's switch sent it.
    Peer {
        /// The rank whose guest sent the frame. That is the sender of a unicast frame and the root of a
        /// flood, which may have been passed on by a rank in between.
        origin: Rank,
        /// How it was sent.
        delivery: Delivery,
    },
    /// It came out of this rank's tunnel; who sent it into the other end only its source address says.
    Tunnel(Vni),
}

impl Ingress {
    /// The port behind which the frame's sender is: a flood's origin, not the rank that passed it on.
    pub const fn port(self) -> PortId {
        match self {
            Ingress::Guest => PortId::Guest,
            Ingress::Peer { origin, .. } => PortId::Peer(origin),
            Ingress::Tunnel(vni) => PortId::Tunnel(vni),
        }
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortId::Guest => f.write_str("guest"),
            PortId::Peer(rank) => write!(f, "rank {rank}"),
            PortId::Tunnel(vni) => write!(f, "VNI {vni}"),
        }
    }
}
