//! What can be done to a network, and what guests see of it.

use std::time::Duration;

use mvpnet_sim::{Frames, GuestState, Hop, LinkModel, Probability, RuleVerdict, Scripted, Sim};
use mvpnet_switch::{DropReason, Instant};

const MS: Duration = Duration::from_millis(1);

/// Rank 0 sends so many numbered frames to rank 1, one per millisecond from the beginning.
fn stream(sim: &mut Sim, count: u64) {
    sim.guest(0, move || Scripted::new().send_to(1, count, 100).every(MS));
    sim.guest(1, Scripted::new);
}

fn numbers(sim: &mut Sim, rank: u32) -> Vec<u64> {
    let guest = sim.guest_mut::<Scripted>(rank).unwrap();
    guest.received().iter().filter_map(|received| Scripted::number_of(&received.frame)).collect()
}

fn dropped(sim: &Sim, reason: DropReason) -> u64 {
    sim.traffic().drops.get(&reason).copied().unwrap_or(0)
}

#[test]
fn a_partition_loses_what_is_sent_while_it_lasts() {
    let mut sim = Sim::new(1, 4);
    stream(&mut sim, 10);
    sim.at(3 * MS).partition([&[0, 2], &[1, 3]]).then_after(4 * MS).heal();
    sim.run_for(20 * MS).unwrap();
    // Plans come before what guests plan for the same time: 3 is lost, 7 passes.
    assert_eq!(numbers(&mut sim, 1), [0, 1, 2, 7, 8, 9]);
    assert_eq!(dropped(&sim, DropReason::Partition), 4);
}

#[test]
fn what_is_on_its_way_when_a_partition_begins_arrives() {
    let mut sim = Sim::new(1, 2).links(LinkModel::IDEAL.latency(5 * MS));
    stream(&mut sim, 3);
    sim.at(3 * MS).partition([&[0], &[1]]);
    sim.run_for(20 * MS).unwrap();
    assert_eq!(numbers(&mut sim, 1), [0, 1, 2]);
}

#[test]
fn a_broadcast_reaches_all_that_the_root_can_reach_whatever_the_tree() {
    let mut sim = Sim::new(1, 16);
    sim.guest(0, || Scripted::new().broadcast(1, 60));
    for rank in 1..16 {
        sim.guest(rank, Scripted::new);
    }
    // The root's children in the tree are 1 and 2, on the other side.
    sim.at(Duration::ZERO).partition([&[0, 3, 4, 15], &[1, 2, 5]]);
    sim.run_for(MS).unwrap();
    for rank in 1..16 {
        let expected: &[u64] = if [1, 2, 5].contains(&rank) { &[] } else { &[0] };
        assert_eq!(numbers(&mut sim, rank), expected, "rank {rank}");
    }
}

#[test]
fn links_differ_by_direction() {
    let mut sim = Sim::new(1, 2);
    for rank in 0..2 {
        sim.guest(rank, move || Scripted::new().send_to(1 - rank, 1, 60));
    }
    sim.at(Duration::ZERO).link_one_way(0, 1, LinkModel::IDEAL.latency(7 * MS));
    sim.run_for(20 * MS).unwrap();
    let arrived = |sim: &mut Sim, rank| sim.guest_mut::<Scripted>(rank).unwrap().received()[0].at;
    assert_eq!(arrived(&mut sim, 1), Instant::ZERO + 7 * MS);
    assert_eq!(arrived(&mut sim, 0), Instant::ZERO);
}

#[test]
fn a_slow_access_link_is_shared_by_all_that_send() {
    let mut sim = Sim::new(1, 3);
    for rank in 0..2 {
        sim.guest(rank, || Scripted::new().send_to(2, 10, 1000));
    }
    sim.guest(2, Scripted::new);
    // A frame is being sent, or part of it: with those that wait there are ten kilobytes.
    sim.at(Duration::ZERO).access(2, "rate=8Mbit/s queue=10kB".parse().unwrap());
    sim.run_for(100 * MS).unwrap();
    assert_eq!(sim.guest_mut::<Scripted>(2).unwrap().count(), 10);
    assert_eq!(dropped(&sim, DropReason::LinkQueueFull), 10);
}

