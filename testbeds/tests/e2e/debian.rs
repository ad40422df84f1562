//! Clusters of two real Debian guests: systemd, cloud-init, sshd, both MPIs, NFS (`testbeds/debian`).
//!
//! A boot takes minutes in emulation, so each test boots one cluster and checks many things in it, one after the
//! other. A check that fails does not keep the next from being made; the test fails at its end and names all of them.

mod logins;
mod operations;
mod seeds;
mod without_sshd;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::setting::say;
use crate::harness::wait::{Said, Stopwatch, run};
use crate::harness::{Ended, Job, Launcher, Running};

/// How long one command may take that is asked of a guest: ssh from guest to guest alone takes 17 s of emulation, the
/// start of MPI up to a minute.
const COMMAND: Duration = Duration::from_secs(240);

/// What a guest's kernel says last, if it was shut down and not cut off.
const POWERED_OFF: &str = "reboot: Power down";

/// A ring of messages, to be compiled in the guest.
const RING_C: &str = include_str!("../../debian/programs/ring.c");
/// The same in Python.
const RING_PY: &str = include_str!("../../debian/programs/ring.py");

/// Two guests, and what was found out about them.
struct Cluster {
    job: Option<Running>,
    program: PathBuf,
    name: String,
    failures: Vec<String>,
}

impl Cluster {
    /// Boots the job's guests.
    fn boot(job: Job, launcher: Launcher) -> Self {
        let name = job.home_name().to_owned();
        let mut job = job.start();
        job.wait_until_up();
        say(&format!("MEASURED {launcher}: two guests ready after {:.1} s", job.age().as_secs_f64()));
        Self { job: Some(job), program: launcher.program(), name, failures: Vec::new() }
    }

    fn job(&mut self) -> &mut Running {
        self.job.as_mut().expect("taken at the end only")
    }

    /// Runs a check, whose failure is noted under its name.
    fn check(&mut self, name: &str, check: impl FnOnce(&Self) -> Result<(), String>) {
        let watch = Stopwatch::start();
        let result = check(self);
        let verdict = if result.is_ok() { "holds" } else { "FAILED" };
        say(&format!("CHECKED {name}: {:.1} s, {verdict}", watch.elapsed().as_secs_f64()));
        if let Err(why) = result {
            self.failures.push(format!("{name}: {why}"));
        }
    }

    /// Runs a subcommand of mvpnet for this job.
    fn mvpnet<W: AsRef<OsStr>>(&self, subcommand: &str, words: impl IntoIterator<Item = W>) -> Said {
        run(Command::new(&self.program).args([subcommand, "-j", &self.name]).args(words), COMMAND)
    }

    /// Shell commands in a guest, over ssh, as this user; none: the job's.
    fn ssh(&self, user: Option<&str>, guest: &str, script: &str) -> Said {
        let login = user.into_iter().flat_map(|user| ["-l", user]);
        self.mvpnet("ssh", login.chain([guest, script]))
    }

    /// Shell commands in a guest, by its agents, as root.
    fn exec(&self, guests: &str, script: &str) -> Said {
        self.mvpnet("exec", [guests, "--", "sh", "-c", script])
    }

    /// Where a file of the host is in the job's directory.
    fn place(&self, part: &str) -> PathBuf {
        self.job.as_ref().expect("taken at the end only").home().at(part)
    }

    /// Ends the job from within, and names every check that failed.
    fn end(mut self) -> Ended {
        self.job().end_with(0);
        self.ended()
    }

    /// Waits for the end of a job that somebody has ended.
    fn ended(mut self) -> Ended {
        let job = self.job.take().expect("taken here only");
        let failures = std::mem::take(&mut self.failures);
        assert!(failures.is_empty(), "{} checks failed:\n{}", failures.len(), failures.join("\n"));
        let job = job.ended_within(Duration::from_secs(150));
        say(&format!("MEASURED the job ended within {:.1} s", job.took.as_secs_f64()));
        job.assert_code(0);
        for rank in 0..2 {
            let console = job.console(rank);
            assert!(console.contains(POWERED_OFF), "the guest of rank {rank} was cut off: {console}");
        }
        job
    }
}

/// What it printed, if it succeeded and complained of nothing.
fn quiet(said: Said) -> Result<String, String> {
    if said.is_success() && said.stderr.is_empty() { Ok(said.stdout) } else { Err(format!("{said:?}")) }
}

/// What it printed, if it succeeded.
fn printed(said: Said) -> Result<String, String> {
    if said.is_success() { Ok(said.stdout) } else { Err(format!("{said:?}")) }
}

/// That a value is what it should be.
fn is<T: PartialEq + std::fmt::Debug + ?Sized>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} is not {expected:?}")) }
}

/// That a text has each of these in it.
fn contains(text: &str, parts: &[&str]) -> Result<(), String> {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(part) => Err(format!("no {part:?} in {text:?}")),
        None => Ok(()),
    }
}

/// A text's lines in order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    lines
}
