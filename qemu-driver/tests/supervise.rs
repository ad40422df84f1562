//! A guest under its keeper, with shell scripts in qemu's place.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mvpnet_qemu_driver::Leftover;
use mvpnet_qemu_driver::process::Process;
use mvpnet_qemu_driver::supervise::{
    GuestFds, Keeper, KeeperSpec, Launch, ProcessEnd, StopLadder, StopStep, SuperviseError, keepers_of,
};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use common::{GONE_WITHIN, guest, holds_within, is_gone, keeper_spec, launch, script};

const LADDER: StopLadder = StopLadder {
    powerdown_grace: Duration::ZERO,
    powerdown_every: Duration::from_secs(1),
    terminate_grace: Duration::from_secs(20),
};

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed())
}

#[tokio::test]
async fn output_and_exit_code_arrive() {
    let guest = guest("echo to the console; echo to stderr >&2; exit 7").await;
    let end = guest.ended().await;
    assert_eq!(end.process, Some(ProcessEnd::Code(7)));
    assert_eq!(end.to_string(), "qemu ended with exit code 7");
    assert_eq!(guest.console().last_lines(9), ["to the console"]);
    assert_eq!(guest.stderr().last_lines(9), ["to stderr"]);
    assert_eq!(guest.shutdown(&LADDER).await.step, StopStep::AlreadyEnded);
    assert!(guest.finish(vec![]).await.is_empty());
}

