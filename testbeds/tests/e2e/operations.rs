//! Jobs that are looked at, reset and ended by `mvpnet ps`, `status`, `reset` and `down`, on every host that they are
//! on; and what is left when everything of them is killed, which `mvpnet gc` removes.

mod forced_down;

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::harness::leftovers::TIDY;
use crate::harness::setting::two_hosts;
use crate::harness::two_hosts::Hosts;
use crate::harness::wait::{Said, run, wait_for};
use crate::harness::{Guest, Job, Kind, Launcher, Need, Running, begin};

/// How long a subcommand may take: a reset waits for a guest that boots, emulated.
const LIMIT: Duration = Duration::from_secs(120);

fn mvpnet(words: &[&str]) -> Said {
    run(Command::new(Launcher::Up.program()).args(words), LIMIT)
}

fn code(said: &Said) -> Option<i32> {
    said.status.and_then(|status| status.code())
}

/// What a subcommand prints for this job, which has to succeed.
fn on(job: &Running, words: &[&str]) -> String {
    let said = mvpnet(&[words, &["--job", &job.home().name]].concat());
    assert!(said.is_success(), "{words:?}: {said:?}");
    said.stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What `ps` says of a job of this name, if anything.
fn listed(name: &str, words: &[&str]) -> Option<Value> {
    let said = mvpnet(&[&["ps", "--json"], words].concat());
    assert!(said.is_success(), "{said:?}");
    let jobs = json(&said.stdout);
    jobs.as_array().unwrap().iter().find(|job| job["name"] == name).cloned()
}

fn status(job: &Running) -> Value {
    json(&on(job, &["status", "--json"]))
}

fn reaches(from: &Guest, to: &Guest) -> bool {
    from.try_run(&format!("ping -c 1 -W 5 {}", to.ip())).is_success()
}

/// A job is listed from its boot to its end, and its ranks with it.
fn a_job_is_shown_and_ended(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = Job::new(launcher, 2).tiny().start();
    job.wait_until_guests_run();
    let name = job.home().name.clone();
    let booting = listed(&name, &[]).unwrap();
    assert_eq!((&booting["state"], &booting["ranks"]), (&"booting".into(), &2.into()));
    let state = status(&job)["ranks"][1]["state"].clone();
    assert!(state == "preparing" || state == "booting", "{state}");
    job.wait_until_up();
    let guests = job.guests();
    assert!(reaches(&guests[0], &guests[1]));
    let running = listed(&name, &[]).unwrap();
    assert_eq!(running["process"], job.process(Kind::Ranks, 0).pid.as_raw());
    assert_eq!((&running["state"], &running["hosts"]), (&"running".into(), &1.into()));
    assert_eq!(running["id"], booting["id"]);
    let status = status(&job);
    for (rank, guest) in (0_u32..).zip(&guests) {
        let shown = &status["ranks"][rank as usize];
        assert_eq!((&shown["rank"], &shown["state"]), (&rank.into(), &"ready".into()), "{shown}");
        assert_eq!(shown["ssh_port"], guest.port);
        assert_eq!(shown["qemu"], job.process(Kind::Guest, rank).pid.as_raw());
        assert_eq!(shown["keeper"], job.process(Kind::Keeper, rank).pid.as_raw());
        assert_eq!((&shown["memory_mib"], &shown["cpus"]), (&256.into(), &"1".into()));
        assert!(shown["boot"].as_f64().unwrap() > 0.1 && shown["frames_in"].as_u64().unwrap() > 0, "{shown}");
        assert!(shown["console"].as_str().unwrap().contains(&guest.name()), "{shown}");
    }
    shown_to_people(&job);
    let said = on(&job, &["down"]);
    assert!(said.ends_with("is down\n") && listed(&name, &["--all"]).is_none(), "{said}");
    let job = job.ended_within(TIDY);
    job.assert_code(0);
    job.assert_said("mvpnet: stopping: mvpnet down\n");
    job.assert_all_halted();
}

fn shown_to_people(job: &Running) {
    let name = &job.home().name;
    let table = mvpnet(&["ps"]).stdout;
    assert!(table.starts_with("NAME "), "{table}");
    assert!(table.lines().any(|line| line.starts_with(name.as_str()) && line.ends_with("kernel")), "{table}");
    // As the application of the job sees it.
    let mut inside = Command::new(Launcher::Up.program());
    let said = run(inside.arg("status").env("MVPNET_JOBNAME", name), LIMIT);
    assert!(said.is_success() && said.stdout.starts_with(name.as_str()), "{said:?}");
    assert!(said.stdout.contains("\nRANK  HOST "), "{said:?}");
}

#[test]
fn a_job_is_shown_and_ended_under_up() {
    a_job_is_shown_and_ended(Launcher::Up);
}

#[test]
fn a_job_is_shown_and_ended_under_mpich() {
    a_job_is_shown_and_ended(Launcher::Mpich);
}

#[test]
fn a_job_is_shown_and_ended_under_openmpi() {
    a_job_is_shown_and_ended(Launcher::OpenMpi);
}

/// Each host has a control directory of its own, so that rank 0 is out of reach for all but its job.
fn a_job_is_operated_from_the_host_of_rank_1(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher), Need::Root]) else { return };
    let _hosts = Hosts::up();
    let local = "/run/mvpnet-two-hosts/local";
    let mut job = Job::new(launcher, 2).on_two_hosts(1).tiny().env("XDG_RUNTIME_DIR", local).start();
    job.wait_until_up();
    let name = job.home().name.clone();
    let there = |words: &[&str]| {
        let mut command = Command::new(two_hosts("enter"));
        command.arg("h1").arg(Launcher::Up.program()).args(words).env("XDG_RUNTIME_DIR", local);
        run(&mut command, LIMIT)
    };
    let succeeds = |words: &[&str]| {
        let said = there(words);
        assert!(said.is_success(), "{words:?}: {said:?}");
        said.stdout
    };
    let jobs = json(&succeeds(&["ps", "--json"]));
    let shown = jobs.as_array().unwrap().iter().find(|job| job["name"] == *name).unwrap();
    assert_eq!((&shown["hosts"], &shown["host"]), (&2.into(), &"h0".into()));
    assert_eq!(shown["process"], job.process(Kind::Ranks, 0).pid.as_raw());
    assert_eq!(shown["through"], job.process(Kind::Ranks, 1).pid.as_raw());
    assert!(listed(&name, &[]).is_none(), "the hosts have no control directory in common");
    let status = json(&succeeds(&["status", "--json", "--job", &name]));
    let hosts: Vec<&Value> = status["ranks"].as_array().unwrap().iter().map(|rank| &rank["host"]).collect();
    assert_eq!(hosts, ["h0", "h1"]);
    assert_eq!(status["ranks"][0]["qemu"], job.process(Kind::Guest, 0).pid.as_raw());
    succeeds(&["fault", "--job", &name, "pause 0"]);
    assert!(succeeds(&["fault", "--job", &name, "--show"]).ends_with("    pause 0\n"));
    let said = there(&["reset", "--job", &name, "0"]);
    assert!(code(&said) == Some(1) && said.stderr.contains("rank 0: its guest stands still"), "{said:?}");
    succeeds(&["fault", "--job", &name, "resume 0"]);
    let guests = job.guests();
    assert!(reaches(&guests[1], &guests[0]));
    assert!(succeeds(&["down", "--job", &name]).ends_with("is down\n"));
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
}

