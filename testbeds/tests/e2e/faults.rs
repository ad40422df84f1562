//! `mvpnet fault` on running jobs: what it does, under each launcher, and what it says of what makes no sense.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::wait::{Said, run};
use crate::harness::{Guest, Job, Kind, Launcher, Need, Running, begin};

/// How long it may take: a restart waits for a guest that boots, emulated.
const FAULT: Duration = Duration::from_secs(120);

/// A load generator that answers pings and does nothing else.
const ECHO: &str = "echo";

fn fault(words: &[&str]) -> Said {
    run(Command::new(Launcher::Up.program()).arg("fault").args(words), FAULT)
}

/// Faults for this job alone, which have to succeed; what was said.
fn on(job: &Running, words: &[&str]) -> String {
    let said = fault(&[&["--job", &job.home().name], words].concat());
    assert!(said.is_success(), "{words:?}: {said:?}");
    said.stdout
}

fn reaches(from: &Guest, to: &Guest) -> bool {
    from.try_run(&format!("ping -c 1 -W 2 {}", to.ip())).is_success()
}

/// One partition, healed; the frames that it stopped are in counters and captures.
fn a_job_is_parted_and_joined(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let job = Job::new(launcher, 3).tiny();
    let log = job.place("log");
    let mut job = job.flags(["-g", "--capture", &log]).stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    assert!(reaches(&guests[0], &guests[2]));
    on(&job, &["partition 0,1 | 2", "link 0<->1 latency=50ms"]);
    assert!(!reaches(&guests[0], &guests[2]) && !reaches(&guests[2], &guests[1]));
    let said = guests[0].run("ping -c 1 -W 2 10.0.0.2");
    let millis = said.split_once("time=").and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(millis.is_some_and(|millis| millis >= 100.0), "{said}");
    let shown = on(&job, &["--show"]);
    assert!(shown.ends_with("ranks):\n    link 0<->1 latency=50ms\n    partition 0,1 | 2\n"), "{shown}");
    on(&job, &["heal", "link all ideal"]);
    assert!(reaches(&guests[0], &guests[2]) && reaches(&guests[2], &guests[1]));
    assert!(on(&job, &["--show"]).ends_with("nothing is set\n"));
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
    let counters = job.counters();
    for rank in 0..3 {
        let expected = if rank == 0 { 0 } else { 1 };
        let counted = counters[&format!("{rank}.guest-egress-drop-partition")];
        assert!(counted >= expected, "rank {rank} has counted {counted}");
    }
    let capture = fs::read(job.home().at(format!("log/capture.{}.2.pcapng", job.home().name))).unwrap();
    let reason = b"dropped: partition: ";
    assert!(capture.windows(reason.len()).any(|bytes| bytes == reason), "the capture does not say why");
}

#[test]
fn a_job_is_parted_and_joined_under_up() {
    a_job_is_parted_and_joined(Launcher::Up);
}

#[test]
fn a_job_is_parted_and_joined_under_mpich() {
    a_job_is_parted_and_joined(Launcher::Mpich);
}

#[test]
fn a_job_is_parted_and_joined_under_openmpi() {
    a_job_is_parted_and_joined(Launcher::OpenMpi);
}

/// A crashed guest comes back with what it had written to its disk, at the same port; sockets with names too.
fn a_guest_comes_back_after_a_crash(launcher: Launcher, net: &str) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let job = Job::new(launcher, 2).tiny();
    let (disk, run, sock) = (job.place("out/disk.img"), job.place("run"), job.place("sock"));
    fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let mut job = job.flags(["-i", &disk, "-r", &run, "-s", &sock, "-n", net]).stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    let (first, process) = (&guests[1], job.process(Kind::Guest, 1).pid);
    first.run("modprobe virtio_blk; echo still here | dd of=/dev/vda conv=fsync");
    on(&job, &["crash 1"]);
    let again = fault(&["--job", &job.home().name, "pause 1"]);
    assert_eq!(again.stderr, "mvpnet: rank 1: its guest has crashed\n");
    on(&job, &["restart 1"]);
    assert_ne!(job.process(Kind::Guest, 1).pid, process);
    assert_eq!(job.guests()[1].port, first.port);
    let disk = first.run("modprobe virtio_blk; dd if=/dev/vda bs=10 count=1");
    assert_eq!(disk, "still here");
    assert!(reaches(first, &guests[0]) && reaches(&guests[0], first));
    // One that runs is started anew too, and with it the one by which the job is led.
    on(&job, &["restart 0-1"]);
    assert!(reaches(first, &guests[0]));
    job.end_with(7);
    job.ended().assert_code(7);
}

