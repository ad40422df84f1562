//! How a bridge does: what `mvpnet bridge status` shows. The names of the fields are its JSON, and stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A bridge at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// How long it has been running, in seconds.
    pub uptime_s: u64,
    /// The address and UDP port that it listens on.
    pub listen: String,
    /// The MTU of the guests' network.
    pub mtu: u32,
    /// One for each VNI, in their order.
    pub ports: Vec<PortStatus>,
    /// The addresses that were learned, those that were silent longest first.
    pub fdb: Vec<FdbStatus>,
    /// Datagrams that were not taken, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// How often a peer, or a router, said that nobody is there.
    pub unreachable: u64,
    /// Datagrams that the kernel had no room for.
    pub kernel_drops: u64,
    /// Whether every frame is accounted for.
    pub books_balance: bool,
}

/// One VNI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its number.
    pub vni: u32,
    /// Where its guest is.
    pub peer: String,
    /// The largest IP packet that the path there carries, as far as known, in bytes.
    pub path_mtu: u32,
    /// What came from there.
    pub received: Volume,
    /// What went there.
    pub sent: Volume,
    /// What did not, or was taken no further, by reason.
    pub drops: BTreeMap<String, u64>,
    /// When a frame last came from there, in seconds; none yet if absent.
    pub last_seen_s: Option<u64>,
}

/// Frames, and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// How many.
    pub frames: u64,
    /// How long, all together.
    pub bytes: u64,
}

/// An address that was learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbStatus {
    /// The address.
    pub mac: String,
    /// The VNI that it is behind.
    pub vni: u32,
    /// How long ago it was last seen, in seconds.
    pub age_s: u64,
}

impl From<mvpnet_switch::Tally> for Volume {
    fn from(tally: mvpnet_switch::Tally) -> Self {
        Self { frames: tally.frames, bytes: tally.bytes }
    }
}

impl Status {
    /// All that came in by any VNI.
    pub fn received(&self) -> Volume {
        self.ports.iter().fold(Volume::default(), |sum, port| sum.plus(port.received))
    }

    /// All that went out by any VNI; a flooded frame counts once for each.
    pub fn sent(&self) -> Volume {
        self.ports.iter().fold(Volume::default(), |sum, port| sum.plus(port.sent))
    }

    /// What was dropped, by reason, over all VNIs.
    pub fn drops(&self) -> BTreeMap<&str, u64> {
        let mut drops = BTreeMap::new();
        for (reason, count) in self.ports.iter().flat_map(|port| &port.drops) {
            *drops.entry(reason.as_str()).or_default() += count;
        }
        drops
    }
}

impl Volume {
    fn plus(self, more: Self) -> Self {
        Self { frames: self.frames + more.frames, bytes: self.bytes + more.bytes }
    }
}
