//! `kill -9` of a rank at every moment: nothing may be left.
//!
//! The rank is this test program once more: [`plays_a_rank`], which does nothing unless it is told to.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mvpnet_qemu_driver::Leftover;
use mvpnet_qemu_driver::supervise::{Keeper, StopLadder};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use common::{GONE_WITHIN, have_qemu, holds_within, keeper_spec, launch, marked};

const DIR: &str = "MVPNET_TEST_DIR";
const STAGE: &str = "MVPNET_TEST_STAGE";
const QEMU: &str = "MVPNET_TEST_QEMU";
const STAGES: [&str; 5] = ["spawned", "guarding", "guarded", "launched", "stopping"];

/// The part of the rank. Stops at its stage and waits for its death.
#[tokio::test]
async fn plays_a_rank() {
    let (Some(dir), Ok(stage)) = (std::env::var_os(DIR), std::env::var(STAGE)) else { return };
    let dir = Path::new(&dir);
    let reached = async |here: &str| {
        // On standard error, which the test harness does not capture from here.
        if here == stage {
            eprintln!("reached {here}");
            std::future::pending::<()>().await;
        }
    };
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    reached("spawned").await;
    let (sockets, lock) = (dir.join("sockets"), dir.join("a.img.lock"));
    let leftovers = vec![
        Leftover::EmptyDir(sockets.clone()),
        Leftover::File(sockets.join("stream.0.sock")),
        Leftover::Copy { path: dir.join("a.img"), lock: lock.clone(), delete: true },
    ];
    keeper.guard(leftovers).await.unwrap();
    reached("guarding").await;
    fs::create_dir(&sockets).unwrap();
    fs::write(sockets.join("stream.0.sock"), "").unwrap();
    let lock = fs::File::create(lock).unwrap();
    lock.lock_shared().unwrap();
    fs::write(dir.join("a.img"), "").unwrap();
    reached("guarded").await;
    let guest =
        keeper.launch(launch(["/bin/sh", "-c", "trap '' TERM; sleep 1000 & wait; wait"])).await.unwrap();
    reached("launched").await;
    let ladder = StopLadder {
        powerdown_grace: Duration::ZERO,
        powerdown_every: Duration::ZERO,
        terminate_grace: Duration::from_secs(1000),
    };
    tokio::join!(guest.shutdown(&ladder), reached("stopping"));
}

struct FakeRank {
    process: Child,
    mark: String,
    dir: tempfile::TempDir,
}

impl FakeRank {
    fn start(stage: &str) -> FakeRank {
        FakeRank::start_with(stage, &[])
    }

    fn start_with(stage: &str, environment: &[(&str, &str)]) -> FakeRank {
        let dir = tempfile::tempdir().unwrap();
        let mark = format!("{DIR}={}", dir.path().display());
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "plays_a_rank", "--nocapture"])
            .env(DIR, dir.path())
            .env(STAGE, stage)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        FakeRank { process, mark, dir }
    }

    fn reaches_its_stage(&mut self) {
        let stderr = BufReader::new(self.process.stderr.take().unwrap());
        let mut lines = stderr.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("reached ")), "the rank died before its stage");
    }

    /// As a batch system does it: the whole process group, with SIGKILL.
    fn is_killed_with_its_group(&mut self) {
        killpg(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGKILL).unwrap();
        self.process.wait().unwrap();
    }

    fn has_left_nothing(&self) -> bool {
        holds_within(GONE_WITHIN, || {
            marked(&self.mark).is_empty() && fs::read_dir(self.dir.path()).unwrap().count() == 0
        })
    }

    fn left(&self) -> String {
        let files: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        format!("processes {:?}, files {files:?}", marked(&self.mark))
    }
}

impl Drop for FakeRank {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_rank_killed_at_any_stage_leaves_nothing() {
    for stage in STAGES {
        let mut rank = FakeRank::start(stage);
        rank.reaches_its_stage();
        assert!(marked(&rank.mark).len() >= 2, "a rank and its keeper at least");
        rank.process.kill().unwrap();
        rank.process.wait().unwrap();
        assert!(rank.has_left_nothing(), "killed when {stage}: {}", rank.left());
    }
}

#[test]
fn a_process_group_killed_at_any_stage_leaves_nothing() {
    for stage in STAGES {
        let mut rank = FakeRank::start(stage);
        rank.reaches_its_stage();
        rank.is_killed_with_its_group();
        assert!(rank.has_left_nothing(), "killed when {stage}: {}", rank.left());
    }
}

#[test]
fn a_rank_killed_while_qemu_runs_leaves_nothing() {
    if !have_qemu() {
        return;
    }
    let mut rank = FakeRank::start_with("launched", &[(QEMU, "1")]);
    rank.reaches_its_stage();
    rank.is_killed_with_its_group();
    assert!(rank.has_left_nothing(), "{}", rank.left());
}

#[test]
fn a_rank_killed_at_any_moment_of_its_start_leaves_nothing() {
    for step in (0..60).step_by(3) {
        let mut rank = FakeRank::start("stopping");
        std::thread::sleep(Duration::from_millis(step));
        rank.is_killed_with_its_group();
        assert!(rank.has_left_nothing(), "killed after {step} ms: {}", rank.left());
    }
}
