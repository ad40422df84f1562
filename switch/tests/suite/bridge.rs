//! The learning bridge, case by case.

use std::time::Duration;

use mvpnet_switch::{
    AddPortError, Bridge, BridgeConfig, BridgePort, BridgeVerdict, DropReason, Instant, MacAddr, Tally,
    VniList,
};

use crate::frames::*;

const A: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xb]);
const C: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xc]);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// A bridge with three ports.
fn bridge(config: BridgeConfig) -> (Bridge, [BridgePort; 3]) {
    let mut bridge = Bridge::new(config);
    let ports = [40, 41, 60].map(|number| bridge.add_port(vni(number)).unwrap());
    (bridge, ports)
}

fn decide(
    bridge: &mut Bridge,
    now: Instant,
    ingress: BridgePort,
    to: MacAddr,
    from: MacAddr,
) -> BridgeVerdict {
    let frame = plain(to, from);
    bridge.decide(now, ingress, &frame, frame.len())
}

#[test]
fn floods_what_is_for_everyone_and_what_is_for_nobody_known_except_to_ingress() {
    let (mut bridge, [one, two, three]) = bridge(BridgeConfig::default());
    for destination in [MacAddr::BROADCAST, MacAddr::new([0x33, 0x33, 0, 0, 0, 1]), B] {
        assert_eq!(decide(&mut bridge, at(0), two, destination, A), BridgeVerdict::Flood);
    }
    assert_eq!(bridge.flood_targets(two).collect::<Vec<_>>(), [one, three]);
    for port in [one, three] {
        assert_eq!(bridge.counters(port).traffic.pending().frames, 3);
    }
    assert_eq!(bridge.counters(two).traffic.pending(), Tally::default());
}

#[test]
fn forwards_to_the_port_where_the_destination_was_last_seen() {
    let (mut bridge, [one, two, three]) = bridge(BridgeConfig::default());
    let _ = decide(&mut bridge, at(0), two, MacAddr::BROADCAST, B);
    assert_eq!(decide(&mut bridge, at(1), one, B, A), BridgeVerdict::Forward(two));
    assert_eq!(decide(&mut bridge, at(1), two, A, B), BridgeVerdict::Forward(one));
    // B moves.
    let _ = decide(&mut bridge, at(2), three, MacAddr::BROADCAST, B);
    assert_eq!(decide(&mut bridge, at(2), one, B, A), BridgeVerdict::Forward(three));
    assert_eq!((bridge.fdb_counters().learned, bridge.fdb_counters().moved), (2, 1));
    let entries: Vec<_> = bridge.fdb().entries(at(2)).map(|entry| (entry.mac, entry.port)).collect();
    assert_eq!(entries, [(B, three), (A, one)]);
}

#[test]
fn an_address_is_forgotten_after_the_ageing_time() {
    let (mut bridge, [one, two, _]) = bridge(BridgeConfig::default());
    let _ = decide(&mut bridge, at(0), two, MacAddr::BROADCAST, B);
    assert_eq!(decide(&mut bridge, at(299), one, B, A), BridgeVerdict::Forward(two));
    assert_eq!(decide(&mut bridge, at(300), one, B, A), BridgeVerdict::Flood);
    assert_eq!(bridge.fdb_counters().aged_out, 1);
}

#[test]
fn neighbours_behind_one_port_do_not_need_the_bridge() {
    let (mut bridge, [one, ..]) = bridge(BridgeConfig::default());
    let _ = decide(&mut bridge, at(0), one, MacAddr::BROADCAST, B);
    assert_eq!(decide(&mut bridge, at(0), one, B, A), BridgeVerdict::Drop(DropReason::SamePort));
    assert_eq!(decide(&mut bridge, at(0), one, A, A), BridgeVerdict::Drop(DropReason::SamePort));
}

#[test]
fn what_is_for_the_neighbours_on_a_link_is_not_forwarded() {
    let (mut bridge, [one, ..]) = bridge(BridgeConfig::default());
    for last in 0x00..=0x0f {
        let group = MacAddr::new([0x01, 0x80, 0xc2, 0, 0, last]);
        let verdict = decide(&mut bridge, at(0), one, group, A);
        assert_eq!(verdict, BridgeVerdict::Drop(DropReason::ReservedGroup), "{group}");
    }
    assert!(bridge.fdb().is_empty());
    let next = MacAddr::new([0x01, 0x80, 0xc2, 0, 0, 0x10]);
    assert_eq!(decide(&mut bridge, at(0), one, next, A), BridgeVerdict::Flood);
}

