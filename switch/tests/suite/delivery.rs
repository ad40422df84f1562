//! A whole world of switches against a naive one: each frame reaches exactly the guests that it should.

use std::collections::BTreeMap;
use std::time::Duration;

use mvpnet_switch::{Instant, MacAddr, MacOwner, MacPolicy, PortId, Rank, Topology, World};
use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::frames::{plain, world};

const AGEING_TIME: Duration = Duration::from_secs(300);

/// The network as one would describe it to a person.
struct Naive {
    world: World,
    policy: MacPolicy,
    /// What each rank has learned.
    seen: Vec<BTreeMap<MacAddr, (PortId, Instant)>>,
}

impl Naive {
    fn new(world: World, policy: MacPolicy) -> Naive {
        Naive { world, policy, seen: vec![BTreeMap::new(); world.size() as usize] }
    }

    /// Who gets the frame.
    fn send(&mut self, now: Instant, from: Rank, source: MacAddr, destination: MacAddr) -> Vec<Rank> {
        let foreign = self.world.owner_of(source) == MacOwner::Foreign && !source.is_multicast();
        let allowed = source == from.mac() || (foreign && self.policy == MacPolicy::Learn);
        if !allowed {
            return Vec::new();
        }
        if foreign {
            self.seen[from.index() as usize].insert(source, (PortId::Guest, now));
        }
        let receivers = self.receivers(now, from, destination);
        if foreign {
            for receiver in &receivers {
                self.seen[receiver.index() as usize].insert(source, (PortId::Peer(from), now));
            }
        }
        receivers
    }

    fn receivers(&self, now: Instant, from: Rank, destination: MacAddr) -> Vec<Rank> {
        let everyone_else = || self.world.ranks().filter(|&rank| rank != from).collect();
        if destination.is_multicast() {
            return everyone_else();
        }
        match self.world.owner_of(destination) {
            MacOwner::Rank(rank) if rank != from => vec![rank],
            MacOwner::Rank(_) | MacOwner::AbsentRank | MacOwner::Switch => Vec::new(),
            MacOwner::Foreign if self.policy == MacPolicy::Strict => Vec::new(),
            MacOwner::Foreign => match self.seen[from.index() as usize].get(&destination) {
                Some((_, seen)) if now.saturating_since(*seen) >= AGEING_TIME => everyone_else(),
                Some((PortId::Guest | PortId::Tunnel(_), _)) => Vec::new(),
                Some((PortId::Peer(rank), _)) => vec![*rank],
                None => everyone_else(),
            },
        }
    }
}

#[derive(Clone, Debug)]
struct Sending {
    from: u32,
    source: Address,
    destination: Address,
    pause: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Address {
    OwnOf(u32),
    AbsentRank,
    Switch,
    Foreign(u8),
    Multicast,
    Broadcast,
}

impl Address {
    fn mac(self, world: World) -> MacAddr {
        match self {
            Address::OwnOf(index) => world.rank(index % world.size()).unwrap().mac(),
            Address::AbsentRank => {
                let [a, b, c, d] = world.size().to_be_bytes();
                MacAddr::new([0x52, 0x55, a, b, c, d])
            }
            Address::Switch => MacAddr::SWITCH,
            Address::Foreign(last) => MacAddr::new([2, 0, 0, 0, 0, last]),
            Address::Multicast => MacAddr::new([0x01, 0, 0x5e, 0, 0, 251]),
            Address::Broadcast => MacAddr::BROADCAST,
        }
    }
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        4 => any::<u32>().prop_map(Address::OwnOf),
        6 => (0..6u8).prop_map(Address::Foreign),
        1 => Just(Address::AbsentRank),
        1 => Just(Address::Switch),
        1 => Just(Address::Multicast),
        1 => Just(Address::Broadcast),
    ]
}

fn sendings() -> impl Strategy<Value = Vec<Sending>> {
    let pause = prop_oneof![8 => Just(0), 2 => 1..100u64, 1 => 200..400u64].prop_map(Duration::from_secs);
    let sending = (any::<u32>(), address(), address(), pause, any::<bool>());
    let sending = sending.prop_map(|(from, source, destination, pause, own)| {
        let source = if own { Address::OwnOf(from) } else { source };
        Sending { from, source, destination, pause }
    });
    prop::collection::vec(sending, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_reaches_exactly_the_guests_that_it_should(
        size in 1..20u32,
        strict in any::<bool>(),
        star in any::<bool>(),
        sendings in sendings(),
    ) {
        let world = world(size);
        let policy = if strict { MacPolicy::Strict } else { MacPolicy::Learn };
        let mut cluster = Cluster::new(world, |config| {
            config.mac_policy = policy;
            config.topology = if star { Topology::Star } else { Topology::Tree };
            config.fdb_capacity = 16;
            config.ageing_time = AGEING_TIME;
        });
        let mut naive = Naive::new(world, policy);
        let mut now = Instant::ZERO;
        for Sending { from, source, destination, pause } in sendings {
            now = now + pause;
            let from = world.rank(from % size).unwrap();
            let (source, destination) = (source.mac(world), destination.mac(world));
            let outcome = cluster.send(now, from, &plain(destination, source));
            let expected = naive.send(now, from, source, destination);
            prop_assert_eq!(
                outcome.receivers, expected,
                "{} to {} from rank {} ({:?})", source, destination, from, outcome.verdict
            );
            cluster.check_books();
        }
    }
}

#[test]
fn a_broadcast_reaches_every_other_guest_once_from_every_rank() {
    for size in [1, 2, 3, 4, 7, 8, 33, 100] {
        let world = world(size);
        for topology in [Topology::Tree, Topology::Star] {
            let mut cluster = Cluster::new(world, |config| {
                config.fdb_capacity = 0;
                config.topology = topology;
            });
            for from in world.ranks() {
                let outcome = cluster.send(Instant::ZERO, from, &plain(MacAddr::BROADCAST, from.mac()));
                let others: Vec<_> = world.ranks().filter(|&rank| rank != from).collect();
                assert_eq!(outcome.receivers, others, "from {from} of {size}, {topology:?}");
            }
            cluster.check_books();
        }
    }
}
