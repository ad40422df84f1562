//! Random faults find the bug that is planted in the example, and what is left of them says how.

#[path = "../examples/replicated-kv/cluster.rs"]
mod cluster;
#[path = "../examples/replicated-kv/history.rs"]
mod history;
#[path = "../examples/replicated-kv/store.rs"]
mod store;

use std::ops::RangeInclusive;
use std::time::Duration;

use mvpnet_sim::property::{Check, Counterexample, Faults, Links, Scenarios, network};
use mvpnet_sim::scenario::Scenario;
use store::Quorum;

/// Looks for faults that make a client read what is no longer true.
fn search(
    cases: u32,
    faults: RangeInclusive<usize>,
    kinds: Faults,
    quorum: Quorum,
) -> Result<(), Box<Counterexample>> {
    let scenarios = Scenarios::of(cluster::RANKS..=cluster::RANKS)
        .duration(Duration::from_secs(8))
        .links(Links::LOSSLESS)
        .faults(faults)
        .fault_kinds(kinds);
    Check::new(cases).search(&scenarios.strategy(), |scenario| {
        cluster::run(network(scenario)?, scenario.duration, quorum)?;
        Ok(())
    })
}

#[test]
fn random_faults_find_the_planted_bug_and_shrink_to_what_matters() {
    let found = search(200, 1..=4, Faults::ALL, Quorum::MajorityOfReachable).unwrap_err();
    println!("{found}");
    assert!(found.error.contains("stale read"), "{found}");
    assert!(found.scenario.changes.len() <= 5, "{found}");
    // What is printed is the scenario, and fails in the same way.
    let again: Scenario = found.scenario.to_string().parse().unwrap();
    assert_eq!(again, found.scenario);
    let sim = network(&again).unwrap();
    let error = cluster::run(sim, again.duration, Quorum::MajorityOfReachable).unwrap_err();
    assert_eq!(error.to_string(), found.error);
    // `mvpnet sim` runs its network without the store.
    again.run(again.seed.unwrap()).unwrap();
}

#[test]
fn the_same_search_finds_nothing_in_the_correct_store() {
    search(40, 1..=4, Faults::ALL, Quorum::Majority).unwrap_or_else(|found| panic!("{found}"));
}

#[test]
fn a_single_fault_that_is_no_partition_does_not_show_the_bug() {
    let others = Faults::CRASHES.and(Faults::PAUSES).and(Faults::LINKS);
    search(25, 1..=1, others, Quorum::MajorityOfReachable).unwrap_or_else(|found| panic!("{found}"));
}

#[test]
fn the_store_works_at_all() {
    let scenario = Scenario::new(cluster::RANKS, Duration::from_secs(8));
    let history = cluster::run(network(&scenario).unwrap(), scenario.duration, Quorum::Majority).unwrap();
    assert!(history.len() > 40, "{} requests", history.len());
}
