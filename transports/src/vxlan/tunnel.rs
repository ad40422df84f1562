//! The `tunnel` transport: each rank of a job has a tunnel to one bridge elsewhere, with a VNI of its own.
//!
//! In the [`Transport`](crate::Transport) a rank's own number stands for the far end of its tunnel: what is
//! sent to it goes there, and what comes from there is from it. Other ranks are reached by the bridge only;
//! control records go by memory.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use mvpnet_switch::{Rank, Vni};
use thiserror::Error;

use super::carrier::{VxlanTransport, Ways};
use super::mtu::{inner_mtu, longest_frame};
use super::socket::BindError;
use super::table::{Tunnel, TunnelId};
use super::vtep::{AddError, Vtep, VtepConfig};
use super::{RecordKind, steer};
use crate::Transport;
use crate::mem::MemTransport;

/// One rank's end of [`tunnels`].
pub type TunnelTransport = VxlanTransport<ToBridge>;

/// A rank's only way: to the bridge.
#[derive(Debug)]
pub struct ToBridge {
    me: Rank,
    tunnel: TunnelId,
    /// The sockets of all ranks: the kernel counts them, so that none may be closed before all are.
    _group: Arc<Vec<UdpSocket>>,
}

/// Why a job's ranks have no tunnels.
#[derive(Debug, Error)]
pub enum TunnelsError {
    /// The port could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The peer cannot be reached.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The VNIs end before the ranks do.
    #[error("{ranks} ranks need as many VNIs, but from {first} on there are fewer: the last is {}", Vni::MAX)]
    NoVni {
        /// The first rank's.
        first: Vni,
        /// How many are needed.
        ranks: usize,
    },
    /// The kernel has no more of something.
    #[error("no tunnel for rank {rank}: {source}")]
    Failed {
        /// Whose.
        rank: Rank,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Makes the tunnels of a job's ranks, in the order of their memory ends: rank r has VNI `first_vni` + r. All share
/// the UDP port of `listen`.
pub fn tunnels(
    fabric: Vec<MemTransport>,
    listen: SocketAddr,
    peer: SocketAddr,
    first_vni: Vni,
) -> Result<Vec<TunnelTransport>, TunnelsError> {
    let ranks = fabric.len();
    let vnis: Option<Vec<Vni>> = fabric.iter().map(|end| first_vni.plus(end.me().index())).collect();
    let vnis = vnis.ok_or(TunnelsError::NoVni { first: first_vni, ranks })?;
    let mut config = VtepConfig::new(listen);
    // With a program that goes by the number of a socket, the sockets must be in the order of the VNIs.
    let sockets = steer::bind(listen, first_vni, ranks, config.receive_buffer)?;
    let group = Arc::new(sockets);
    fabric
        .into_iter()
        .zip(vnis)
        .zip(group.iter())
        .map(|((end, vni), socket)| {
            let (rank, world) = (end.me(), end.world());
            let failed = |source| TunnelsError::Failed { rank, source };
            let socket = socket.try_clone().map_err(failed)?;
            config.gro = false;
            let mut vtep = Vtep::over(socket, &config).map_err(failed)?;
            let tunnel = vtep.add(Tunnel { vni, peer })?;
            let path = vtep.path_mtu(tunnel);
            if let Some(mtu) = inner_mtu(path, peer.ip()) {
                vtep.set_mtu(mtu);
            }
            let ways = ToBridge { me: rank, tunnel, _group: Arc::clone(&group) };
            let longest = longest_frame(path, peer.ip());
            VxlanTransport::new(rank, world, ways, vtep, Some(end), longest).map_err(failed)
        })
        .collect()
}

impl Ways for ToBridge {
    fn tunnel(&self, to: Rank) -> Option<TunnelId> {
        (to == self.me).then_some(self.tunnel)
    }

    fn rank(&self, _tunnel: TunnelId) -> Option<Rank> {
        Some(self.me)
    }

    /// A tunnel has two ends: nothing is passed on.
    fn kind(&self, _frame: &[u8]) -> RecordKind {
        RecordKind::Unicast
    }
}
