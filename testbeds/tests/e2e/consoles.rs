//! `mvpnet console` and `mvpnet port` on the tiny guest: its console, and its sshd, from any rank's host.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::setting::tiny;
use crate::harness::wait::{Said, run};
use crate::harness::{Job, Kind, Launcher, Need, Running, begin, wait_for};

/// How long one command may take: guests are emulated.
const LIMIT: Duration = Duration::from_secs(90);

fn console(job: &Running, words: &[&str]) -> Command {
    let mut command = Command::new(Launcher::Up.program());
    command.args(["console", "-j", &job.home().name]).args(words);
    command
}

/// ssh to a guest through `mvpnet port`.
fn ssh(job: &Running, rank: u32, script: &str) -> Command {
    let proxy =
        format!("ProxyCommand={} port -j {} {rank}", Launcher::Up.program().display(), job.home().name);
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(tiny("ssh_config")).args(["-o", &proxy, "tiny", script]);
    ssh
}

fn consoles_and_ports(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = Job::new(launcher, 2).tiny().stays_up().start();
    job.wait_until_up();
    let Said { status, stdout, stderr } = run(console(&job, &["--log", "1"]).stdin(Stdio::null()), LIMIT);
    assert!(
        status.is_some_and(|status| status.success()) && stdout.contains("tiny: ready n0001"),
        "{stdout}{stderr}"
    );

    let shown = job.home().at("shown");
    let mut looking = console(&job, &["n0001"])
        .stdin(Stdio::piped())
        .stdout(File::create(&shown).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut keys = looking.stdin.take().unwrap();
    let shows = |text: &str| {
        let found = wait_for(LIMIT, || job.home().read("shown").contains(text).then_some(()));
        assert!(found.is_some(), "{text}: {}", job.home().read("shown"));
    };
    shows("tiny: ready n0001");
    keys.write_all(b"\n").unwrap();
    shows("/ # ");
    keys.write_all(b"echo typed $((6 * 7))\n").unwrap();
    shows("typed 42");
    // Without a terminal the end of input is not that of the console.
    drop(keys);
    assert_eq!(looking.try_wait().unwrap(), None);

    let sessions: Vec<_> = (0..6)
        .map(|n| {
            let mut ssh = ssh(&job, n % 2, "hostname; head -c 200000 /dev/zero");
            ssh.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (n, session) in (0..).zip(sessions) {
        let output = session.wait_with_output().unwrap();
        assert!(output.status.success(), "session {n}");
        assert_eq!(output.stdout.len(), "n0000\n".len() + 200_000);
        assert_eq!(&output.stdout[..6], format!("n000{}\n", n % 2).as_bytes());
    }
    job.end_with(0);
    let ended = wait_for(LIMIT, || looking.try_wait().unwrap()).expect("the console ends with its guest");
    assert!(ended.code().is_some(), "{ended}");
    assert!(job.home().read("shown").contains("tiny: system halted"), "{}", job.home().read("shown"));
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
}

#[test]
fn consoles_and_ports_under_up() {
    consoles_and_ports(Launcher::Up);
}

#[test]
fn consoles_and_ports_under_mpich() {
    consoles_and_ports(Launcher::Mpich);
}

#[test]
fn consoles_and_ports_under_openmpi() {
    consoles_and_ports(Launcher::OpenMpi);
}

#[test]
fn a_console_hears_of_the_death_of_its_guest_and_comes_back_with_it() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let mut job = Job::new(Launcher::Up, 1).tiny().stays_up().start();
    job.wait_until_up();
    let fault = |change: &str| {
        let words = ["fault", "-j", &job.home().name, change];
        let said = run(Command::new(Launcher::Up.program()).args(words), LIMIT);
        assert!(said.is_success(), "{change}: {said:?}");
    };
    let shown = job.home().at("shown");
    let mut looking =
        console(&job, &["0"]).stdin(Stdio::null()).stdout(File::create(&shown).unwrap()).spawn().unwrap();
    let looks_on = wait_for(LIMIT, || job.home().read("shown").contains("tiny: ready").then_some(()));
    assert!(looks_on.is_some(), "{}", job.home().read("shown"));
    assert_eq!(looking.try_wait().unwrap(), None);
    fault("crash 0");
    assert!(wait_for(LIMIT, || looking.try_wait().unwrap()).expect("it ends").success());
    // The console ends with qemu, of whose death the rank hears a moment later.
    let refused = || run(&mut console(&job, &["0"]), LIMIT).stderr;
    let is_refused = || refused() == "mvpnet: the guest of rank 0 does not run\n";
    assert!(wait_for(LIMIT, || is_refused().then_some(())).is_some(), "{}", refused());
    fault("restart 0");
    let again = run(&mut ssh(&job, 0, "echo back"), LIMIT);
    assert_eq!(again.stdout, "back\n", "{again:?}");
    job.signal_to(Kind::Ranks, 0, Signal::SIGTERM);
    job.ended();
}