#[test]
fn a_guest_comes_back_after_a_crash_under_up() {
    a_guest_comes_back_after_a_crash(Launcher::Up, "dgram");
}

#[test]
fn a_guest_comes_back_after_a_crash_under_mpich() {
    a_guest_comes_back_after_a_crash(Launcher::Mpich, "stream");
}

#[test]
fn a_job_with_a_crashed_guest_is_killed_and_leaves_nothing() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = Job::new(Launcher::Up, 2).tiny().stays_up().start();
    job.wait_until_up();
    on(&job, &["crash 0", "restart 1", "link all loss=1%"]);
    job.signal(Signal::SIGKILL);
    assert_ne!(job.ended().code(), 0);
}

/// Words that make no sense to a job of two ranks, and what is said of them.
const WRONG: &[(&[&str], &str)] = &[
    (&[], "say what is to happen, or --show or --list"),
    (&["explode 1"], "`explode` is no change to a network; there are link, access, partition"),
    (&["partition 0,1"], "a partition has at least two groups"),
    (&["partition 0 | 0,1"], "rank 0 is in two groups of the partition"),
    (&["partition 0 | 2"], "rank 2 is outside the world, whose 2 ranks are 0 to 1"),
    (&["link 0<->1 los=1%"], "a link has no setting `los`; it has latency"),
    (&["link 0<->1 loss=2"], "loss"),
    (&["link loss=1%"], "`link` needs to know which"),
    (&["access"], "`access` needs ranks after it"),
    (&["crash"], "`crash` needs ranks after it"),
    (&["heal", "pause 9"], "rank 9 is outside the world"),
    (&["heal", "--show"], "exclude each other"),
    (&["--sho"], "there is no flag --sho; a similar one is --show"),
];

#[test]
fn a_wrong_fault_is_one_message_and_exit_code_2_and_changes_nothing() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let mut job = Job::new(Launcher::Up, 2).generators(ECHO).stays_up().start();
    job.wait_until_up();
    for (words, says) in WRONG {
        let said = fault(&[&["--job", &job.home().name], *words].concat());
        let code = said.status.and_then(|status| status.code());
        assert_eq!(code, Some(2), "{words:?}: {said:?}");
        assert!(said.stderr.starts_with("mvpnet: ") && said.stderr.contains(says), "{words:?}: {said:?}");
        assert_eq!(said.stdout, "", "{words:?}");
    }
    assert!(on(&job, &["--show"]).ends_with("nothing is set\n"));
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn which_job_is_meant_is_said_or_asked() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let start = || {
        let mut job = Job::new(Launcher::Up, 2).generators(ECHO).stays_up().start();
        job.wait_until_up();
        job
    };
    let (mut one, mut other) = (start(), start());
    let listed = fault(&["--list"]).stdout;
    let said = fault(&["heal"]);
    assert_eq!(said.status.and_then(|status| status.code()), Some(2), "{said:?}");
    for job in [&one, &other] {
        let described = format!("{} (process {}, 2 ranks)", job.home().name, job.process(Kind::Ranks, 0).pid);
        assert!(listed.contains(&format!("{described}\n")), "{listed}");
        assert!(said.stderr.contains("Say it with --job: ") && said.stderr.contains(&described), "{said:?}");
    }
    let by_process = other.process(Kind::Ranks, 0).pid.to_string();
    assert!(fault(&["--job", &by_process, "link all loss=1%"]).is_success());
    assert!(on(&one, &["--show"]).ends_with("nothing is set\n"));
    let json: serde_json::Value = serde_json::from_str(&on(&other, &["--show", "--json"])).unwrap();
    assert_eq!(json["in_force"], serde_json::json!(["link all loss=1%"]));
    let name = other.home().name.clone();
    other.end_with(0);
    other.ended().assert_code(0);
    let said = fault(&["--job", &name, "heal"]);
    assert_eq!(said.status.and_then(|status| status.code()), Some(1), "{said:?}");
    assert!(said.stderr.contains(&format!("there is no job `{name}` here; there ")), "{said:?}");
    one.end_with(0);
    one.ended().assert_code(0);
}
