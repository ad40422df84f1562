use std::time::Duration;

use mvpnet_switch::Ingress;

use super::*;
use crate::{FailureKind, Frames, Scripted};

const MS: Duration = Duration::from_millis(1);

/// Three ranks, of which 0 sends a frame to 1 and a broadcast.
fn audited() -> Sim {
    let mut sim = Sim::new(1, 3);
    sim.audit();
    sim.guest(0, || Scripted::new().send_to(1, 1, 60).broadcast(1, 60));
    sim.guest(1, Scripted::new);
    sim.guest(2, Scripted::new);
    sim
}

fn ran() -> Sim {
    let mut sim = audited();
    sim.run_for(MS).unwrap();
    sim
}

/// The frames that a rank has got.
fn got(sim: &mut Sim, rank: u32) -> Vec<Rc<[u8]>> {
    let guest = sim.guest_mut::<Scripted>(rank).unwrap();
    guest.received().iter().map(|received| Rc::from(&received.frame[..])).collect()
}

fn violation(sim: &Sim) -> Violation {
    match sim.check().unwrap_err().kind {
        FailureKind::Invariant(violation) => violation,
        kind => panic!("{kind}"),
    }
}

fn rank(sim: &Sim, rank: u32) -> Rank {
    sim.world().rank(rank).unwrap()
}

/// A guest sends a broadcast, and no copy sets out.
fn floods(sim: &mut Sim, from: Rank, frame: &Rc<[u8]>) {
    let now = sim.world.now;
    let verdict = sim.world.node_mut(from).switch.decide(now, Ingress::Guest, frame, frame.len());
    sim.world.audit_sent(from, frame, &verdict);
}

#[test]
fn a_frame_that_nobody_sent_is_an_invention() {
    let mut sim = ran();
    let to = rank(&sim, 2);
    sim.world.audit_ended(to, &Rc::from([7; 60]), None);
    assert!(violation(&sim).to_string().contains("rank 2 was given 60 bytes that no guest sent: 07 07"));
}

#[test]
fn a_frame_that_comes_twice_must_have_been_doubled() {
    let mut sim = ran();
    let (to, frame) = (rank(&sim, 1), got(&mut sim, 1)[0].clone());
    sim.world.audit_ended(to, &frame, None);
    let expected = "rank 1 was given frame 0 of rank 0 for the 2. time, and no link or rule doubled it";
    assert!(violation(&sim).to_string().contains(expected), "{}", violation(&sim));
    let mut sim = audited();
    sim.on(Frames::all()).duplicate();
    sim.run_for(MS).unwrap();
    assert_eq!(got(&mut sim, 1).len(), 4);
}

#[test]
fn a_frame_that_was_changed_must_have_been_corrupted() {
    let mut sim = ran();
    let (to, frame) = (rank(&sim, 1), got(&mut sim, 1)[0].clone());
    let mut changed = frame.to_vec();
    changed[50] ^= 1;
    sim.world.audit_ended(to, &Rc::from(changed), None);
    assert!(matches!(violation(&sim), Violation::Invented { to: 1, .. }));
    let mut sim = audited();
    sim.on(Frames::all()).corrupt_nth(1, 50 * 8);
    sim.run_for(MS).unwrap();
}

#[test]
fn a_frame_for_another_rank_is_astray() {
    let mut sim = ran();
    let (to, frame) = (rank(&sim, 2), got(&mut sim, 1)[0].clone());
    sim.world.audit_ended(to, &frame, None);
    assert!(matches!(violation(&sim), Violation::Astray { to: 2, meant: 1, .. }));
}

/// Rank 0 sends a broadcast anew, and a copy for rank 2 alone sets out and ends.
fn one_copy_ends(sim: &mut Sim, lost: Option<DropReason>) {
    let (from, to) = (rank(sim, 0), rank(sim, 2));
    let frame = got(sim, 2)[0].clone();
    floods(sim, from, &frame);
    let arrival = Arrival { at: sim.world.now, corrupt_bit: None };
    sim.world.audit_on_its_way(to, &frame, &frame, &arrival, false);
    sim.world.audit_ended(to, &frame, lost);
}

#[test]
fn a_broadcast_comes_to_all_that_are_connected() {
    let mut sim = ran();
    // One more is sent, and a copy for rank 2 sets out, but none for rank 1.
    one_copy_ends(&mut sim, None);
    let Violation::BroadcastMissed { to: 1, fate: Fate::NotSent, .. } = violation(&sim) else {
        panic!("{}", violation(&sim))
    };
}

#[test]
fn a_broadcast_that_is_dropped_without_a_reason_is_missed() {
    let mut sim = ran();
    one_copy_ends(&mut sim, Some(DropReason::Partition));
    let expected =
        "frame 2 of rank 0, sent at 0.001000000s, did not reach the connected rank 2: it was dropped";
    assert!(violation(&sim).to_string().contains(expected), "{}", violation(&sim));
}

#[test]
fn nobody_expects_broadcasts_through_a_partition_or_a_crash() {
    let mut sim = audited();
    sim.at(Duration::ZERO).partition([&[0], &[1]]);
    sim.at(Duration::ZERO).links(LinkModel::IDEAL.latency(MS));
    sim.at(MS / 2).crash(2);
    sim.run_for(2 * MS).unwrap();
    assert_eq!(got(&mut sim, 1).len(), 0);
}
