//! The parts of the benchmark, one file each.

mod crowd;
mod decide;
mod guests;
mod hosts;
mod idle;
mod instructions;
mod memory;
mod peers;
mod progress;
mod roundtrip;
mod start;
mod storm;
mod throughput;
mod vxlan;

use std::time::Duration;

use super::{
    Bench,
    carrier::{Carrier, Net},
    job::Spec,
    options::Section,
    table::Table,
};

/// How long a job of a few ranks may take to come to life.
const STARTING: Duration = Duration::from_secs(30);

/// Measures a part.
pub fn run(bench: &mut Bench, section: Section) -> anyhow::Result<Vec<Table>> {
    let table = match section {
        Section::Stream => throughput::measure(bench, Net::Stream),
        Section::Dgram => throughput::measure(bench, Net::Dgram),
        Section::VhostUser => throughput::measure(bench, Net::VhostUser),
        Section::Roundtrip => roundtrip::measure(bench),
        Section::Idle => idle::measure(bench),
        Section::Crowd => crowd::measure(bench),
        Section::Storm => storm::measure(bench),
        Section::Memory => memory::measure(bench),
        Section::Peers => peers::measure(bench),
        Section::Start => start::measure(bench),
        Section::Decide => decide::measure(bench),
        Section::Instructions => return instructions::measure(bench),
        Section::Guests => guests::measure(bench),
        Section::Hosts => hosts::measure(bench),
        Section::Progress => progress::measure(bench),
        Section::Vxlan => vxlan::measure(bench),
    };
    Ok(vec![table?])
}

fn is_mvpnet(carrier: Carrier) -> bool {
    matches!(carrier, Carrier::Mpi(_) | Carrier::Up)
}

/// The relay that a carrier is compared with: that over the same rings.
fn is_mark_of(relay: Carrier, carrier: Carrier) -> bool {
    matches!(relay, Carrier::Relay(over) if is_mvpnet(carrier) && carrier.over() == Some(over))
}

/// A job of two ranks.
fn pair(carrier: Carrier, net: Net, script: String, window: Duration) -> Spec {
    Spec::new(carrier, net, 2, script, STARTING + window * 2)
}

/// The generators' keys for the window of this run.
fn window_keys(bench: &Bench) -> String {
    format!("seconds={}", bench.options.window().as_secs_f64())
}