#[test]
fn runts_oversize_frames_and_group_sources_are_dropped() {
    let (mut bridge, [one, ..]) = bridge(BridgeConfig::default());
    let frame = plain(B, A);
    let runt = bridge.decide(at(0), one, &frame[..13], 13);
    assert_eq!(runt, BridgeVerdict::Drop(DropReason::Runt));
    assert_eq!(bridge.decide(at(0), one, &frame, 1464), BridgeVerdict::Flood);
    let oversize = bridge.decide(at(0), one, &frame, 1465);
    assert_eq!(oversize, BridgeVerdict::Drop(DropReason::Oversize));
    let from_a_group = decide(&mut bridge, at(0), one, B, MacAddr::BROADCAST);
    assert_eq!(from_a_group, BridgeVerdict::Drop(DropReason::MulticastSource));
    assert_eq!(bridge.check(), Ok(()));
}

#[test]
fn tags_pass_and_count_against_the_mtu_where_they_have_no_room() {
    for (tag_room, limits) in [(0, [1464, 1464, 1464]), (4, [1464, 1468, 1468]), (8, [1464, 1468, 1472])] {
        let (mut bridge, [one, ..]) = bridge(BridgeConfig { tag_room, ..BridgeConfig::default() });
        for (types, limit) in [&[][..], &[0x8100], &[0x88a8, 0x8100]].into_iter().zip(limits) {
            assert_eq!(bridge.max_frame_len(types.len()), limit);
            let frame = tagged(&plain(B, A), types);
            assert_eq!(bridge.decide(at(0), one, &frame, limit), BridgeVerdict::Flood);
            let verdict = bridge.decide(at(0), one, &frame, limit + 1);
            assert_eq!(verdict, BridgeVerdict::Drop(DropReason::Oversize));
        }
    }
}

#[test]
fn a_storm_on_one_port_is_cut_off_and_leaves_unicast_and_other_ports_alone() {
    let (mut bridge, [one, two, _]) =
        bridge(BridgeConfig { storm_limit: Some(100), ..BridgeConfig::default() });
    let _ = decide(&mut bridge, at(0), two, MacAddr::BROADCAST, B);
    let mut flooded = |now| {
        let storm = (0..1000)
            .map(|n| decide(&mut bridge, now, one, if n % 2 == 0 { C } else { MacAddr::BROADCAST }, A));
        storm.filter(|verdict| *verdict == BridgeVerdict::Flood).count()
    };
    assert_eq!(flooded(at(1)), 100);
    assert_eq!(flooded(at(1) + Duration::from_millis(250)), 25);
    assert_eq!(flooded(at(60)), 100);
    assert_eq!(decide(&mut bridge, at(60), one, B, A), BridgeVerdict::Forward(two));
    assert_eq!(decide(&mut bridge, at(60), two, MacAddr::BROADCAST, B), BridgeVerdict::Flood);
    assert_eq!(bridge.counters(one).ingress_drops.by(DropReason::StormLimit).frames, 3000 - 225);
}

#[test]
fn without_a_storm_limit_everything_is_flooded() {
    let (mut bridge, [one, ..]) = bridge(BridgeConfig { storm_limit: None, ..BridgeConfig::default() });
    for _ in 0..100_000 {
        assert_eq!(decide(&mut bridge, at(0), one, MacAddr::BROADCAST, A), BridgeVerdict::Flood);
    }
}

#[test]
fn a_guest_that_makes_up_addresses_leaves_room_for_those_of_others() {
    let (mut bridge, [one, two, _]) = bridge(BridgeConfig { fdb_capacity: 16, ..BridgeConfig::default() });
    for last in 0..100 {
        let _ = decide(&mut bridge, at(0), one, MacAddr::BROADCAST, MacAddr::new([2, 0, 0, 0, 1, last]));
    }
    assert_eq!((bridge.fdb().len(), bridge.fdb_counters().table_full), (8, 92));
    let _ = decide(&mut bridge, at(0), two, MacAddr::BROADCAST, B);
    assert_eq!(bridge.fdb().lookup(at(0), B), Some(two));
}

