//! What a switch is told when it is made.

use std::time::Duration;

use crate::{Rank, UlaPrefix, World};

/// Length of an Ethernet header without tags: destination, source, type (IEEE 802.3 §3.1).
pub(crate) const ETHERNET_HEADER_LEN: usize = 14;
/// Length of one VLAN tag (IEEE 802.1Q §9.3).
pub(crate) const TAG_LEN: usize = 4;

/// What to do with frames whose source address is not the guest's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MacPolicy {
    /// Carry them and learn where their senders are: containers, nested guests and bonds work. Frames to
    /// addresses that nobody has been seen to have are flooded.
    #[default]
    Learn,
    /// Drop them. As no sender but the ranks can exist, frames to other addresses are dropped too.
    Strict,
}

/// The settings of one rank's switch. [`Config::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This rank.
    pub me: Rank,
    /// All ranks of the job.
    pub world: World,
    /// The MTU of the guest network: the longest IP packet, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// What to do with source addresses other than the guest's own.
    pub mac_policy: MacPolicy,
    /// Whether a guest's ARP request for 10.255.255.254 shuts the job down.
    pub shutdown_by_arp: bool,
    /// How many foreign MAC addresses the switch remembers. Their memory, 48 to 64 bytes each, is
    /// taken once. At most [`Fdb::MAX_CAPACITY`](crate::Fdb::MAX_CAPACITY).
    pub fdb_capacity: usize,
    /// How long a learned address is remembered after its last frame.
    pub ageing_time: Duration,
    /// The IPv6 prefix that the job's guests share.
    pub ula: UlaPrefix,
}

impl Config {
    /// The default MTU of the guest network, in bytes.
    pub const DEFAULT_MTU: u32 = 1500;

    /// The default size of the table of learned addresses.
    pub const DEFAULT_FDB_CAPACITY: usize = 4096;

    /// The default ageing time, the one that IEEE 802.1Q §8.8.3 recommends.
    pub const DEFAULT_AGEING_TIME: Duration = Duration::from_secs(300);

    /// The default settings of rank `me` of `world`.
    pub fn new(me: Rank, world: World) -> Config {
        Config {
            me,
            world,
            mtu: Config::DEFAULT_MTU,
            mac_policy: MacPolicy::default(),
            shutdown_by_arp: true,
            fdb_capacity: Config::DEFAULT_FDB_CAPACITY,
            ageing_time: Config::DEFAULT_AGEING_TIME,
            ula: UlaPrefix::default(),
        }
    }

    /// The length of the longest frame with this many VLAN tags, in bytes.
    pub const fn max_frame_len(&self, tags: usize) -> usize {
        self.mtu as usize + ETHERNET_HEADER_LEN + tags * TAG_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_do_not_count_against_the_mtu() {
        let world = World::new(1).unwrap();
        let config = Config::new(world.rank(0).unwrap(), world);
        assert_eq!([0, 1, 2].map(|tags| config.max_frame_len(tags)), [1514, 1518, 1522]);
    }
}