#[tokio::test]
async fn a_signal_that_kills_the_guest_is_named() {
    let guest = guest("kill -SEGV $$").await;
    assert_eq!(guest.ended().await.process, Some(ProcessEnd::Signal(Signal::SIGSEGV as i32)));
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_why() {
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest = keeper.launch(launch(["no-such-qemu", "-m", "1"])).await.unwrap();
    assert_eq!(guest.ended().await.process, Some(ProcessEnd::Code(127)));
    let said = guest.stderr().last_lines(1).concat();
    assert!(said.starts_with("cannot start no-such-qemu: No such file"), "{said}");
}

#[tokio::test]
async fn a_keeper_that_cannot_be_started_says_why() {
    let absent = KeeperSpec { program: "/no/such/program".into(), ..keeper_spec() };
    let error = Keeper::spawn(absent).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/program: No such file"), "{error}");
    let wrong = KeeperSpec { program: "/bin/false".into(), ..keeper_spec() };
    assert!(matches!(Keeper::spawn(wrong).await, Err(SuperviseError::KeeperLost { .. })));
}

#[tokio::test]
async fn a_guest_inherits_its_descriptors_and_nothing_else() {
    // What a careless library leaves open for children.
    let leaked: Vec<_> =
        (0..20).map(|_| nix::unistd::dup(fs::File::open("/dev/null").unwrap()).unwrap()).collect();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut fds = GuestFds::new();
    let monitor = fds.add_qmp().unwrap();
    let link = fds.add(theirs);
    assert_eq!((monitor.to_string(), link.to_string()), ("3".into(), "4".into()));
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let mut launch = launch(["/bin/sh", "-c", "ls -l /proc/self/fd; echo frame >&4; exec sleep 1000"]);
    launch.fds = fds;
    let guest = keeper.launch(launch).await.unwrap();
    drop(leaked);
    let mut frame = [0; 6];
    ours.set_read_timeout(Some(GONE_WITHIN)).unwrap();
    std::io::Read::read_exact(&mut &ours, &mut frame).unwrap();
    assert_eq!(&frame, b"frame\n");
    assert!(guest.console().wait_for("/proc/").await);
    let listing = guest.console().last_lines(50);
    // The last one is the directory that ls reads.
    let numbers: Vec<_> = listing
        .iter()
        .filter_map(|line| Some(line.split_once(" -> ")?.0.rsplit(' ').next()?.to_owned()))
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5"], "{listing:#?}");
    // Nobody else has the link: it closes with the guest.
    guest.kill().await.unwrap();
    assert_eq!(std::io::Read::read(&mut &ours, &mut frame).unwrap(), 0);
}

#[tokio::test]
async fn a_guest_has_all_cpus_default_signals_and_the_environment() {
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut one = CpuSet::new();
    let first = (0..CpuSet::count()).find(|&cpu| all.is_set(cpu).unwrap()).unwrap();
    one.set(first).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    // As a shell's background job, or under nohup(1).
    let dir = tempfile::tempdir().unwrap();
    let keeper = env!("CARGO_BIN_EXE_mvpnet-keeper");
    let program = script(dir.path(), &format!("trap '' HUP INT QUIT TERM\nexec {keeper} \"$@\""));
    let keeper = Keeper::spawn(KeeperSpec { program, ..keeper_spec() }).await.unwrap();
    let mut launch = launch(["/bin/sh", "-c", "echo rank $MVPNET_RANK; exec cat /proc/self/status"]);
    launch.env = vec![("MVPNET_RANK".into(), "12".into())];
    let guest = keeper.launch(launch).await.unwrap();
    guest.ended().await;
    let lines = guest.console().last_lines(100);
    let field = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    assert_eq!(lines[0], "rank 12");
    assert_eq!(field("SigBlk"), "0000000000000000");
    // The C library's own two, which its posix_spawn(3) leaves ignored.
    let internal = (1 << 31) | (1 << 32);
    assert_eq!(u64::from_str_radix(&field("SigIgn"), 16).unwrap() & !internal, 0);
    if (first + 1..CpuSet::count()).any(|cpu| all.is_set(cpu).unwrap()) {
        assert_ne!(field("Cpus_allowed_list"), first.to_string());
    }
}

#[tokio::test]
async fn a_guest_that_heeds_sigterm_is_not_killed() {
    let guest = guest("exec sleep 1000").await;
    let report = guest.shutdown(&LADDER).await;
    assert_eq!(report.step, StopStep::Terminate);
    assert_eq!(report.end.process, Some(ProcessEnd::Signal(Signal::SIGTERM as i32)));
}

#[tokio::test]
async fn a_guest_that_ignores_sigterm_is_killed_after_the_grace_time() {
    let guest = guest("trap '' TERM; echo ready; while :; do sleep 0.1; done").await;
    assert!(guest.console().wait_for("ready").await);
    let grace = Duration::from_millis(300);
    let report = guest.shutdown(&StopLadder { terminate_grace: grace, ..LADDER }).await;
    assert_eq!(report.step, StopStep::Kill);
    assert_eq!(report.end.process, Some(ProcessEnd::Signal(Signal::SIGKILL as i32)));
    assert!(report.elapsed >= grace, "{report:?}");
}

#[tokio::test]
async fn killing_cuts_a_shutdown_short() {
    let guest = guest("trap '' TERM; echo ready; while :; do sleep 0.1; done").await;
    assert!(guest.console().wait_for("ready").await);
    let (report, killed) = tokio::join!(guest.shutdown(&LADDER), guest.kill());
    killed.unwrap();
    assert_eq!(report.step, StopStep::Kill);
    assert!(report.elapsed < LADDER.terminate_grace);
}

#[tokio::test]
async fn a_monitor_that_never_answers_costs_a_moment_only() {
    let mut fds = GuestFds::new();
    fds.add_qmp().unwrap();
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest = keeper.launch(Launch { fds, ..launch(["sleep", "1000"]) }).await.unwrap();
    let ladder = StopLadder { powerdown_grace: Duration::from_secs(60), ..LADDER };
    let report = guest.shutdown(&ladder).await;
    assert_eq!(report.step, StopStep::Terminate);
    assert!(report.elapsed < Duration::from_secs(20), "{report:?}");
}

#[tokio::test]
async fn what_a_wrapper_leaves_behind_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let wrapper = script(dir.path(), "\"$@\" & echo child $!; exit 3");
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest =
        keeper.launch(launch([wrapper.into_os_string(), "sleep".into(), "1000".into()])).await.unwrap();
    assert_eq!(guest.ended().await.process, Some(ProcessEnd::Code(3)));
    let line = guest.console().last_lines(1).concat();
    let child: u32 = line.strip_prefix("child ").unwrap().parse().unwrap();
    assert!(holds_within(GONE_WITHIN, || is_gone(child)));
}

#[tokio::test]
async fn finishing_kills_the_guest_and_removes_what_is_guarded() {
    let dir = tempfile::tempdir().unwrap();
    let (sockets, lock) = (dir.path().join("sockets"), dir.path().join("a.img.lock"));
    let (copy, log) = (dir.path().join("a.img"), dir.path().join("wrap.0.log"));
    let keeper = Keeper::spawn(KeeperSpec { wrap_log: Some(log.clone()), ..keeper_spec() }).await.unwrap();
    keeper
        .guard(vec![
            Leftover::EmptyDir(sockets.clone()),
            Leftover::Copy { path: copy.clone(), lock: lock.clone(), delete: true },
        ])
        .await
        .unwrap();
    fs::create_dir(&sockets).unwrap();
    fs::write(&lock, "").unwrap();
    fs::write(&copy, "").unwrap();
    let guest = keeper.launch(launch(["sleep", "1000"])).await.unwrap();
    guest.guard(vec![Leftover::File(sockets.join("late.sock"))]).await.unwrap();
    fs::write(sockets.join("late.sock"), "").unwrap();
    assert_eq!(guest.finish(vec![]).await, Vec::<String>::new());
    assert!(!sockets.exists() && !lock.exists() && !copy.exists());
    assert!(is_gone(guest.pid()) && is_gone(guest.keeper_pid()));
    let log = fs::read_to_string(log).unwrap();
    for step in ["ready", "keeper ", "started ", "SIGKILL", "the guest ended: SIGKILL", "done"] {
        assert!(step == "ready" || log.contains(step), "{log}");
    }
}

#[tokio::test]
async fn dropping_a_guest_stops_it_and_removes_what_is_guarded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.sock");
    fs::write(&file, "").unwrap();
    let guest = guest("exec sleep 1000").await;
    guest.guard(vec![Leftover::File(file.clone())]).await.unwrap();
    let (pid, keeper) = (guest.pid(), guest.keeper_pid());
    drop(guest);
    assert!(holds_within(GONE_WITHIN, || is_gone(pid) && is_gone(keeper) && !file.exists()));
}