#[test]
fn a_job_is_operated_from_the_host_of_rank_1_under_mpich() {
    a_job_is_operated_from_the_host_of_rank_1(Launcher::Mpich);
}

#[test]
fn a_job_is_operated_from_the_host_of_rank_1_under_openmpi() {
    a_job_is_operated_from_the_host_of_rank_1(Launcher::OpenMpi);
}

/// A rank that stands still keeps nobody waiting for long, and says how it is when it goes on.
fn a_rank_that_does_not_answer_is_shown_as_silent(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Launcher(launcher)]) else { return };
    let mut job = Job::new(launcher, 3).generators("echo").stays_up().start();
    job.wait_until_up();
    let states = |job: &Running| -> Vec<String> {
        let ranks = status(job)["ranks"].clone();
        let ranks = ranks.as_array().unwrap().iter();
        ranks.map(|rank| rank["state"].as_str().unwrap().to_owned()).collect()
    };
    job.signal_to(Kind::Ranks, 1, Signal::SIGSTOP);
    assert_eq!(states(&job), ["ready", "silent", "ready"]);
    assert_eq!(listed(&job.home().name, &[]).unwrap()["state"], "running");
    job.signal_to(Kind::Ranks, 1, Signal::SIGCONT);
    assert_eq!(states(&job), ["ready", "ready", "ready"]);
    job.end_with(3);
    job.ended().assert_code(3);
}

#[test]
fn a_rank_that_does_not_answer_is_shown_as_silent_under_mpich() {
    a_rank_that_does_not_answer_is_shown_as_silent(Launcher::Mpich);
}

#[test]
fn a_rank_that_does_not_answer_is_shown_as_silent_under_openmpi() {
    a_rank_that_does_not_answer_is_shown_as_silent(Launcher::OpenMpi);
}

