//! `mvpnet exec` and `rsh`: from the host and from guests, over the job's ranks to the agents of its guests. The guests are
//! stand-ins with the agent as it is (`testbeds/stand-in`); what is run in them runs here, and is found by its mark.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::setting::{agent, stand_in};
use crate::harness::wait::{Said, run};
use crate::harness::{Job, Kind, Launcher, Need, Running, begin, wait_for};

/// How long one command may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A job of stand-ins that is up.
fn stand_ins(launcher: Launcher, ranks: u32, flags: &[&str]) -> Running {
    let job = Job::new(launcher, ranks);
    let place = job.place("out");
    let mut job = job
        .flag("-q")
        .flag(stand_in())
        .flags(["--kernel", "/dev/null", "--ready", "console:stand-in: ready"])
        .flags(flags)
        .env("STAND_IN", place)
        .stays_up()
        .start();
    job.wait_until_it_says("guests are up");
    job
}

/// `mvpnet SUBCOMMAND -j JOB WORDS`.
fn command(job: &Running, subcommand: &str, words: &[&str]) -> Command {
    let mut command = Command::new(Launcher::Up.program());
    command.args([subcommand, "-j", &job.home().name]).args(words);
    command
}

fn mvpnet(job: &Running, subcommand: &str, words: &[&str]) -> Said {
    run(&mut command(job, subcommand, words), LIMIT)
}

fn code(said: &Said) -> Option<i32> {
    said.status.and_then(|status| status.code())
}

/// The same with this on standard input.
fn fed(job: &Running, words: &[&str], input: &str) -> Said {
    let file = job.home().at("input");
    fs::write(&file, input).unwrap();
    let mvpnet = command(job, "exec", words);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <\"$0\""]).arg(file).arg(mvpnet.get_program()).args(mvpnet.get_args());
    run(&mut shell, LIMIT)
}

/// A command that goes on, with its output in a file.
fn begun(job: &Running, words: &[&str]) -> Child {
    let output = File::create(job.home().at("exec.out")).unwrap();
    command(job, "exec", words)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap()
}

/// A time to sleep for that no other test has: by it a command in a stand-in is found, whose environment is its own.
fn long_time() -> String {
    format!("5{}", std::process::id())
}

/// How many commands sleep for so long.
fn sleepers(time: &str) -> usize {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes.filter(|line| *line == format!("sleep\0{time}\0").as_bytes()).count()
}

fn wait_for_sleepers(time: &str, count: usize) {
    let there = wait_for(LIMIT, || (sleepers(time) == count).then_some(()));
    assert!(there.is_some(), "{} commands sleep instead of {count}", sleepers(time));
}

