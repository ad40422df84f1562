//! What a bridge is told when it is made.

use std::time::Duration;

use crate::Config;
use crate::config::FrameLimit;

/// The settings of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The MTU of the bridged network: the longest IP packet, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// How many bytes VLAN tags may add to a frame of the full MTU. Zero if the way to some port carries no
    /// longer frames than the MTU makes: then packets behind tags have to be shorter, and their senders are
    /// told so.
    pub tag_room: u32,
    /// How many MAC addresses the bridge remembers, of which at most half on one port. Their memory, 48 to 80 bytes each, is taken once. At
    /// most [`Fdb::MAX_CAPACITY`](crate::Fdb::MAX_CAPACITY).
    pub fdb_capacity: usize,
    /// How long a learned address is remembered after its last frame.
    pub ageing_time: Duration,
    /// How many frames a second may come from one port and be flooded, broadcasts and multicasts as well as
    /// frames to addresses that nobody has been seen to have; as many may come at once after a quiet second.
    /// The rest is dropped. `None` is no limit.
    pub storm_limit: Option<u32>,
}

impl BridgeConfig {
    /// The default MTU: what VXLAN over IPv4 leaves of 1500 bytes (RFC 7348 §5).
    pub const DEFAULT_MTU: u32 = 1450;

    /// The default size of the table of learned addresses.
    pub const DEFAULT_FDB_CAPACITY: usize = 8192;

    /// The default storm limit, in frames a second: far more than networks need for finding each other, far
    /// less than a loop makes.
    pub const DEFAULT_STORM_LIMIT: u32 = 10_000;

    pub(super) const fn frame_limit(&self) -> FrameLimit {
        FrameLimit { mtu: self.mtu, tag_room: self.tag_room }
    }
}

impl Default for BridgeConfig {
    fn default() -> BridgeConfig {
        BridgeConfig {
            mtu: BridgeConfig::DEFAULT_MTU,
            tag_room: 0,
            fdb_capacity: BridgeConfig::DEFAULT_FDB_CAPACITY,
            ageing_time: Config::DEFAULT_AGEING_TIME,
            storm_limit: Some(BridgeConfig::DEFAULT_STORM_LIMIT),
        }
    }
}