#[test]
fn the_first_rule_that_does_not_pass_decides() {
    let mut sim = Sim::new(1, 2);
    stream(&mut sim, 5);
    sim.on(Frames::from(0).to(1)).drop_nth(2);
    sim.on(Frames::from(1)).drop_all();
    sim.on(Frames::all()).delay_nth(2, 10 * MS); // its second frame is number 2: it never sees number 1
    sim.rule(
        |hop: &Hop<'_>| {
            if hop.now == Instant::ZERO + 4 * MS { RuleVerdict::Duplicate } else { RuleVerdict::Pass }
        },
    );
    sim.run_for(50 * MS).unwrap();
    assert_eq!(numbers(&mut sim, 1), [0, 3, 4, 4, 2]);
    assert_eq!(dropped(&sim, DropReason::Rule), 1);
    assert_eq!(sim.traffic().duplicates_received, 1);
}

#[test]
fn a_flipped_bit_arrives_flipped() {
    let mut sim = Sim::new(1, 2);
    stream(&mut sim, 1);
    sim.on(Frames::all()).corrupt_nth(1, 14 * 8 + 63); // the last bit of the number
    sim.run_for(MS).unwrap();
    assert_eq!(numbers(&mut sim, 1), [1]);
    assert_eq!(sim.traffic().corrupted, 1);
}

#[test]
fn duplicates_are_in_the_books_of_the_world() {
    let mut sim = Sim::new(5, 2).links(
        LinkModel::IDEAL.duplicate(Probability::percent(50)).latency(MS).loss(Probability::percent(10)),
    );
    stream(&mut sim, 1000);
    sim.at(500 * MS).crash(1).then_after(100 * MS).restart(1);
    sim.run_for(Duration::from_secs(2)).unwrap();
    let traffic = sim.traffic();
    assert_eq!(traffic.duplicated, traffic.duplicates_received + traffic.duplicates_lost);
    assert!(traffic.duplicates_lost > 0 && traffic.duplicates_received > 300, "{traffic:?}");
    assert!(traffic.drops[&DropReason::GuestGone] >= 90, "{traffic:?}");
}

#[test]
fn a_guest_that_stands_still_gets_what_there_was_room_for_when_it_goes_on() {
    let mut sim = Sim::new(1, 2);
    sim.guest(0, || Scripted::new().send_to(1, 400, 1000).every(MS));
    sim.guest(1, Scripted::new);
    sim.at(MS / 2).pause(1).then_after(350 * MS).resume(1);
    sim.run_for(300 * MS).unwrap();
    assert_eq!(sim.state(1), GuestState::Paused);
    sim.run_for(200 * MS).unwrap();
    // 256 KiB hold 262 of them.
    let lost = dropped(&sim, DropReason::QueueFull);
    assert_eq!(lost, 350 - 262);
    let numbers = numbers(&mut sim, 1);
    assert_eq!(numbers.len() as u64, 400 - lost);
    assert!(numbers.is_sorted());
}

#[test]
fn a_rank_that_is_not_there_is_refused_with_its_name() {
    let mut sim = Sim::new(1, 2);
    let error = sim.change(&"partition 0 | 5".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "rank 5 is outside the world, whose 2 ranks are 0 to 1");
}

#[test]
fn a_crash_and_a_pause_may_come_at_the_very_beginning() {
    let mut sim = Sim::new(1, 3);
    sim.guest(0, || Scripted::new().send_to(1, 5, 60).every(MS));
    sim.guest(1, Scripted::new);
    sim.guest(2, Scripted::new);
    sim.at(Duration::ZERO).crash(1).pause(2);
    sim.run_for(MS).unwrap();
    assert_eq!((sim.state(1), sim.state(2)), (GuestState::Down, GuestState::Paused));
    assert_eq!(dropped(&sim, DropReason::GuestGone), 2);
}

#[test]
fn an_access_link_duplicates_and_corrupts_as_others_do() {
    let mut sim = Sim::new(1, 2);
    sim.audit();
    stream(&mut sim, 3);
    sim.at(Duration::ZERO).access(1, "duplicate=100% corrupt=100%".parse().unwrap());
    sim.run_for(20 * MS).unwrap();
    let traffic = sim.traffic();
    assert_eq!((traffic.duplicated, traffic.duplicates_received, traffic.corrupted), (3, 3, 6));
    assert_eq!(sim.guest_mut::<Scripted>(1).unwrap().count(), 6);
}
