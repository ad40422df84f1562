//! Guests that boot again and again under load, and what that may not cost: descriptors, threads, memory.
//!
//! `MVPNET_E2E_SOAK` says for how many seconds, 10 unless it does.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Pid;

use crate::harness::wait::{Stopwatch, run, wait_for};
use crate::harness::{Guest, Job, Kind, Launcher, Need, Running, begin};

/// How long a guest may take to be up again.
const REBOOT: Duration = Duration::from_secs(120);
/// How long a process may take to come to rest after that.
const REST: Duration = Duration::from_secs(10);
/// By how much its memory may have grown all in all, KiB: buffers that were not needed before, the log's memory.
const GROWTH: u64 = 4096;

/// What a process of mvpnet has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    /// Memory that is mapped from memory files: segments of ranks and the memory of guests.
    shared_mappings: usize,
    resident_kib: u64,
}

fn holdings(pid: Pid) -> Holdings {
    let count = |part: &str| fs::read_dir(format!("/proc/{pid}/{part}")).map_or(0, Iterator::count);
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("proc(5)");
    let kib = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    Holdings {
        descriptors: count("fd"),
        threads: count("task"),
        shared_mappings: maps.lines().filter(|line| line.contains("/memfd:")).count(),
        resident_kib: kib,
    }
}

/// The time that the test is to take.
fn time() -> Duration {
    let seconds =
        std::env::var("MVPNET_E2E_SOAK").map_or(10, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

fn load(guests: &[Guest]) {
    let to = guests[1].ip();
    guests[0].tell(&format!("killall iperf3; iperf3 -c {to} -t 3600 -i 0.25 --forceflush >/tmp/traffic"));
    guests[0].run_until(Duration::from_secs(40), "[ $(grep -c 'bits/sec' /tmp/traffic) -ge 3 ]");
}

fn reset(job: &Running) {
    let name = &job.home().name;
    let said =
        run(Command::new(Launcher::Up.program()).args(["reset", "--wait", "1", "--job", name]), REBOOT);
    assert!(said.is_success(), "{said:?}");
}

fn reboots_under_load_leak_nothing(launcher: Launcher, net: &str) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = Job::new(launcher, 2).tiny().flags(["-n", net, "-g"]).stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    let watch = Stopwatch::start();
    let pids: Vec<Pid> =
        job.processes().iter().filter(|it| it.kind == Kind::Ranks).map(|it| it.pid).collect();
    let mut first = BTreeMap::new();
    let mut reboots = 0;
    while reboots < 2 || watch.elapsed() < time() {
        load(&guests);
        reset(&job);
        reboots += 1;
        for &pid in &pids {
            // After the first everything has been made that is ever made.
            let before = first.entry(pid).or_insert_with(|| holdings(pid)).clone();
            let is_as_before = |now: &Holdings| {
                (now.descriptors, now.threads, now.shared_mappings)
                    == (before.descriptors, before.threads, before.shared_mappings)
                    && now.resident_kib <= before.resident_kib + GROWTH
            };
            let rest = wait_for(REST, || Some(holdings(pid)).filter(is_as_before));
            assert!(
                rest.is_some(),
                "after {reboots} reboots {:?}, after the first {before:?}",
                holdings(pid)
            );
        }
    }
    eprintln!(
        "{reboots} reboots under load over {net} links: {:?}",
        pids.iter().map(|pid| holdings(*pid)).collect::<Vec<_>>()
    );
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn reboots_under_load_leak_nothing_over_vhost_user_links() {
    reboots_under_load_leak_nothing(Launcher::Up, "vhost-user");
}

#[test]
fn reboots_under_load_leak_nothing_over_vhost_user_links_under_mpich() {
    reboots_under_load_leak_nothing(Launcher::Mpich, "vhost-user");
}
