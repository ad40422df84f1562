//! Hosts with TCP/IP: streams, and delivery after all faults.

use std::time::Duration;

use mvpnet_sim::invariants::{Streams, check_delivery};
use mvpnet_sim::property::{Check, Faults, Links, Scenarios, TrafficKind, network};
use mvpnet_sim::scenario::{Kind, Scenario};
use mvpnet_sim::{Sim, TCP_TIMEOUT};

const SECOND: Duration = Duration::from_secs(1);

/// The scenario's network, with a host on every rank.
fn hosts(scenario: &Scenario) -> Result<Sim, Box<dyn std::error::Error>> {
    let mut sim = network(scenario)?;
    sim.audit();
    for rank in 0..scenario.ranks {
        sim.host(rank, async |_| Ok(()));
    }
    Ok(sim)
}

/// The streams of its traffic.
fn streams(scenario: &Scenario, sim: &mut Sim) -> Streams {
    let (streams, world) = (Streams::new(), sim.world());
    for line in &scenario.traffic {
        let Kind::Tcp { bytes } = line.kind else { continue };
        for from in line.from.of(world) {
            for to in line.to.of(from, world) {
                streams.send_at(sim, line.start, from, to, bytes.bytes());
            }
        }
    }
    streams
}

#[test]
fn streams_arrive_intact_or_fail_explicitly() {
    let scenarios = Scenarios::of(2..=4).faults(0..=4).traffic(1..=4).traffic_kinds(&[TrafficKind::Tcp]);
    Check::new(80).run(&scenarios.strategy(), |scenario| {
        let mut sim = hosts(scenario)?;
        let streams = streams(scenario, &mut sim);
        sim.run_for(scenario.duration + 3 * TCP_TIMEOUT)?;
        Ok(streams.check()?)
    });
}

#[test]
fn streams_arrive_when_nothing_is_lost() {
    let scenarios = Scenarios::of(2..=4)
        .links(Links::LOSSLESS)
        .faults(0..=3)
        .fault_kinds(Faults::LINKS)
        .traffic(1..=4)
        .traffic_kinds(&[TrafficKind::Tcp]);
    Check::new(40).run(&scenarios.strategy(), |scenario| {
        let mut sim = hosts(scenario)?;
        let streams = streams(scenario, &mut sim);
        sim.run_for(scenario.duration)?;
        match streams.reports().iter().find(|report| !report.is_intact()) {
            None => Ok(()),
            Some(report) => Err(format!("{report:?}").into()),
        }
    });
}

#[test]
fn delivery_resumes_after_the_last_fault() {
    let scenarios = Scenarios::of(2..=6).links(Links::LOSSLESS.loss(5)).faults(1..=5).duration(10 * SECOND);
    Check::new(80).run(&scenarios.strategy(), |scenario| {
        let mut sim = hosts(scenario)?;
        sim.run_for(scenario.duration)?;
        Ok(check_delivery(&mut sim, 30 * SECOND)?)
    });
}