#[tokio::test]
async fn signals_to_the_keeper_are_ignored() {
    let guest = guest("exec sleep 1000").await;
    for signal in
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGQUIT]
    {
        kill(pid(guest.keeper_pid()), signal).unwrap();
    }
    assert_eq!(nix::unistd::getsid(Some(pid(guest.keeper_pid()))).unwrap(), pid(guest.keeper_pid()));
    assert_eq!(guest.shutdown(&LADDER).await.step, StopStep::Terminate);
    assert!(guest.finish(vec![]).await.is_empty());
}

#[tokio::test]
async fn a_killed_keeper_takes_the_guest_with_it_and_the_rank_does_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.sock");
    fs::write(&file, "").unwrap();
    // A wrapper's child does not get the parent-death signal.
    let guest = guest("sleep 1000 & echo child $!; wait").await;
    guest.guard(vec![Leftover::File(file.clone())]).await.unwrap();
    assert!(guest.console().wait_for("child ").await);
    let line = guest.console().last_lines(1).concat();
    let child: u32 = line.strip_prefix("child ").unwrap().trim().parse().unwrap();
    kill(pid(guest.keeper_pid()), Signal::SIGKILL).unwrap();
    let end = guest.ended().await;
    assert_eq!(end.process, None);
    assert!(guest.guard(vec![Leftover::File("/x".into())]).await.is_err());
    assert!(guest.finish(vec![]).await.is_empty());
    assert!(!file.exists());
    assert!(holds_within(GONE_WITHIN, || is_gone(guest.pid()) && is_gone(child)));
}

#[tokio::test]
async fn a_command_line_of_any_length_gets_through() {
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let long = "x".repeat(100_000);
    let mut fds = GuestFds::new();
    for _ in 0..8 {
        fds.add(fs::File::open("/dev/null").unwrap());
    }
    let words = launch(["/bin/sh", "-c", "echo ${#1}; ls /proc/self/fd", "sh", &long]);
    let guest = keeper.launch(Launch { fds, ..words }).await.unwrap();
    guest.ended().await;
    let lines = guest.console().last_lines(20);
    assert_eq!(lines[0], "100000", "{:?}", guest.stderr().last_lines(5));
    assert_eq!(lines.len(), 1 + 3 + 8 + 1, "{lines:?}");
}

#[tokio::test]
async fn what_is_typed_at_the_console_reaches_the_guest_and_nothing_else_does() {
    let mut fds = GuestFds::new();
    fds.add(fs::File::open("/dev/null").unwrap());
    fds.add_console_input().unwrap();
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let words =
        launch(["/bin/sh", "-c", "ls /proc/self/fd | wc -l; read line; echo got $line; cat; echo end"]);
    let guest = keeper.launch(Launch { fds, ..words }).await.unwrap();
    let input = guest.console_input().unwrap().clone();
    let line = b"two words\n";
    assert_eq!(input.write(line).await.unwrap(), line.len());
    assert!(guest.console().wait_for("got two words").await);
    // Standard streams, what was handed over, and the directory that ls reads.
    assert_eq!(guest.console().last_lines(2)[0].trim(), "5");
    drop(input);
    kill(pid(guest.keeper_pid()), Signal::SIGKILL).unwrap();
    assert_eq!(guest.ended().await.process, None);
}

#[tokio::test]
async fn a_keeper_is_found_by_the_process_that_it_serves() {
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let this = Process::this();
    let numbers = |of| -> Vec<u32> { keepers_of(of).iter().map(|keeper| keeper.number).collect() };
    assert!(numbers(this).contains(&keeper.pid()));
    assert_eq!(numbers(Process { born: this.born + 1, ..this }), [0; 0]);
    keeper.finish(Vec::new()).await;
    assert!(!numbers(this).contains(&keeper.pid()));
}
