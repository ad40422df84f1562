//! Ranks, the world that they form, and the addresses that follow from them.
//!
//! A rank's MAC, IPv4 and IPv6 addresses are arithmetic on its number, in both directions: nothing is
//! looked up and nothing is configured. IPv6 is in [`crate::ipv6`].

use std::fmt;
use std::net::Ipv4Addr;

use crate::MacAddr;

/// The ranks of one job: how many there are.
///
/// ```
/// use mvpnet_switch::World;
///
/// let world = World::new(4)?;
/// let last = world.rank(3).expect("ranks are 0..4");
/// assert_eq!(last.mac().to_string(), "52:55:00:00:00:03");
/// assert_eq!(last.ipv4().to_string(), "10.0.0.4");
/// assert_eq!(last.host_name(), "n0003");
/// assert!(world.rank(4).is_err());
/// # Ok::<(), mvpnet_switch::WorldError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World(u32);

/// One rank of a job, and its guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u32);

/// Whose an individual Ethernet address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacOwner {
    /// A rank of this world.
    Rank(Rank),
    /// It is in the ranks' range, but no rank of this world has it.
    AbsentRank,
    /// The switch itself.
    Switch,
    /// None of ours: a container, a nested guest, a bond or a multicast address.
    Foreign,
}

/// A number that cannot be the size of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job has 1 to {} ranks, not {size}", World::MAX_SIZE)]
pub struct WorldError {
    size: u32,
}

/// A number that is not a rank of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rank {index} is outside the job, whose {size} ranks are 0 to {}", size - 1)]
pub struct RankError {
    index: u32,
    size: u32,
}

/// The guest network, 10.0.0.0/8.
pub(crate) const NETWORK: u32 = 10 << 24;
/// The netmask of the guest network.
pub(crate) const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 0, 0, 0);

impl World {
    /// The most ranks that a job can have: 10.0.0.0/8 without the network's own address, the shutdown
    /// address and the broadcast address.
    pub const MAX_SIZE: u32 = (1 << 24) - 3;

    /// A guest that asks by ARP who has this address shuts the job down.
    pub const SHUTDOWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 254);

    /// The broadcast address of the guest network.
    pub const BROADCAST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 255);

    /// A world of `size` ranks, 1 to [`World::MAX_SIZE`].
    pub const fn new(size: u32) -> Result<World, WorldError> {
        if size >= 1 && size <= World::MAX_SIZE { Ok(World(size)) } else { Err(WorldError { size }) }
    }

    /// The number of ranks.
    pub const fn size(self) -> u32 {
        self.0
    }

    /// The rank with this number.
    pub const fn rank(self, index: u32) -> Result<Rank, RankError> {
        Rank::new(index, self)
    }

    /// All ranks, in ascending order.
    pub fn ranks(self) -> impl ExactSizeIterator<Item = Rank> + DoubleEndedIterator + Clone {
        (0..self.0).map(Rank)
    }

    /// Whether `rank` is one of this world's: it might have been made for a larger one.
    pub const fn contains(self, rank: Rank) -> bool {
        rank.0 < self.0
    }

    /// Whose address `mac` is.
    pub const fn owner_of(self, mac: MacAddr) -> MacOwner {
        match mac.rank_index() {
            Some(index) if index < self.0 => MacOwner::Rank(Rank(index)),
            Some(_) => MacOwner::AbsentRank,
            None => match mac {
                MacAddr::SWITCH => MacOwner::Switch,
                _ => MacOwner::Foreign,
            },
        }
    }

    /// The rank that has this IPv4 address.
    pub const fn rank_of_ipv4(self, address: Ipv4Addr) -> Option<Rank> {
        match address.to_bits().checked_sub(NETWORK + 1) {
            Some(index) if index < self.0 => Some(Rank(index)),
            _ => None,
        }
    }

    /// Whether the address is in the guest network, 10.0.0.0/8, whoever has it.
    pub const fn is_network_address(address: Ipv4Addr) -> bool {
        address.to_bits() & NETMASK.to_bits() == NETWORK
    }
}

impl Rank {
    /// Rank number `index` of `world`.
    pub const fn new(index: u32, world: World) -> Result<Rank, RankError> {
        if index < world.0 { Ok(Rank(index)) } else { Err(RankError { index, size: world.0 }) }
    }

    /// The rank's number, from 0.
    pub const fn index(self) -> u32 {
        self.0
    }

    /// The MAC of the guest's cluster NIC: 52:55, then the rank in four bytes, big-endian.
    pub const fn mac(self) -> MacAddr {
        MacAddr::of_rank(self.0)
    }

    /// The guest's IPv4 address: 10.0.0.1 for rank 0 and so on.
    pub const fn ipv4(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(NETWORK + 1 + self.0)
    }

    /// The guest's host name: n0000, n0001 and so on, with four digits at least.
    pub fn host_name(self) -> String {
        format!("n{:04}", self.0)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rank({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_world_has_at_least_one_rank_and_leaves_room_for_the_reserved_addresses() {
        assert!(World::new(0).is_err());
        assert!(World::new(World::MAX_SIZE + 1).is_err());
        let world = World::new(World::MAX_SIZE).unwrap();
        let last = world.ranks().next_back().unwrap();
        assert_eq!(last.ipv4(), Ipv4Addr::new(10, 255, 255, 253));
        assert_eq!(world.rank_of_ipv4(World::SHUTDOWN_ADDRESS), None);
        assert_eq!(world.rank_of_ipv4(World::BROADCAST_ADDRESS), None);
        assert_eq!(world.rank_of_ipv4(Ipv4Addr::new(10, 0, 0, 0)), None);
    }

    #[test]
    fn the_switch_is_nobody_else() {
        assert_eq!(World::new(1).unwrap().owner_of(MacAddr::SWITCH), MacOwner::Switch);
    }

    #[test]
    fn errors_name_the_numbers() {
        let world = World::new(3).unwrap();
        assert_eq!(
            world.rank(3).unwrap_err().to_string(),
            "rank 3 is outside the job, whose 3 ranks are 0 to 2"
        );
        assert_eq!(World::new(0).unwrap_err().to_string(), "a job has 1 to 16777213 ranks, not 0");
    }

    #[test]
    fn host_names_have_four_digits_at_least() {
        let world = World::new(World::MAX_SIZE).unwrap();
        assert_eq!(world.rank(7).unwrap().host_name(), "n0007");
        assert_eq!(world.rank(123_456).unwrap().host_name(), "n123456");
    }

    proptest! {
        #[test]
        fn addresses_lead_back_to_their_rank(size in 1..=World::MAX_SIZE, index in any::<u32>()) {
            let world = World::new(size).unwrap();
            let rank = world.rank(index % size).unwrap();
            prop_assert_eq!(world.owner_of(rank.mac()), MacOwner::Rank(rank));
            prop_assert_eq!(world.rank_of_ipv4(rank.ipv4()), Some(rank));
            prop_assert!(World::is_network_address(rank.ipv4()));
        }

        #[test]
        fn ranks_outside_the_world_are_absent(size in 1..=World::MAX_SIZE, beyond in any::<u32>()) {
            let world = World::new(size).unwrap();
            let index = size.saturating_add(beyond);
            prop_assert!(world.rank(index).is_err());
            prop_assert_eq!(world.owner_of(MacAddr::of_rank(index)), MacOwner::AbsentRank);
        }
    }
}