#[test]
fn ports_come_and_go() {
    let (mut bridge, [one, two, three]) = bridge(BridgeConfig::default());
    assert_eq!(bridge.add_port(vni(41)), Err(AddPortError::Taken(vni(41))));
    assert_eq!((bridge.port(vni(41)), bridge.vni(two)), (Some(two), vni(41)));
    let _ = decide(&mut bridge, at(0), two, MacAddr::BROADCAST, B);
    let _ = decide(&mut bridge, at(0), three, MacAddr::BROADCAST, C);

    assert!(bridge.remove_port(vni(41)).is_some());
    assert!(bridge.remove_port(vni(41)).is_none());
    assert_eq!(bridge.port(vni(41)), None);
    assert_eq!(bridge.ports().collect::<Vec<_>>(), [one, three]);
    assert_eq!(decide(&mut bridge, at(0), one, C, A), BridgeVerdict::Forward(three));
    assert_eq!(decide(&mut bridge, at(0), one, B, A), BridgeVerdict::Flood);
    assert_eq!(bridge.flood_targets(one).collect::<Vec<_>>(), [three]);
    assert_eq!(bridge.fdb_counters().flushed, 1);

    // Whoever gets the number next gets nothing of what was there before.
    let next = bridge.add_port(vni(7)).unwrap();
    assert_eq!(next, two);
    assert_eq!(bridge.counters(next).traffic.offered, Tally::default());
    assert_eq!(decide(&mut bridge, at(0), one, B, A), BridgeVerdict::Flood);
}

#[test]
fn what_comes_and_goes_by_a_port_that_is_no_more_stays_in_the_books() {
    let (mut bridge, [one, two, three]) = bridge(BridgeConfig::default());
    let len = plain(B, A).len();
    let _ = decide(&mut bridge, at(0), one, MacAddr::BROADCAST, A);
    bridge.sent(three, len);
    let books = bridge.remove_port(vni(41)).unwrap();
    assert_eq!(books.traffic.egress_drops.by(DropReason::PeerGone).frames, 1);
    assert_eq!(books.check_settled(), Ok(()));

    assert_eq!(decide(&mut bridge, at(0), two, A, B), BridgeVerdict::Drop(DropReason::PeerGone));
    bridge.refuse(two, DropReason::BadLength, 5);
    bridge.sent(two, len);
    bridge.egress_drop(two, DropReason::QueueFull, len);
    assert_eq!(bridge.check_settled(), Ok(()));
    let totals = bridge.totals();
    assert_eq!(totals.traffic.received, Tally { frames: 3, bytes: 2 * len as u64 + 5 });
    assert_eq!((totals.traffic.offered.frames, totals.traffic.sent.frames), (2, 1));
}

#[test]
fn a_bridge_has_as_many_ports_as_a_list_can_name() {
    let mut bridge = Bridge::new(BridgeConfig::default());
    let list: VniList = "100-4195".parse().unwrap();
    for vni in list.iter() {
        bridge.add_port(vni).unwrap();
    }
    let full = bridge.add_port(vni(1)).unwrap_err();
    assert_eq!(full.to_string(), "a bridge has 4096 ports at most, no room for VNI 1");
    let first = bridge.port(vni(100)).unwrap();
    assert_eq!(bridge.flood_targets(first).count(), 4095);
}

#[test]
fn an_imbalance_says_where_it_is() {
    let (mut bridge, [_, two, _]) = bridge(BridgeConfig::default());
    let _ = decide(&mut bridge, at(0), two, MacAddr::BROADCAST, B);
    assert_eq!(bridge.check_settled().unwrap_err().to_string(), "VNI 40: 1 copies are still pending");
    bridge.sent(two, 60);
    let imbalance = bridge.check().unwrap_err().to_string();
    assert_eq!(imbalance, "VNI 41: egress: 0 copies offered, but 1 sent and 0 dropped");
}

#[test]
fn every_counter_of_a_port_has_its_own_name() {
    let (bridge, [one, ..]) = bridge(BridgeConfig::default());
    let mut names: Vec<_> = bridge.counters(one).iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in ["received-frames", "answered-too-big", "ingress-drop-storm-limit", "egress-drop-queue-full"]
    {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
}
