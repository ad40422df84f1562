//! What a bridge is to be, and what keeps it from being so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mvpnet_switch::{Vni, VniList};
use mvpnet_transports::vxlan::{BindError, Tunnel};

use super::peers::{AssignError, Peer, PeersFileError, assign, read_peers};
use super::resolve::{Family, ResolveError, resolve};
use crate::capture::{Destination, StartError};

/// How a bridge is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called.
    pub name: String,
    /// Who sends to it.
    pub source: PeerSource,
    /// The address of this host to listen on; none for all.
    pub listen: Option<IpAddr>,
    /// The UDP port, here and where a peer names no other.
    pub port: u16,
    /// The guests' MTU; none for what the paths carry.
    pub mtu: Option<u32>,
    /// The most flooded frames a second and port; none for no limit.
    pub storm_limit: Option<u32>,
    /// How long a silent address is remembered.
    pub ageing_time: Duration,
    /// Where all frames are written.
    pub capture: Option<Destination>,
}

/// Where the peers are named. It is read again when somebody asks for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSource {
    /// The VNIs, unless the peers say them.
    pub vnis: Option<VniList>,
    /// Peers of the command line.
    pub peers: Vec<Peer>,
    /// A file of more.
    pub file: Option<PathBuf>,
}

/// The tunnels that the peers make, and the same for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// All tunnels, in the order of their VNIs.
    pub(super) tunnels: Vec<Tunnel>,
    /// `40-43 to server1 (192.0.2.1)`, one for each peer.
    pub(super) words: Vec<String>,
}

/// Why the peers make no tunnels.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// The file.
    #[error(transparent)]
    File(#[from] PeersFileError),
    /// Who has which VNI.
    #[error("{}{error}", file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default())]
    Assign {
        /// The file, if there is one.
        file: Option<PathBuf>,
        /// What does not fit.
        error: AssignError,
    },
    /// Where they are.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// Why there is no bridge.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The peers.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// Another one has the name.
    #[error(
        "a bridge called `{name}` runs already (process {pid}): stop it with `mvpnet bridge down --name {name}`, or \
         choose another --name"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// The UDP port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A tunnel that cannot be.
    #[error("{0}")]
    Tunnel(String),
    /// The MTU that was asked for does not fit.
    #[error(
        "--mtu {mtu} is too much: the path to {peer} carries packets of {path_mtu} bytes, of which VXLAN leaves \
         {most}; leave --mtu out to have that"
    )]
    Mtu {
        /// What was asked for.
        mtu: u32,
        /// The peer.
        peer: SocketAddr,
        /// What its path carries.
        path_mtu: u32,
        /// What is left for guests.
        most: u32,
    },
    /// A path that carries no tunnel.
    #[error("the path to {peer} carries packets of {path_mtu} bytes, which is too little for VXLAN")]
    Narrow {
        /// The peer.
        peer: SocketAddr,
        /// What its path carries.
        path_mtu: u32,
    },
    /// The capture.
    #[error("--capture: {0}")]
    Capture(#[from] StartError),
    /// The system gives no thread, no descriptor, no signal.
    #[error("the bridge cannot start: {0}")]
    System(#[from] io::Error),
    /// The sockets have failed.
    #[error("the bridge cannot go on: {0}")]
    Failed(io::Error),
    /// A defect of this program.
    #[error("the bridge has ended by a defect of mvpnet: its thread panicked")]
    Panicked,
}

impl BridgeError {
    /// Whether it was asked for wrongly, rather than having failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Peers(_) | Self::Mtu { .. } | Self::Tunnel(_))
    }
}

impl PeerSource {
    /// The tunnels that the peers make now, with `port` where a peer names no other. It takes as long as the
    /// resolver does.
    ///
    /// # Errors
    /// The file, the VNIs or the names are wrong.
    pub fn tunnels(&self, family: Family, port: u16) -> Result<Vec<Tunnel>, PeersError> {
        Ok(self.reach(family, port)?.tunnels)
    }

    /// Reads the file, gives each VNI its peer, and looks up where that is. It takes as long as the resolver does.
    pub(super) fn reach(&self, family: Family, port: u16) -> Result<Reached, PeersError> {
        let mut peers = self.peers.clone();
        if let Some(file) = &self.file {
            peers.extend(read_peers(file)?);
        }
        let assignment = assign(self.vnis.as_ref(), &peers)
            .map_err(|error| PeersError::Assign { file: self.file.clone(), error })?;
        let addresses = resolve(&peers, family, port)?;
        let mut by_peer: BTreeMap<usize, Vec<Vni>> = BTreeMap::new();
        for (vni, peer) in &assignment {
            by_peer.entry(*peer).or_default().push(*vni);
        }
        let words = by_peer.iter().map(|(peer, vnis)| {
            let (name, address) = (&peers[*peer].host, addresses[*peer]);
            let address =
                if address.port() == port { Place::Ip(address.ip()) } else { Place::Socket(address) };
            let address = address.to_string();
            let known = if *name == address { String::new() } else { format!(" ({address})") };
            format!("{} to {name}{known}", listed(vnis))
        });
        let tunnels = assignment.iter().map(|(vni, peer)| Tunnel { vni: *vni, peer: addresses[*peer] });
        Ok(Reached { tunnels: tunnels.collect(), words: words.collect() })
    }

    /// Whether its VNIs are other ones when it is read again.
    pub(super) fn may_grow(&self) -> bool {
        self.vnis.is_none() && self.file.is_some()
    }
}

/// An address, with its port where that is unusual.
enum Place {
    Ip(IpAddr),
    Socket(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Socket(address) => address.fmt(f),
        }
    }
}

/// VNIs in ascending order as people write them.
pub(super) fn listed(vnis: &[Vni]) -> String {
    let all = vnis.iter().map(Vni::to_string).collect::<Vec<_>>().join(",");
    all.parse::<VniList>().map_or(all, |list| list.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(vnis: &str, peers: &[&str]) -> PeerSource {
        PeerSource {
            vnis: Some(vnis.parse().unwrap()),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            file: None,
        }
    }

    #[test]
    fn tunnels_are_told_by_their_peers() {
        let source = source("40-43,60", &["127.0.0.2", "60:127.0.0.3:14789"]);
        let reached = source.reach(Family::Either, 4789).unwrap();
        assert_eq!(reached.words, ["40-43 to 127.0.0.2", "60 to 127.0.0.3 (127.0.0.3:14789)"]);
        let tunnels: Vec<String> =
            reached.tunnels.iter().map(|tunnel| format!("{} {}", tunnel.vni, tunnel.peer)).collect();
        assert_eq!(tunnels[3..], ["43 127.0.0.2:4789", "60 127.0.0.3:14789"]);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("peers");
        std::fs::write(&file, "40:127.0.0.2\n41-43:127.0.0.3\n").unwrap();
        let source = PeerSource { file: Some(file.clone()), ..source("40-43", &[]) };
        assert_eq!(source.reach(Family::Either, 4789).unwrap().tunnels.len(), 4);
        std::fs::write(&file, "40:127.0.0.2\n40-43:127.0.0.3\n").unwrap();
        let error = source.reach(Family::Either, 4789).unwrap_err().to_string();
        let says =
            "peers: VNI 40 has one peer, not both `40:127.0.0.2` (line 1) and `40-43:127.0.0.3` (line 2)";
        assert!(error.ends_with(says), "{error}");
    }
}
