//! What the tests of this crate share: keepers, programs that play a guest, and waiting for what happens.
#![allow(dead_code, reason = "every test program uses its own part")]
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mvpnet_qemu_driver::supervise::{Guest, GuestFds, Keeper, KeeperSpec, Launch};

/// Everything has to be gone this long after the worst.
pub const GONE_WITHIN: Duration = Duration::from_secs(10);

pub fn keeper_spec() -> KeeperSpec {
    KeeperSpec { program: env!("CARGO_BIN_EXE_mvpnet-keeper").into(), ..KeeperSpec::default() }
}

/// A shell script that is started in qemu's place.
pub fn script(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("guest.sh");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

pub fn launch(argv: impl IntoIterator<Item = impl Into<OsString>>) -> Launch {
    Launch { argv: argv.into_iter().map(Into::into).collect(), env: Vec::new(), fds: GuestFds::new() }
}

/// A guest that is `body`, run by the shell.
pub async fn guest(body: &str) -> Guest {
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    keeper.launch(launch(["/bin/sh", "-c", body])).await.unwrap()
}

/// Waits until `condition` holds. False if it does not in time.
pub fn holds_within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether no such process runs. One that nobody has reaped yet does not run.
pub fn is_gone(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => {
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
            matches!(state, Some(Some('Z' | 'X')))
        }
    }
}

/// The processes that run with `mark` in their environment.
pub fn marked(mark: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .filter(|&pid| !is_gone(pid))
        .collect();
    pids.sort_unstable();
    pids
}

/// Whether there is a qemu. Without one the test is skipped, unless all tests are required.
pub fn have_qemu() -> bool {
    let found = mvpnet_qemu_driver::names::find_program("qemu-system-x86_64").is_some();
    if !found {
        assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "qemu-system-x86_64 is required");
        println!("skipped: there is no qemu-system-x86_64");
    }
    found
}

/// Where the tiny guest is. Without one the test is skipped, unless all tests are required.
pub fn tiny() -> Option<PathBuf> {
    let dir = std::env::var_os("MVPNET_TINY")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tiny").into(), PathBuf::from);
    if !have_qemu() {
        return None;
    }
    if !dir.join("cmdline").exists() {
        assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "the tiny guest is required");
        println!("skipped: there is no tiny guest in {} (testbeds/tiny/build makes it)", dir.display());
        return None;
    }
    Some(dir)
}
