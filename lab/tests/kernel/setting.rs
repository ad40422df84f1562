//! What a test needs. What is missing is a skip that is said aloud, or a failure with `MVPNET_REQUIRE=all`.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Namespaces to work in: root, `ip`, and that they can be made.
    Namespaces,
    /// A program.
    Program(&'static str),
}

/// Begins a test, unless something that it needs is missing.
pub fn begin(needs: &[Need]) -> bool {
    let Some(why) = needs.iter().find_map(|need| need.missing()) else { return true };
    // libtest names a test's thread after the test.
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let may_skip = std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all");
    assert!(may_skip, "{name} cannot run: {why}");
    // Past libtest, which shows what a test prints only when it fails.
    let _ = std::io::stderr().write_all(format!("SKIPPED {name}: {why}\n").as_bytes());
    false
}

/// Waits until `look` finds something, for some seconds at most.
#[allow(clippy::disallowed_methods, reason = "the kernel and other processes take real time")]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Namespaces if !nix::unistd::geteuid().is_root() => Some("it needs root".to_owned()),
            Self::Namespaces => Self::Program("ip").missing().or_else(|| {
                let tried = std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
                let made = tried.expect("trying does not panic");
                made.err().map(|error| format!("network namespaces cannot be made: {error}"))
            }),
            Self::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let is_there = std::env::split_paths(&path).map(|dir| dir.join(name)).any(|file| {
                    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
                });
                (!is_there).then(|| format!("{name} is not installed"))
            }
        }
    }
}
