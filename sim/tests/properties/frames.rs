//! Guests that send frames: books, audit, broadcasts.

use std::time::Duration;

use mvpnet_sim::property::{Check, Links, STEP, Scenarios, TrafficKind, network};
use mvpnet_sim::scenario::{Kind, Scenario};
use mvpnet_sim::{Scripted, Sim};
use mvpnet_switch::DropReason;

const FRAMES: [TrafficKind; 2] = [TrafficKind::Frames, TrafficKind::Broadcast];

/// The scenario's network and, of its traffic, the frames: one script for each rank, with a frame each 50 ms.
fn frames(scenario: &Scenario) -> Result<Sim, Box<dyn std::error::Error>> {
    let mut sim = network(scenario)?;
    sim.audit();
    let world = sim.world();
    for rank in 0..scenario.ranks {
        let mut script = Scripted::new().every(STEP / 2);
        for line in scenario.traffic.iter().filter(|line| line.from.of(world).contains(&rank)) {
            script = match line.kind {
                Kind::Broadcast { len } => script.broadcast(line.count, len as usize),
                Kind::Frames { len } => {
                    let send = |script: Scripted, to| script.send_to(to, line.count, len as usize);
                    line.to.of(rank, world).into_iter().fold(script, send)
                }
                _ => script,
            };
        }
        sim.guest(rank, move || script.clone());
    }
    Ok(sim)
}

#[test]
fn books_balance_and_every_frame_is_accounted_for() {
    let scenarios = Scenarios::of(2..=12).faults(0..=6).traffic(1..=8).traffic_kinds(&FRAMES);
    Check::new(300).run(&scenarios.strategy(), |scenario| {
        let mut sim = frames(scenario)?;
        for half in 1..=40 {
            sim.at(Duration::from_millis(500) * half).call(|sim| sim.check().unwrap());
        }
        Ok(sim.run_for(scenario.duration)?)
    });
}

#[test]
fn without_faults_every_frame_arrives_once() {
    let scenarios = Scenarios::of(2..=20).links(Links::LOSSLESS).traffic(1..=8).traffic_kinds(&FRAMES);
    Check::new(100).run(&scenarios.strategy(), |scenario| {
        let mut sim = frames(scenario)?;
        sim.run_for(scenario.duration)?;
        let expected: u64 =
            scenario.traffic.iter().map(|line| copies(line.kind, scenario.ranks) * line.count).sum();
        let received = sim.traffic().received.frames;
        if received == expected { Ok(()) } else { Err(format!("{received} of {expected} arrived").into()) }
    });
}

fn copies(kind: Kind, ranks: u32) -> u64 {
    if kind.has_targets() { 1 } else { u64::from(ranks) - 1 }
}

#[test]
fn only_faults_that_there_are_lose_frames() {
    let scenarios =
        Scenarios::of(2..=8).links(Links::LOSSLESS).faults(0..=4).traffic(1..=6).traffic_kinds(&FRAMES);
    Check::new(100).run(&scenarios.strategy(), |scenario| {
        let mut sim = frames(scenario)?;
        sim.run_for(scenario.duration)?;
        let words: String = scenario.changes.iter().map(|(_, change)| change.to_string()).collect();
        for (reason, count) in &sim.traffic().drops {
            let explained = match reason {
                DropReason::Partition => words.contains("partition"),
                DropReason::GuestGone => words.contains("crash"),
                _ => false,
            };
            if !explained {
                return Err(format!("{count} frames were lost: {reason}").into());
            }
        }
        Ok(())
    });
}
