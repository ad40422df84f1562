//! `mvpnet sim` as it is called: what it writes where, and its exit code.

#![allow(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PING: &str =
    "seed = 1\nranks = 2\nduration = \"2s\"\n\n[[traffic]]\nkind = \"ping\"\ncount = 10\nevery = \"100ms\"\n";

fn scenario(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("case.toml");
    std::fs::write(&file, text).unwrap();
    file
}

fn sim(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mvpnet")).current_dir(dir).arg("sim").args(arguments).output().unwrap()
}

/// The exit code, and what is on both outputs.
fn outcome(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_table_is_on_standard_output_and_the_time_it_took_is_not() {
    let dir = tempfile::tempdir().unwrap();
    scenario(dir.path(), PING);
    let (first, second) = (sim(dir.path(), &["case.toml"]), sim(dir.path(), &["case.toml"]));
    let (code, table, said) = outcome(&first);
    assert_eq!(code, Some(0), "{said}");
    assert!(table.starts_with("case: 2 ranks, seed 1, 2s of simulated time\n\ntraffic  from  to"), "{table}");
    assert_eq!(table, outcome(&second).1);
    assert!(said.starts_with("mvpnet: 2s simulated in 0."), "{said}");
    assert_eq!(outcome(&sim(dir.path(), &["case.toml", "--no-progress"])), (Some(0), table, ""));
}

#[test]
fn the_seed_and_the_end_can_be_others() {
    let dir = tempfile::tempdir().unwrap();
    scenario(dir.path(), PING);
    let output = sim(dir.path(), &["case.toml", "--seed", "7", "--until", "450ms", "--json", "-"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["seed"], &json["simulated_ns"]), (&7.into(), &450_000_000.into()));
    assert_eq!(json["rows"][0]["received"], 10, "five of each rank");
}

#[test]
fn all_that_is_asked_for_is_written() {
    let dir = tempfile::tempdir().unwrap();
    scenario(dir.path(), PING);
    let files = ["--json", "r.json", "--html", "r.html", "--capture", "r.pcapng"];
    let output = sim(dir.path(), &[&["case.toml"][..], &files].concat());
    assert!(outcome(&output).1.contains("received"));
    let read = |name| std::fs::read(dir.path().join(name)).unwrap();
    assert!(read("r.json").starts_with(b"{\n  \"scenario\": \"case\""));
    assert!(read("r.html").starts_with(b"<!DOCTYPE html>"));
    assert!(read("r.pcapng").starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
}

#[test]
fn wrong_scenarios_are_shown_with_their_line_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    scenario(dir.path(), &PING.replace("count", "cuont"));
    let output = sim(dir.path(), &["case.toml"]);
    let expected = "mvpnet: case.toml:7:1: `ping` has no key `cuont`\n    7 | cuont = 10\n      | ^^^^^\n  \
                    did you mean `count`?\n";
    assert_eq!(outcome(&output), (Some(2), "", expected));
}

#[test]
fn wrong_usage_says_what_to_do_and_simulates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    scenario(dir.path(), PING);
    std::fs::write(dir.path().join("seedless.toml"), PING.replace("seed = 1\n", "")).unwrap();
    for (arguments, message) in [
        (&[][..], "mvpnet sim needs a scenario"),
        (&["absent.toml"], "absent.toml: there is no such file"),
        (&["seedless.toml"], "seedless.toml has no seed, without which"),
        (&["case.toml", "--seed", "-1"], "--seed"),
        (&["case.toml", "--seed", "x"], "--seed x: expected a whole number"),
        (&["case.toml", "--until", "5"], "--until 5: expected simulated time like 5s or 250ms"),
        (&["case.toml", "--until", "0s"], "--until 0s: expected"),
        (&["case.toml", "--html", "case.toml"], "--html case.toml is the scenario too"),
        (&["case.toml", "--html", "x", "--json", "x"], "--html x is --json too"),
        (&["case.toml", "--json", "/nowhere/x"], "--json /nowhere/x: its directory is not there"),
        (&["case.toml", "--sed", "1"], "there is no flag --sed; a similar one is --seed"),
    ] {
        let output = sim(dir.path(), arguments);
        let (code, table, said) = outcome(&output);
        assert_eq!((code, table), (Some(2), ""), "{arguments:?}: {said}");
        assert!(said.starts_with("mvpnet: ") && said.contains(message), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("case.toml")).unwrap(), PING);
}

#[test]
fn a_failure_has_its_seed_and_the_command_that_shows_it_again() {
    let dir = tempfile::tempdir().unwrap();
    scenario(dir.path(), PING);
    let output = sim(dir.path(), &["case.toml", "--seed", "3", "--capture", "/dev/full"]);
    let (code, table, said) = outcome(&output);
    assert_eq!((code, table), (Some(1), ""), "{said}");
    assert!(said.contains("seed 3") && said.ends_with("again: mvpnet sim case.toml --seed 3\n"), "{said}");
}

#[test]
fn help_teaches_with_a_whole_scenario_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let output = sim(dir.path(), &["--help"]);
    let (code, help, _) = outcome(&output);
    assert_eq!(code, Some(0));
    let begin = help.find("      seed = 1").unwrap();
    let end = help.find("  name, about, mtu").unwrap();
    scenario(dir.path(), &help[begin..end]);
    let output = sim(dir.path(), &["case.toml"]);
    assert_eq!(outcome(&output).0, Some(0), "{}", outcome(&output).2);
}
