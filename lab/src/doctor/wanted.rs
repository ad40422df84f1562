//! What is to be checked, and for what use of the host: so that nobody is told off for what he does not need.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is to be checked on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The UDP port of the tunnels.
    pub vxlan_port: u16,
    /// The address that tunnels are to end at; none: any.
    pub listen: Option<IpAddr>,
    /// Where images are copied to.
    pub run_dir: Option<PathBuf>,
    /// The guests' image.
    pub image: Option<PathBuf>,
    /// How many guests run here; none: not known, some.
    pub ranks: Option<u32>,
    /// Memory of each guest, in MiB.
    pub memory: u64,
    /// Whether jobs under mpirun are to run here.
    pub mpi: bool,
    /// The command that takes a host and a command there.
    pub ssh: Vec<String>,
    /// The other hosts, which this one has to know and to reach.
    pub peers: Vec<Peer>,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What people call it, perhaps `user@name`.
    pub name: String,
    /// Its address, where somebody has told; a host that does not know the name is told to.
    pub address: Option<IpAddr>,
    /// Whether tunnels go there: its name, the way to it and its port matter.
    pub tunnel: bool,
    /// Whether ssh is to work to it.
    pub ssh: bool,
}

/// Words that name no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No name at all, or one that ssh would take for an option.
    #[error("`{0}` is no host: expected NAME, USER@NAME or NAME=ADDRESS")]
    Name(String),
    /// What stands behind `=` is no address.
    #[error("`{0}`: `{1}` is no IP address")]
    Address(String, String),
}

impl Wanted {
    /// Port of tunnels (RFC 7348 §5).
    pub const VXLAN_PORT: u16 = 4789;
    /// How other hosts are reached, unless somebody says otherwise: never with a question.
    pub const SSH: [&str; 5] = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"];
    /// Memory of a guest, in MiB, if nobody says otherwise.
    pub const MEMORY: u64 = 4096;

    /// Whether guests are to run here, as far as is known.
    pub fn has_guests(&self) -> bool {
        self.ranks != Some(0)
    }

    /// Whether tunnels are to end here, as far as is known.
    pub fn has_tunnels(&self) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer.tunnel)
    }

    /// Guests to reckon with: one where their number is not known.
    pub fn guests(&self) -> u32 {
        self.ranks.unwrap_or(1)
    }

    /// Where tunnels are to end.
    pub fn endpoint(&self) -> SocketAddr {
        (self.listen.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), self.vxlan_port).into()
    }
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            vxlan_port: Self::VXLAN_PORT,
            listen: None,
            run_dir: None,
            image: None,
            ranks: None,
            mpi: true,
            memory: Self::MEMORY,
            ssh: Self::SSH.map(str::to_owned).into(),
            peers: Vec::new(),
        }
    }
}

impl Peer {
    /// The name without the user in front.
    pub fn host(&self) -> &str {
        self.name.rsplit_once('@').map_or(&self.name, |(_, host)| host)
    }
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        let (name, address) = match text.split_once('=') {
            None => (text, None),
            Some((name, address)) => {
                let parsed = address.parse();
                (name, Some(parsed.map_err(|_| PeerError::Address(text.to_owned(), address.to_owned()))?))
            }
        };
        let named = Self { name: name.to_owned(), address, tunnel: true, ssh: true };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "'\"`$;&|<>()\\".contains(c);
        if name.starts_with('-') || named.host().is_empty() || name.starts_with('@') || name.contains(strange)
        {
            return Err(PeerError::Name(text.to_owned()));
        }
        Ok(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Result<Peer, String> {
        text.parse().map_err(|error: PeerError| error.to_string())
    }

    #[test]
    fn a_host_may_have_a_user_and_an_address() {
        let told = peer("ann@server2=192.0.2.2").unwrap();
        assert_eq!((told.name.as_str(), told.host()), ("ann@server2", "server2"));
        assert_eq!(told.address, Some([192, 0, 2, 2].into()));
        assert_eq!(peer("server2").unwrap().address, None);
        assert_eq!(peer("2001:db8::2").unwrap().host(), "2001:db8::2");
    }

    #[test]
    fn words_that_a_shell_or_ssh_would_take_for_something_else_are_no_host() {
        for text in ["", "-oProxyCommand=x", "a b", "a;reboot", "@x", "ann@", "$(x)"] {
            assert!(peer(text).is_err(), "{text}");
        }
        assert_eq!(peer("a=b").unwrap_err(), "`a=b`: `b` is no IP address");
    }

    #[test]
    fn a_host_of_no_guests_is_a_bridge_only() {
        assert!(Wanted::default().has_guests());
        assert!(!Wanted { ranks: Some(0), ..Wanted::default() }.has_guests());
        assert_eq!(Wanted::default().endpoint().to_string(), "0.0.0.0:4789");
    }
}
