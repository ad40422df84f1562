//! What a property test does when it fails.

use std::time::Duration;

use mvpnet_sim::property::{Check, Counterexample, Faults, Links, Scenarios};
use mvpnet_sim::scenario::Scenario;
use mvpnet_switch::RankList;
use mvpnet_transports::link::{Change, LinkModel};
use proptest::strategy::Strategy;

fn scenarios() -> impl Strategy<Value = Scenario> {
    Scenarios::of(2..=9).faults(0..=8).traffic(0..=5).strategy()
}

/// "Rank 3 never crashes": wrong in worlds of at least four ranks.
fn rank_3_never_crashes(scenario: &Scenario) -> mvpnet_sim::Result {
    let crash = Change::Crash(RankList::of([3]));
    if scenario.changes.iter().any(|(_, change)| *change == crash) {
        Err("rank 3 crashes".into())
    } else {
        Ok(())
    }
}

fn found(seed: u64) -> Counterexample {
    *Check::new(200).seed(seed).search(&scenarios(), rank_3_never_crashes).unwrap_err()
}

#[test]
fn a_failing_scenario_shrinks_to_what_matters() {
    let Scenario { ranks, links, traffic, changes, .. } = found(5).scenario;
    assert_eq!((ranks, links, traffic), (4, LinkModel::IDEAL, vec![]));
    let words: Vec<String> = changes.iter().map(|(at, change)| format!("{at:?} {change}")).collect();
    assert_eq!(words, ["100ms crash 3", "200ms restart 3"]);
}

#[test]
fn a_failing_scenario_is_printed_with_all_that_is_needed_to_see_it_again() {
    let found = found(5);
    let text = found.to_string();
    let seed = found.scenario.seed.unwrap();
    assert!(text.contains("\nrank 3 crashes\n"), "{text}");
    assert!(text.contains(&format!("mvpnet sim failing.toml --seed {seed}\n")), "{text}");
    assert!(text.ends_with("MVPNET_SEED=5 cargo test search::a_failing_scenario_is_printed_with_all_that_is_needed_to_see_it_again"), "{text}");
    let begin = text.find("# failing.toml").unwrap();
    let end = text.find("the same network").unwrap();
    assert_eq!(text[begin..end].parse(), Ok(found.scenario));
}

#[test]
fn the_same_seed_finds_the_same_and_another_seed_something_else() {
    let text = |seed| found(seed).to_string();
    assert_eq!(text(5), text(5));
    assert_ne!(text(5), text(6));
}

#[test]
fn a_test_that_panics_fails() {
    let strategy = Scenarios::of(2..=2).strategy();
    let found = Check::new(10).search(&strategy, |_| panic!("not like this")).unwrap_err();
    assert_eq!((found.error.as_str(), found.case), ("not like this", 1));
}

#[test]
fn what_is_drawn_can_run_and_is_written_as_it_is_read() {
    let scenarios = Scenarios::of(2..=40).faults(0..=8).traffic(0..=8).duration(Duration::from_secs(30));
    Check::new(300).run(&scenarios.strategy(), |scenario| {
        scenario.check()?;
        let read: Scenario = scenario.to_string().parse()?;
        if read == *scenario { Ok(()) } else { Err(format!("read as\n{read}").into()) }
    });
}

#[test]
fn what_is_drawn_runs_as_a_scenario_does() {
    let scenarios =
        Scenarios::of(2..=6).links(Links::LOSSLESS).traffic(1..=4).duration(Duration::from_secs(10));
    Check::new(60).run(&scenarios.strategy(), |scenario| {
        let report = scenario.run(scenario.seed.unwrap_or_default())?;
        let lost = report.rows.iter().find(|row| row.received < row.sent);
        lost.map_or(Ok(()), |row| Err(format!("lost: {row:?}").into()))
    });
}

#[test]
fn faults_of_other_kinds_are_not_drawn() {
    let scenarios = Scenarios::of(3..=3).faults(1..=3).fault_kinds(Faults::PAUSES);
    Check::new(50).run(&scenarios.strategy(), |scenario| {
        let is_pause = |change: &Change| matches!(change, Change::Pause(_) | Change::Resume(_));
        if scenario.changes.iter().all(|(_, change)| is_pause(change)) {
            Ok(())
        } else {
            Err("not asked for".into())
        }
    });
}
