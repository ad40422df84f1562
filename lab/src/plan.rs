//! The lab as one description: which server has the bridge, which have guests, how many, and what the guests are.
//!
//! A [`LabPlan`] is read from a file in TOML, in which whatever is not understood is an error with its line. It is
//! plain data: nothing here looks at a host. [`arguments`](LabPlan::bridge_arguments) are the command lines that the
//! plan comes to; starting them is [`run`](crate::run)'s matter.
//!
//! ```
//! use mvpnet_lab::plan::LabPlan;
//!
//! let plan: LabPlan = r#"
//!     name = "demo"
//!
//!     [bridge]
//!     host = "server2"
//!
//!     [[server]]
//!     host = "server1"
//!     guests = 4
//!
//!     [guest]
//!     image = "debian.qcow2"
//!     memory = "1G"
//! "#
//! .parse()?;
//! assert_eq!(plan.servers[0].vnis().to_string(), "40-43");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arguments;
mod guest;
mod host;
mod read;
mod seed;
mod server;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use mvpnet_switch::{Vni, VniList, World};

pub use arguments::{KEYS_FILE, Place, READY_FILE, Word};
pub use guest::{Guest, Image, Ready, User};
pub use host::Host;
pub use seed::SeedFile;

/// Why a file describes no lab.
pub type PlanError = mvpnet_settings::SettingsError;

/// A whole lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabPlan {
    /// Its name, which sockets, logs and interfaces have too.
    pub name: String,
    /// The server that switches.
    pub bridge: BridgePlan,
    /// The servers that have guests, in the order of their ranks.
    pub servers: Vec<ServerPlan>,
}

/// The server that switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePlan {
    /// Where it is.
    pub host: Host,
    /// What the servers with guests call it.
    pub address: String,
    /// Its own address that VXLAN comes to, if not all of them.
    pub listen: Option<IpAddr>,
    /// The UDP port of VXLAN, on all servers.
    pub vxlan_port: u16,
    /// Whether its kernel switches.
    pub kernel: bool,
    /// What this program is called there.
    pub mvpnet: String,
    /// More flags of `mvpnet bridge`.
    pub flags: Vec<String>,
}

/// A server that has guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPlan {
    /// Its name, which no other server of the lab has.
    pub name: String,
    /// Where it is.
    pub host: Host,
    /// What the bridge calls it.
    pub address: String,
    /// Its own address that VXLAN comes to, if not that of the route to the bridge.
    pub listen: Option<IpAddr>,
    /// How many guests it has.
    pub guests: u32,
    /// The first guest's network; the others have those that follow.
    pub vni: Vni,
    /// The first guest's rank in the lab.
    pub first_rank: u32,
    /// Whether its kernel encapsulates.
    pub tap: bool,
    /// What this program is called there.
    pub mvpnet: String,
    /// What its guests are.
    pub guest: Guest,
}

impl LabPlan {
    /// The first network of a lab that names none.
    pub const FIRST_VNI: u32 = 40;
    /// The most guests: one bridge has no more ports.
    pub const MAX_GUESTS: u32 = VniList::MAX_LEN as u32;

    /// All guests' ranks.
    pub fn world(&self) -> World {
        let guests = self.servers.iter().map(|server| server.guests).sum();
        World::new(guests).expect("a lab has 1 to 4096 guests")
    }

    /// The networks of all guests.
    pub fn vnis(&self) -> VniList {
        let all: Vec<String> = self.servers.iter().map(ServerPlan::vni_range).collect();
        all.join(",").parse().expect("ranges that do not overlap, of no more guests than a list takes")
    }

    /// Every host, each once, the bridge's first.
    pub fn hosts(&self) -> Vec<&Host> {
        let mut hosts = vec![&self.bridge.host];
        for server in &self.servers {
            if !hosts.contains(&&server.host) {
                hosts.push(&server.host);
            }
        }
        hosts
    }
}

impl ServerPlan {
    /// Its guests' networks.
    pub fn vnis(&self) -> VniList {
        self.vni_range().parse().expect("a range of no more guests than a list takes")
    }

    fn vni_range(&self) -> String {
        match (self.vni, self.last_vni()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        }
    }

    /// The last guest's network.
    fn last_vni(&self) -> Vni {
        self.vni.plus(self.guests - 1).expect("the last guest's network was checked")
    }

    /// Its guests' ranks.
    pub fn ranks(&self) -> std::ops::Range<u32> {
        self.first_rank..self.first_rank + self.guests
    }

    /// The network of one of its guests.
    pub fn vni_of(&self, rank: u32) -> Option<Vni> {
        self.ranks().contains(&rank).then(|| self.vni.plus(rank - self.first_rank)).flatten()
    }
}