/// A guest that is reset comes back, with the traffic of the others going on.
fn a_guest_is_reset_in_traffic(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = Job::new(launcher, 2).tiny().stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    guests[0].tell(&format!("iperf3 -c {} -t 300 -i 0.25 --forceflush >/tmp/traffic", guests[1].ip()));
    guests[0].run_until(Duration::from_secs(30), "[ $(grep -c 'bits/sec' /tmp/traffic) -ge 4 ]");
    guests[1].run("touch /tmp/before");
    let qemu = job.process(Kind::Guest, 1).pid;
    let said = on(&job, &["reset", "--wait", "1"]);
    assert!(said.ends_with("1 guest was reset and is up again\n"), "{said}");
    guests[1].run("[ ! -e /tmp/before ]");
    assert_eq!(job.process(Kind::Guest, 1).pid, qemu);
    assert!(reaches(&guests[0], &guests[1]) && reaches(&guests[1], &guests[0]));
    let status = status(&job);
    assert_eq!([0, 1].map(|rank| status["ranks"][rank]["restarts"].as_u64().unwrap()), [0, 1]);
    assert_eq!(status["ranks"][1]["state"], "ready");
    for (words, says) in [
        (&["reset", "5"][..], "the job has no node 5: its nodes are 0 to 1"),
        (&["reset", "1-0"], "runs backwards"),
        (&["reset", "x"], "name no node at `x`"),
    ] {
        let said = mvpnet(&[words, &["--job", &job.home().name]].concat());
        assert!(code(&said) == Some(2) && said.stderr.contains(says), "{words:?}: {said:?}");
    }
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn a_guest_is_reset_in_traffic_under_up() {
    a_guest_is_reset_in_traffic(Launcher::Up);
}

#[test]
fn a_guest_is_reset_in_traffic_under_mpich() {
    a_guest_is_reset_in_traffic(Launcher::Mpich);
}

#[test]
fn a_guest_is_reset_in_traffic_under_openmpi() {
    a_guest_is_reset_in_traffic(Launcher::OpenMpi);
}

/// With a grace time of its own, a job that is asked takes it; who does not want to wait that long is told.
#[test]
fn who_waits_no_longer_is_told_so_and_the_job_ends_all_the_same() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = Job::new(Launcher::Up, 1).tiny().start();
    job.wait_until_up();
    job.guests()[0].run("sed -i '2i sleep 5' /etc/rc.shutdown");
    let said = mvpnet(&["down", "--timeout", "2.5", "--job", &job.home().name]);
    assert_eq!(code(&said), Some(124), "{said:?}");
    assert!(said.stderr.contains(": 0 of 1 guests are off, 2 s\n"), "{said:?}");
    assert!(said.stderr.contains("is still there after 2 s; `mvpnet down --force`"), "{said:?}");
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
}

/// Everything of a job dies at the same moment, keepers included, with copies, sockets and all.
fn gc_removes_what_is_left(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let start = |launcher| {
        let job = Job::new(launcher, 2).tiny();
        let (disk, run_dir, sock) = (job.place("out/disk.img"), job.place("run"), job.place("sock"));
        fs::write(&disk, vec![0; 1 << 20]).unwrap();
        let mut job = job.flags(["-i", &disk, "-r", &run_dir, "-s", &sock, "-n", "dgram"]).start();
        job.wait_until_up();
        job
    };
    let mut living = start(Launcher::Up);
    let dead = start(launcher);
    let name = dead.home().name.clone();
    let files = |job: &Running| -> usize {
        ["run", "sock"].iter().map(|part| fs::read_dir(job.home().at(part)).unwrap().count()).sum()
    };
    let (of_the_living, of_the_dead) = (files(&living), files(&dead));
    assert!(of_the_living > 0 && of_the_dead > 0);
    kill_at_once(&dead);
    assert_eq!(files(&dead), of_the_dead, "somebody was left to tidy up");
    assert_eq!(listed(&name, &[]), None);
    assert_eq!(listed(&name, &["--all"]).unwrap()["state"], "dead");
    let said = mvpnet(&["gc", "--dry-run"]);
    assert!(said.is_success() && said.stdout.contains(&format!("(job {name})\n")), "{said:?}");
    assert_eq!(files(&dead), of_the_dead, "a dry run removes nothing");
    let said = mvpnet(&["gc"]);
    assert!(said.is_success() && said.stdout.contains(&format!("(job {name})\n")), "{said:?}");
    dead.ended_within(TIDY);
    let again = mvpnet(&["gc"]);
    assert_eq!(again.stdout, "nothing is left of dead jobs on this host\n");
    assert_eq!((files(&living), status(&living)["job"]["state"].as_str()), (of_the_living, Some("running")));
    let guests = living.guests();
    assert!(reaches(&guests[0], &guests[1]));
    on(&living, &["down"]);
    living.ended().assert_all_halted();
}

