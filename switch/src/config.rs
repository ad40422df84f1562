//! What a switch is told when it is made.

use std::time::Duration;

use crate::{Rank, UlaPrefix, Vni, World};

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
    /// Drop them. As no sender but the ranks can exist, frames to other addresses are dropped too, except
    /// before a tunnel, where others may be behind it.
    Strict,
}

/// How long frames may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLimit {
    /// The longest IP packet.
    pub(crate) mtu: u32,
    /// How much longer VLAN tags may make the frame.
    pub(crate) tag_room: u32,
}

impl FrameLimit {
    /// The length of the longest frame with this many VLAN tags, in bytes.
    pub(crate) const fn max_frame_len(self, tags: usize) -> usize {
        let (tags_len, room) = (tags * TAG_LEN, self.tag_room as usize);
        self.mtu as usize + ETHERNET_HEADER_LEN + if tags_len < room { tags_len } else { room }
    }

    /// The longest IP packet behind this many VLAN tags, in bytes.
    pub(crate) const fn mtu_behind(self, tags: usize) -> usize {
        self.max_frame_len(tags).saturating_sub(ETHERNET_HEADER_LEN + tags * TAG_LEN)
    }
}

/// How the ranks' switches are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Topology {
    /// Each to each. A flood goes from rank to rank, down a tree whose root is its sender's.
    #[default]
    Tree,
    /// Each to each. The sender of a flood sends it to every other rank itself, and nobody passes it on, as
    /// VTEPs do (head-end replication).
    Star,
    /// Not at all: the one way out of a rank is a tunnel to a bridge, which joins it with other guests. The
    /// network behind it is an Ethernet like any other, where hosts find each other by asking.
    Tunnel(Vni),
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
    /// How many bytes VLAN tags may add to a frame of the full MTU. Eight, for two tags, unless the way to
    /// other ranks carries no longer frames than the MTU makes: then packets behind tags have to be shorter,
    /// and their senders are told so.
    pub tag_room: u32,
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
    /// How the ranks are joined.
    pub topology: Topology,
}

impl Config {
    /// The default MTU of the guest network, in bytes.
    pub const DEFAULT_MTU: u32 = 1500;

    /// The default room for VLAN tags: for two, in bytes.
    pub const DEFAULT_TAG_ROOM: u32 = 2 * TAG_LEN as u32;

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
            tag_room: Config::DEFAULT_TAG_ROOM,
            mac_policy: MacPolicy::default(),
            shutdown_by_arp: true,
            fdb_capacity: Config::DEFAULT_FDB_CAPACITY,
            ageing_time: Config::DEFAULT_AGEING_TIME,
            ula: UlaPrefix::default(),
            topology: Topology::default(),
        }
    }

    /// The length of the longest frame with this many VLAN tags, in bytes.
    pub const fn max_frame_len(&self, tags: usize) -> usize {
        self.frame_limit().max_frame_len(tags)
    }

    pub(crate) const fn frame_limit(&self) -> FrameLimit {
        FrameLimit { mtu: self.mtu, tag_room: self.tag_room }
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
        assert_eq!([0, 1, 2].map(|tags| config.frame_limit().mtu_behind(tags)), [1500; 3]);
    }

    #[test]
    fn where_there_is_no_room_for_tags_packets_behind_them_are_shorter() {
        let limit = FrameLimit { mtu: 1450, tag_room: 4 };
        assert_eq!([0, 1, 2].map(|tags| limit.max_frame_len(tags)), [1464, 1468, 1468]);
        assert_eq!([0, 1, 2].map(|tags| limit.mtu_behind(tags)), [1450, 1450, 1446]);
        assert_eq!(FrameLimit { mtu: 0, tag_room: 0 }.mtu_behind(2), 0);
    }
}
