//! The table against a naive one, and its corner cases.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::World;

const AGEING_TIME: Duration = Duration::from_secs(300);

fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr::new([2, 0, a, b, c, d])
}

fn peer(index: u32) -> PortId {
    PortId::Peer(World::new(World::MAX_SIZE).unwrap().rank(index).unwrap())
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// Counts what it is told, with the same room for every port.
#[derive(Default)]
struct Shares {
    room: Option<u64>,
    taken: BTreeMap<PortId, u64>,
}

impl Census<PortId> for Shares {
    fn has_room(&self, port: PortId) -> bool {
        self.room.is_none_or(|room| self.taken.get(&port).is_none_or(|&taken| taken < room))
    }

    fn came(&mut self, port: PortId) {
        *self.taken.entry(port).or_default() += 1;
    }

    fn went(&mut self, port: PortId) {
        *self.taken.get_mut(&port).unwrap() -= 1;
    }
}

/// An `Fdb` with its counters.
struct Table {
    fdb: Fdb,
    counters: FdbCounters,
    census: Shares,
}

impl Table {
    fn new(capacity: usize) -> Table {
        let fdb = Fdb::new(capacity, AGEING_TIME);
        Table { fdb, counters: FdbCounters::default(), census: Shares::default() }
    }

    fn learn(&mut self, now: Instant, mac: MacAddr, port: PortId) {
        self.fdb.learn(now, mac, port, &mut self.census, &mut self.counters);
    }

    fn flush(&mut self, port: PortId) {
        self.fdb.flush(port, &mut self.counters);
        self.census.taken.remove(&port);
    }
}

#[test]
fn remembers_where_an_address_was_last_seen() {
    let mut table = Table::new(4);
    table.learn(at(0), mac(1), PortId::Guest);
    assert_eq!(table.fdb.lookup(at(1), mac(1)), Some(PortId::Guest));
    table.learn(at(1), mac(1), peer(7));
    assert_eq!(table.fdb.lookup(at(1), mac(1)), Some(peer(7)));
    assert_eq!(table.counters, FdbCounters { learned: 1, moved: 1, ..FdbCounters::default() });
}

#[test]
fn forgets_an_address_that_was_silent_for_the_ageing_time() {
    let mut table = Table::new(4);
    table.learn(at(0), mac(1), PortId::Guest);
    table.learn(at(200), mac(1), PortId::Guest);
    assert_eq!(table.fdb.lookup(at(499), mac(1)), Some(PortId::Guest));
    assert_eq!(table.fdb.lookup(at(500), mac(1)), None);
    assert_eq!(table.fdb.entries(at(500)).count(), 0);
}

#[test]
fn a_full_table_keeps_what_it_has_until_something_ages() {
    let mut table = Table::new(2);
    table.learn(at(0), mac(1), PortId::Guest);
    table.learn(at(1), mac(2), PortId::Guest);
    for number in 100..200 {
        table.learn(at(2), mac(number), peer(1));
    }
    assert_eq!(table.counters.table_full, 100);
    assert_eq!(table.fdb.lookup(at(2), mac(1)), Some(PortId::Guest));
    assert_eq!(table.fdb.lookup(at(2), mac(2)), Some(PortId::Guest));
    table.learn(at(300), mac(3), peer(1));
    assert_eq!(table.fdb.lookup(at(300), mac(3)), Some(peer(1)));
    assert_eq!(table.counters.aged_out, 1);
}

#[test]
fn a_table_without_room_learns_nothing() {
    let mut table = Table::new(0);
    table.learn(at(0), mac(1), PortId::Guest);
    assert_eq!(table.fdb.lookup(at(0), mac(1)), None);
    assert_eq!(table.counters.table_full, 1);
}

#[test]
fn a_port_that_has_its_share_learns_nothing_new_but_takes_what_moves_to_it() {
    let mut table = Table::new(4);
    table.census.room = Some(1);
    table.learn(at(0), mac(1), peer(1));
    table.learn(at(0), mac(2), peer(1));
    table.learn(at(0), mac(3), peer(2));
    assert_eq!((table.fdb.lookup(at(0), mac(2)), table.counters.table_full), (None, 1));
    table.learn(at(0), mac(3), peer(1));
    assert_eq!(table.fdb.lookup(at(0), mac(3)), Some(peer(1)));
    assert_eq!(table.census.taken[&peer(1)], 2);
    // Both age out, and there is room again.
    table.learn(at(300), mac(2), peer(1));
    assert_eq!(table.fdb.lookup(at(300), mac(2)), Some(peer(1)));
}

#[test]
fn a_flushed_ports_addresses_are_forgotten_and_no_others() {
    let mut table = Table::new(8);
    for number in 0..8 {
        table.learn(at(0), mac(number), peer(number % 2));
    }
    table.flush(peer(1));
    let left: Vec<_> = table.fdb.entries(at(0)).map(|entry| entry.mac).collect();
    assert_eq!(left, [0, 2, 4, 6].map(mac));
    assert_eq!((table.fdb.len(), table.counters.flushed), (4, 4));
}

#[test]
fn a_clock_that_steps_back_does_not_disturb_the_order() {
    let mut table = Table::new(4);
    table.learn(at(100), mac(1), PortId::Guest);
    table.learn(at(50), mac(2), PortId::Guest);
    let seen: Vec<_> = table.fdb.entries(at(0)).map(|entry| (entry.mac, entry.seen)).collect();
    assert_eq!(seen, [(mac(1), at(100)), (mac(2), at(100))]);
}

#[test]
fn holds_as_many_addresses_as_it_says() {
    for capacity in [1, 2, 3, 4, 5, 1000, 4096, 65_536] {
        let mut table = Table::new(capacity);
        for number in 0..capacity as u32 {
            // Spread out, as the addresses of containers are.
            table.learn(at(0), mac(number.wrapping_mul(0x9e37_79b1)), peer(number));
        }
        assert_eq!((table.fdb.len(), table.counters.table_full), (capacity, 0), "capacity {capacity}");
    }
}

#[test]
fn addresses_chosen_to_collide_cost_a_bounded_search() {
    let mut table = Table::new(4096);
    let home = table.fdb.home(mac(0));
    let colliding = (0..).map(mac).filter(|&mac| table.fdb.home(mac) == home);
    let colliding: Vec<_> = colliding.take(MAX_PROBES + 10).collect();
    for &mac in &colliding {
        table.learn(at(0), mac, PortId::Guest);
    }
    assert_eq!(table.fdb.len(), MAX_PROBES);
    assert_eq!(table.counters.table_full, 10);
    // All of them age out, and the table works as before.
    table.learn(at(300), mac(1 << 30), peer(1));
    for &mac in &colliding {
        assert_eq!(table.fdb.lookup(at(300), mac), None);
    }
    assert_eq!(table.fdb.lookup(at(300), mac(1 << 30)), Some(peer(1)));
}

/// The table as one would write it without a thought for speed.
#[derive(Default)]
struct Naive {
    entries: BTreeMap<MacAddr, (PortId, Instant)>,
    moved: u64,
    table_full: u64,
}

impl Naive {
    fn learn(&mut self, now: Instant, mac: MacAddr, port: PortId, capacity: usize) {
        self.entries.retain(|_, (_, seen)| now.saturating_since(*seen) < AGEING_TIME);
        match self.entries.get(&mac) {
            Some((known, _)) => self.moved += u64::from(*known != port),
            None if self.entries.len() == capacity => {
                self.table_full += 1;
                return;
            }
            None => {}
        }
        self.entries.insert(mac, (port, now));
    }

    fn lookup(&self, now: Instant, mac: MacAddr) -> Option<PortId> {
        let (port, seen) = self.entries.get(&mac)?;
        (now.saturating_since(*seen) < AGEING_TIME).then_some(*port)
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Learn { mac: u32, port: u32 },
    Wait { seconds: u64 },
    Flush { port: u32 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..24u32, 0..3u32).prop_map(|(mac, port)| Op::Learn { mac, port }),
        1 => (0..400u64).prop_map(|seconds| Op::Wait { seconds }),
        1 => (0..3u32).prop_map(|port| Op::Flush { port }),
    ];
    prop::collection::vec(op, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_table(capacity in 0..20usize, ops in ops()) {
        let mut table = Table::new(capacity);
        let mut naive = Naive::default();
        let mut now = Instant::ZERO;
        for op in ops {
            match op {
                Op::Wait { seconds } => now = now + Duration::from_secs(seconds),
                Op::Learn { mac: number, port } => {
                    table.learn(now, mac(number), peer(port));
                    naive.learn(now, mac(number), peer(port), capacity);
                }
                Op::Flush { port } => {
                    table.flush(peer(port));
                    naive.entries.retain(|_, (known, _)| *known != peer(port));
                }
            }
            for number in 0..24 {
                prop_assert_eq!(table.fdb.lookup(now, mac(number)), naive.lookup(now, mac(number)));
            }
            prop_assert!(table.fdb.len() <= capacity);
            let live = naive.entries.values().filter(|(_, seen)| now.saturating_since(*seen) < AGEING_TIME);
            prop_assert_eq!(table.fdb.entries(now).count(), live.count());
            prop_assert!(table.fdb.entries(now).is_sorted_by_key(|entry| entry.seen));
        }
        prop_assert_eq!(table.counters.moved, naive.moved);
        prop_assert_eq!(table.counters.table_full, naive.table_full);
        let FdbCounters { learned, aged_out, flushed, .. } = table.counters;
        prop_assert_eq!(learned - aged_out - flushed, table.fdb.len() as u64);
        prop_assert_eq!(table.census.taken.values().sum::<u64>(), table.fdb.len() as u64);
    }
}