/// Nobody has the time to do anything about the death of another.
fn kill_at_once(job: &Running) {
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for process in job.processes() {
            // The guest dies with its keeper.
            let _ = kill(process.pid, signal);
        }
    }
    let gone = wait_for(Duration::from_secs(10), || job.processes().is_empty().then_some(()));
    assert!(gone.is_some(), "{:#?}", job.processes());
}

#[test]
fn gc_removes_what_is_left_of_up() {
    gc_removes_what_is_left(Launcher::Up);
}

#[test]
fn gc_removes_what_is_left_under_mpich() {
    gc_removes_what_is_left(Launcher::Mpich);
}

#[test]
fn gc_removes_what_is_left_under_openmpi() {
    gc_removes_what_is_left(Launcher::OpenMpi);
}

/// Command lines that name no job or make no sense, their exit codes, and what is said of them.
const WRONG: &[(&[&str], i32, &str)] = &[
    (&["status", "--job", "no-such-job"], 1, "no-such-job"),
    (&["down", "--job", "no-such-job"], 1, "no-such-job"),
    (&["down", "--force", "--job", "no-such-job"], 1, "no-such-job"),
    (&["reset", "--job", "no-such-job", "0"], 1, "no-such-job"),
    (&["reset"], 2, "NODES"),
    (&["down", "--all", "--job", "x"], 2, "--all and --job exclude each other"),
    (&["down", "--timeout", "soon"], 2, "--timeout soon: that is no number of seconds"),
    (&["ps", "--al"], 2, "there is no flag --al; a similar one is --all"),
    (&["gc", "now"], 2, "now"),
];

#[test]
fn wrong_names_and_words_are_one_message_and_change_nothing() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let mut job = Job::new(Launcher::Up, 1).generators("echo").stays_up().start();
    job.wait_until_up();
    for (words, expected, says) in WRONG {
        let said = mvpnet(words);
        assert_eq!(code(&said), Some(*expected), "{words:?}: {said:?}");
        assert!(said.stderr.starts_with("mvpnet: ") && said.stderr.contains(says), "{words:?}: {said:?}");
        assert_eq!(said.stdout, "", "{words:?}");
    }
    assert_eq!(listed(&job.home().name, &[]).unwrap()["state"], "running");
    job.end_with(0);
    job.ended().assert_code(0);
}

/// Records and sockets in a directory that is another user's, or that others can write to, are nobody's word; and a
/// record alone kills nobody.
#[test]
fn what_others_may_have_written_is_neither_believed_nor_removed() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up), Need::Root]) else { return };
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("mvpnet");
    fs::create_dir(&directory).unwrap();
    let process = std::process::id();
    // The number of a living process, this one, that somebody else had who is dead.
    let record = serde_json::json!({
        "id": "x-1-1", "name": "stranger", "ranks": 1, "chief": process, "rank": 0,
        "process": { "number": process, "born": 1 },
        "realm": realm(),
        "started": 1, "command": [], "image": null, "run_dir": null, "leftovers": [],
    });
    let path = directory.join(format!("{process}.0.job.json"));
    fs::write(&path, record.to_string()).unwrap();
    let there = |words: &[&str]| {
        let mut command = Command::new(Launcher::Up.program());
        run(command.args(words).env("XDG_RUNTIME_DIR", home.path()), LIMIT)
    };
    let shown = || there(&["ps", "--all"]).stdout.contains("stranger ");
    let give = |owner: &str, mode: &str| {
        for words in [["chown", "-R", owner], ["chmod", "-R", mode]] {
            assert!(run(Command::new(words[0]).args(&words[1..]).arg(&directory), LIMIT).is_success());
        }
    };
    for (owner, mode) in [("65534", "u=rwX,go="), ("0", "a=rwX")] {
        give(owner, mode);
        assert!(!shown() && !there(&["gc"]).stdout.contains("stranger") && path.exists(), "{owner} {mode}");
        assert_eq!(code(&there(&["down", "--force", "--job", "stranger"])), Some(1));
    }
    give("0", "u=rwX,go=");
    assert!(shown());
    // If it were believed, this test would not go on.
    assert!(there(&["down", "--force", "--job", "stranger"]).is_success());
    assert!(!path.exists() && !shown());
}

/// Where numbers of processes mean what they mean here.
fn realm() -> Value {
    let text = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap().to_str().unwrap().to_owned();
    serde_json::json!({
        "host": text("/proc/sys/kernel/hostname"),
        "boot": text("/proc/sys/kernel/random/boot_id"),
        "namespace": namespace,
    })
}