/// Waits for the end of something that was begun: its code, and all that it said.
fn end_of(job: &Running, mut child: Child) -> (Option<i32>, String) {
    let status = wait_for(LIMIT, || child.try_wait().unwrap());
    let _ = child.kill();
    (status.expect("it ends").code(), job.home().read("exec.out"))
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn commands_run_in_all_guests(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(launcher)]) else { return };
    let mut job = stand_ins(launcher, 3, &[]);
    let said = mvpnet(&job, "exec", &["all", "--", "echo one $((40 + 2)); echo two; echo oh >&2"]);
    assert!(said.is_success(), "{said:?}");
    let lines = ["one 42", "two"].map(|text| [0, 1, 2].map(|rank| format!("n000{rank}: {text}")));
    let mut lines = lines.concat();
    lines.sort_unstable();
    assert_eq!(sorted(&said.stdout), lines);
    assert_eq!(sorted(&said.stderr), ["n0000: oh", "n0001: oh", "n0002: oh"]);

    let said = mvpnet(&job, "exec", &["1", "--", "sh", "-c", "echo $0; exit 7", "two words"]);
    assert_eq!((code(&said), said.stdout.as_str(), said.stderr.as_str()), (Some(7), "two words\n", ""));
    let said = mvpnet(&job, "exec", &["n[0,2]", "--", "[ $MVPNET_EXEC_TEST ] || exit 3"]);
    assert_eq!((code(&said), said.stderr.as_str()), (Some(3), "mvpnet: n[0000,0002]: exit code 3\n"));
    let said = mvpnet(&job, "exec", &["2", "--", "kill -9 $$"]);
    assert_eq!((code(&said), said.stderr.as_str()), (Some(137), "mvpnet: n0002: killed by SIGKILL\n"));
    let said = mvpnet(&job, "exec", &["2", "--", "/no/such/program", "x"]);
    assert_eq!(code(&said), Some(255), "{said:?}");

    let input = "0123456789abcde\n".repeat(40_000);
    let said = fed(&job, &["1", "--", "cat"], &input);
    assert!(said.stdout == input, "{} octets came back", said.stdout.len());
    let said = fed(&job, &["-i", "--in-order", "all", "--", "wc -c"], &input);
    assert_eq!(said.stdout, "n0000: 640000\nn0001: 640000\nn0002: 640000\n");

    let said = mvpnet(&job, "exec", &["--json", "--in-order", "0,2", "--", "echo $PPID >/dev/null; echo hi"]);
    let objects: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ranks: Vec<(u64, &str)> = objects
        .iter()
        .map(|object| (object["rank"].as_u64().unwrap(), object["stdout"].as_str().unwrap()))
        .collect();
    assert_eq!(ranks, [(0, "hi\n"), (2, "hi\n")]);

    let said = mvpnet(
        &job,
        "rsh",
        &["-x", "-o", "BatchMode=yes", "-l", "root", "n0002", "echo", "$((1", "+", "1))"],
    );
    assert_eq!((code(&said), said.stdout.as_str()), (Some(0), "2\n"));
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn commands_run_in_all_guests_under_up() {
    commands_run_in_all_guests(Launcher::Up);
}

#[test]
fn commands_run_in_all_guests_under_mpich() {
    commands_run_in_all_guests(Launcher::Mpich);
}

#[test]
fn commands_run_in_all_guests_under_openmpi() {
    commands_run_in_all_guests(Launcher::OpenMpi);
}

fn guests_start_commands_in_each_other(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(launcher)]) else { return };
    let mut job = stand_ins(launcher, 3, &[]);
    let call = |from: u32, words: &str| {
        let socket = job.home().at(format!("out/agent.{from}"));
        let script = format!("MVPNET_AGENT_SOCKET={} {} rsh {words}", socket.display(), agent().display());
        mvpnet(&job, "exec", &["-n", &from.to_string(), "--", &script])
    };
    for (from, to) in [(0, 2), (2, 1), (1, 1)] {
        let said = call(from, &format!("-x n000{to} 'echo here; exit 5'"));
        assert_eq!((code(&said), said.stdout.as_str()), (Some(5), "here\n"), "{from} to {to}: {said:?}");
    }
    let said = call(0, "n0007 true");
    assert!(code(&said) == Some(255) && said.stderr.contains("no guest is called n0007"), "{said:?}");
    let said = call(0, "n0001 'head -c 300000 /dev/zero | tr \"\\000\" x' | wc -c");
    assert_eq!(said.stdout.trim(), "300000", "{said:?}");
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn guests_start_commands_in_each_other_under_up() {
    guests_start_commands_in_each_other(Launcher::Up);
}

#[test]
fn guests_start_commands_in_each_other_under_mpich() {
    guests_start_commands_in_each_other(Launcher::Mpich);
}

#[test]
fn guests_start_commands_in_each_other_under_openmpi() {
    guests_start_commands_in_each_other(Launcher::OpenMpi);
}

