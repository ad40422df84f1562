//! Many ranks on few cores, with load generators in place of guests: start, ping all pairs, stop.

use crate::harness::{Job, Launcher, Need, begin};

const RANKS: u32 = 32;

#[test]
fn thirty_two_ranks_ping_all_pairs_under_up() {
    all_pairs(Launcher::Up, "stream");
}

#[test]
fn thirty_two_ranks_ping_all_pairs_under_mpich() {
    all_pairs(Launcher::Mpich, "dgram");
}

#[test]
fn thirty_two_ranks_ping_all_pairs_under_openmpi() {
    all_pairs(Launcher::OpenMpi, "stream");
}

fn all_pairs(launcher: Launcher, net: &str) {
    let Some(_turn) = begin(&[Need::Launcher(launcher)]) else { return };
    let job = Job::new(launcher, RANKS).generators("allping,patience=60").flags(["-n", net, "-D", "INFO"]);
    let mut job = job.stays_up().start();
    job.wait_until_up();
    job.wait_for_results(0..=RANKS - 1);
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    for rank in 0..RANKS {
        let result = job.result(rank);
        assert_eq!(result["answered"], RANKS - 1, "{result}");
    }
}
