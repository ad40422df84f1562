//! The parts of the benchmark, one file each.

mod crowd;
mod decide;
mod idle;
mod memory;
mod roundtrip;
mod start;
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
pub fn run(bench: &mut Bench, section: Section) -> anyhow::Result<Table> {
    match section {
        Section::Stream => throughput::measure(bench, Net::Stream),
        Section::Dgram => throughput::measure(bench, Net::Dgram),
        Section::Roundtrip => roundtrip::measure(bench),
        Section::Idle => idle::measure(bench),
        Section::Crowd => crowd::measure(bench),
        Section::Memory => memory::measure(bench),
        Section::Start => start::measure(bench),
        Section::Decide => decide::measure(bench),
        Section::Vxlan => vxlan::measure(bench),
    }
}

fn is_mvpnet(carrier: Carrier) -> bool {
    matches!(carrier, Carrier::Mpi(_) | Carrier::Up)
}

/// The relay that a carrier is compared with: that of the same MPI, or any.
fn is_mark_of(relay: Carrier, carrier: Carrier) -> bool {
    match (relay, carrier) {
        (Carrier::Relay(library), Carrier::Mpi(own)) => library == own,
        (Carrier::Relay(_), Carrier::Up) => true,
        _ => false,
    }
}

/// A job of two ranks on stream links.
fn pair(carrier: Carrier, net: Net, script: String, window: Duration) -> Spec {
    Spec { carrier, net, ranks: 2, script, limit: STARTING + window * 2 }
}

/// The generators' keys for the window of this run.
fn window_keys(bench: &Bench) -> String {
    format!("seconds={}", bench.options.window().as_secs_f64())
}