#[test]
fn a_command_ends_with_its_time_its_client_or_ctrl_c() {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = stand_ins(Launcher::Up, 2, &[]);
    let time = long_time();
    let sleep = ["all", "--", "sleep", &time];
    let said = mvpnet(&job, "exec", &[&["--timeout", "1s"][..], &sleep].concat());
    assert_eq!(code(&said), Some(124), "{said:?}");
    assert_eq!(said.stderr, "mvpnet: n[0000-0001]: killed, its time was over\n");
    // One that heeds nothing but SIGKILL, and whose input waits.
    let script = format!("trap '' TERM; sleep {time}");
    let said = fed(&job, &["--timeout", "1s", "1", "--", &script], &"x".repeat(1 << 20));
    assert_eq!(code(&said), Some(124), "{said:?}");
    wait_for_sleepers(&time, 0);
    for (signal, expected) in
        [(Signal::SIGINT, Some(130)), (Signal::SIGTERM, Some(143)), (Signal::SIGKILL, None)]
    {
        let child = begun(&job, &sleep);
        wait_for_sleepers(&time, 2);
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(end_of(&job, child).0, expected, "{signal}");
        wait_for_sleepers(&time, 0);
    }
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn many_commands_run_at_once() {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = stand_ins(Launcher::Up, 2, &[]);
    let children: Vec<Child> = (0..24)
        .map(|n: i32| {
            let script = format!("head -c 100000 /dev/zero | wc -c; exit {n}");
            let mut command = command(&job, "exec", &["-n", &(n % 2).to_string(), "--", &script]);
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (n, child) in (0..).zip(children) {
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(n), &b"100000\n"[..]));
    }
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn a_command_hears_of_the_end_of_its_guest_and_its_job() {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = stand_ins(Launcher::Up, 2, &[]);
    let time = long_time();
    let child = begun(&job, &["1", "--", "sleep", &time]);
    wait_for_sleepers(&time, 1);
    let said =
        run(Command::new(Launcher::Up.program()).args(["fault", "-j", &job.home().name, "crash 1"]), LIMIT);
    assert!(said.is_success(), "{said:?}");
    let (code, said) = end_of(&job, child);
    assert!(code == Some(255) && said.starts_with("mvpnet: n0001: "), "{code:?} {said}");
    // Its agent may be gone a moment before its rank hears of its death.
    let refused = || mvpnet(&job, "exec", &["1", "--", "true"]).stderr;
    let is_refused = || refused() == "mvpnet: n0001: the guest of rank 1 does not run\n";
    assert!(wait_for(LIMIT, || is_refused().then_some(())).is_some(), "{}", refused());

    let child = begun(&job, &["0", "--", "sleep", &time]);
    wait_for_sleepers(&time, 1);
    job.end_with(0);
    // The job's own check finds what it leaves; the client is ours.
    let mut child = child;
    let ended = wait_for(LIMIT, || child.try_wait().unwrap()).expect("it ends");
    assert_eq!(ended.code(), Some(255));
    job.ended().assert_code(0);
}

#[test]
fn a_command_hears_of_the_death_of_its_rank() {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(Launcher::Mpich)]) else { return };
    let mut job = stand_ins(Launcher::Mpich, 2, &[]);
    let time = long_time();
    let mut child = begun(&job, &["1", "--", "sleep", &time]);
    wait_for_sleepers(&time, 1);
    job.signal_to(Kind::Ranks, 1, Signal::SIGKILL);
    let ended = wait_for(LIMIT, || child.try_wait().unwrap()).expect("it ends");
    assert_eq!(ended.code(), Some(255), "{}", job.home().read("exec.out"));
    assert_ne!(job.ended().code(), 0);
}

#[test]
fn what_cannot_be_run_is_refused_with_its_reason() {
    let Some(_turn) = begin(&[Need::Agent, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = stand_ins(Launcher::Up, 2, &["--no-exec"]);
    let said = mvpnet(&job, "exec", &["all", "--", "true"]);
    assert_eq!(code(&said), Some(255));
    assert!(said.stderr.starts_with("mvpnet: n[0000-0001]: the job was started with --no-exec"), "{said:?}");
    for (words, expected) in [
        (&["2", "--", "true"][..], "mvpnet: the job has no node 2: its nodes are 0 to 1\n"),
        (&["n[0-", "--", "true"], "mvpnet: the nodes `n[0-` have brackets that do not match"),
        (&["--timeout", "soon", "0", "--", "true"], "mvpnet: --timeout soon: write it like 90s"),
    ] {
        let said = mvpnet(&job, "exec", words);
        assert!(code(&said) == Some(2) && said.stderr.starts_with(expected), "{words:?}: {said:?}");
    }
    job.end_with(0);
    job.ended().assert_code(0);
}
