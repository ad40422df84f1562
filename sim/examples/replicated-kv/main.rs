//! A replicated key-value store, tested on a simulated network: once as it should be, once with a planted bug.
//!
//! `cargo run -p mvpnet-sim --example replicated-kv` shows both under the same partition. `tests/kv.rs` finds such a
//! partition by itself, among random faults. The files here: `store.rs` is the program under test, `cluster.rs` puts it on
//! simulated hosts, `history.rs` knows what is right.

mod cluster;
mod history;
mod store;

use std::time::Duration;

use mvpnet_sim::{LinkModel, Sim};
use store::Quorum;

const SECOND: Duration = Duration::from_secs(1);

fn main() {
    for quorum in [Quorum::Majority, Quorum::MajorityOfReachable] {
        let mut sim = Sim::new(1, cluster::RANKS).links(LinkModel::CAMPUS);
        // The writer keeps one replica, the reader the other two.
        sim.at(SECOND).partition([&[0, cluster::WRITER], &[1, 2, cluster::READER]]);
        sim.at(3 * SECOND).heal();
        match cluster::run(sim, 10 * SECOND, quorum) {
            Ok(history) => println!("{quorum:?}: {} requests, no stale read", history.len()),
            Err(error) => println!("{quorum:?}: {error}"),
        }
    }
}
