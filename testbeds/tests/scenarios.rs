//! The scenarios of `testbeds/scenarios`, run by the real program: each twice, in two processes, with the same bytes
//! both times; each with what its `about` promises; each with a capture that tshark reads.
//!
//! They need `mvpnet` in `MVPNET_BIN_DIR`, else in `target/debug`, and tshark. What is missing is skipped with a line
//! `SKIPPED name: why`, or fails with `MVPNET_REQUIRE=all`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in what tests share too")]

#[path = "scenarios/program.rs"]
mod program;
#[path = "scenarios/result.rs"]
mod result;

use std::collections::BTreeSet;

use program::{run_twice, scenarios_dir};
use result::{Row, milliseconds, seconds};

/// A test for each scenario. Those that make frames that are broken on purpose say so here.
macro_rules! scenarios {
    ($($test:ident $name:literal $check:expr;)*) => {
        const NAMES: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                let Some(outcome) = run_twice($name) else { return };
                let rows = outcome.rows();
                let check: fn(&[Row]) = $check;
                check(&rows);
                outcome.check_capture();
            }
        )*
    };
}

scenarios! {
    two_hosts_ping_each_other "two-rank-ping" |rows| {
        for row in rows {
            row.check_all_received(95);
            assert!(row.min_ns >= 40_000 && row.max_ns < milliseconds(1), "{row:?}");
        }
    };
    all_pairs_ping "all-pairs-64" |rows| rows[0].check_all_received(2 * 64 * 63);
    a_storm_drowns_pings_and_passes "broadcast-storm" |rows| {
        let [pings, storm] = rows else { panic!("{rows:?}") };
        assert!((5..35).contains(&pings.lost), "{pings:?}");
        assert_eq!(pings.received + pings.lost, 70);
        assert!(pings.max_ns > milliseconds(30), "{pings:?}");
        assert_eq!((storm.sent, storm.expected), (4 * 1700, 4 * 1700 * 15));
        assert!(storm.lost > storm.expected / 10 && storm.received > storm.expected / 2, "{storm:?}");
    };
    a_slow_receiver_slows_nobody_else "slow-receiver" |rows| {
        let [slow, paused, other] = rows else { panic!("{rows:?}") };
        other.check_all_received(4000);
        assert!(other.max_ns < milliseconds(1), "{other:?}");
        assert!((900..1200).contains(&slow.received), "{slow:?}");
        assert!((3000..3500).contains(&paused.received) && paused.max_ns > milliseconds(900), "{paused:?}");
    };
    tcp_survives_a_partition "partition-heal-tcp" |rows| {
        let [transfers, pings] = rows else { panic!("{rows:?}") };
        transfers.check_all_received(4);
        assert_eq!(transfers.bytes, 16_000_000);
        assert!(transfers.min_ns > seconds(2) && transfers.max_ns < seconds(10), "{transfers:?}");
        assert!((15..22).contains(&pings.lost), "{pings:?}");
    };
    incast_is_slow_and_intact "incast" |rows| {
        rows[0].check_all_received(32);
        assert!(rows[0].max_ns > seconds(1), "{rows:?}");
    };
    a_flapping_rank_hurts_itself_only "flapping-rank" |rows| {
        let [flapping, steady, failing, working] = rows else { panic!("{rows:?}") };
        steady.check_all_received(300);
        working.check_all_received(60);
        assert!((28..50).contains(&flapping.lost), "{flapping:?}");
        assert!(failing.failed > 0 && failing.received >= 45 && failing.damaged == 0, "{failing:?}");
        assert_eq!(failing.sent, failing.received + failing.failed, "{failing:?}");
    };
    ten_thousand_boot "boot-10000" |rows| rows.iter().for_each(|row| row.check_all_received(10_000));
    a_transfer_crosses_a_lossy_wan "lossy-wan-transfer" |rows| {
        let [transfer, datagrams] = rows else { panic!("{rows:?}") };
        transfer.check_all_received(1);
        assert!(transfer.min_ns > seconds(1), "{transfer:?}");
        let share = datagrams.lost as f64 / datagrams.sent as f64;
        assert!((0.002..0.05).contains(&share), "{share} of {datagrams:?}");
    };
}

#[test]
fn every_scenario_has_a_test_and_says_what_it_shows() {
    let files = std::fs::read_dir(scenarios_dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut names = BTreeSet::new();
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let scenario = mvpnet_sim::scenario::Scenario::parse(&file.display().to_string(), &text).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(scenario.name, stem);
        assert!(scenario.about.len() > 80 && scenario.seed.is_some(), "{stem}");
        names.insert(stem);
    }
    assert_eq!(names, NAMES.iter().map(|name| (*name).to_owned()).collect());
}
