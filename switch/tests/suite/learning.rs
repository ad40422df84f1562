//! Foreign addresses, from the switch's point of view; the table itself is tested where it is defined.

use std::time::Duration;

use mvpnet_switch::{
    Config, Delivery, DropReason, FdbEntry, Ingress, Instant, MacAddr, PortId, Switch, Verdict,
};

use crate::cluster::Cluster;
use crate::frames::*;

fn flooded_by(switch: &mut Switch, origin: u32, source: MacAddr) {
    let frame = plain(MacAddr::BROADCAST, source);
    let ingress = Ingress::Peer { origin: rank(origin), delivery: Delivery::Flood };
    let _ = switch.decide(Instant::ZERO, ingress, &frame, frame.len());
}

#[test]
fn a_container_is_learned_behind_the_rank_that_its_frames_came_from() {
    let mut switch = switch();
    flooded_by(&mut switch, 3, CONTAINER);
    let frame = plain(CONTAINER, rank(0).mac());
    assert_eq!(from_guest(&mut switch, &frame), Verdict::Forward(PortId::Peer(rank(3))));
    let entries: Vec<_> = switch.fdb().entries(Instant::ZERO).collect();
    assert_eq!(entries, [FdbEntry { mac: CONTAINER, port: PortId::Peer(rank(3)), seen: Instant::ZERO }]);
}

#[test]
fn containers_of_one_guest_talk_to_each_other_inside_it() {
    let mut switch = switch();
    let _ = from_guest(&mut switch, &plain(MacAddr::BROADCAST, CONTAINER));
    let verdict = from_guest(&mut switch, &plain(CONTAINER, OTHER_CONTAINER));
    assert_eq!(verdict, Verdict::Drop(DropReason::SamePort));
}

#[test]
fn a_container_that_moves_is_found_at_its_new_place() {
    let mut switch = switch();
    flooded_by(&mut switch, 3, CONTAINER);
    flooded_by(&mut switch, 2, CONTAINER);
    let frame = plain(CONTAINER, rank(0).mac());
    assert_eq!(from_guest(&mut switch, &frame), Verdict::Forward(PortId::Peer(rank(2))));
    assert_eq!(switch.counters().fdb.moved, 1);
}

#[test]
fn a_silent_container_is_forgotten_after_the_ageing_time() {
    let mut switch = switch();
    flooded_by(&mut switch, 3, CONTAINER);
    let frame = plain(CONTAINER, rank(0).mac());
    let mut at = |now: Instant| switch.decide(now, Ingress::Guest, &frame, frame.len());
    let last = Instant::from_nanos(300 * 1_000_000_000 - 1);
    assert_eq!(at(last), Verdict::Forward(PortId::Peer(rank(3))));
    assert!(matches!(at(last + Duration::from_nanos(1)), Verdict::Flood(_)));
}

#[test]
fn rank_addresses_are_never_learned() {
    let mut switch = switch();
    flooded_by(&mut switch, 3, rank(3).mac());
    let _ = from_guest(&mut switch, &plain(MacAddr::BROADCAST, rank(0).mac()));
    assert!(switch.fdb().is_empty());
    assert_eq!(switch.counters().fdb.learned, 0);
}

#[test]
fn made_up_addresses_do_not_push_out_real_ones() {
    let mut switch = Switch::new(Config { fdb_capacity: 8, ..config() });
    flooded_by(&mut switch, 3, CONTAINER);
    for number in 0..10_000u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let _ = from_guest(&mut switch, &plain(MacAddr::BROADCAST, MacAddr::new([6, 0, a, b, c, d])));
    }
    let frame = plain(CONTAINER, rank(0).mac());
    assert_eq!(from_guest(&mut switch, &frame), Verdict::Forward(PortId::Peer(rank(3))));
    assert_eq!(switch.fdb().len(), 8);
    assert_eq!(switch.counters().fdb.table_full, 10_000 - 7);
}

#[test]
fn two_containers_converse_without_flooding_after_the_first_exchange() {
    let world = world(16);
    let mut cluster = Cluster::new(world, |_| {});
    let (here, there) = (rank(2), rank(11));
    assert_eq!(cluster.send(Instant::ZERO, here, &plain(OTHER_CONTAINER, CONTAINER)).receivers.len(), 15);
    let answer = cluster.send(Instant::ZERO, there, &plain(CONTAINER, OTHER_CONTAINER));
    assert_eq!(answer.receivers, [here]);
    let next = cluster.send(Instant::ZERO, here, &plain(OTHER_CONTAINER, CONTAINER));
    assert_eq!(next.receivers, [there]);
    cluster.check_books();
}
