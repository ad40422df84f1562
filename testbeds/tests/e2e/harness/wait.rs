//! Time: waiting for a condition with a deadline, and running other programs with one.

use std::io::{Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, for so long at most.
#[allow(clippy::disallowed_methods, reason = "other processes take real time")]
pub fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if watch.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Real time since a moment.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    #[allow(clippy::disallowed_methods, reason = "other processes take real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Until now.
    #[allow(clippy::disallowed_methods, reason = "other processes take real time")]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// What another program said.
#[derive(Debug)]
pub struct Said {
    /// How it ended; none: it was killed because its time was over.
    pub status: Option<ExitStatus>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// Whether it succeeded in time.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs a program that is killed when its time is over.
pub fn run(command: &mut Command, limit: Duration) -> Said {
    // Files rather than pipes: a grandchild that holds a pipe open would keep its reader waiting.
    let mut files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let mut child = command
        .stdin(Stdio::null())
        .stdout(files[0].try_clone().unwrap())
        .stderr(files[1].try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program()));
    let status = wait_for(limit, || child.try_wait().expect("it is our child"));
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let [stdout, stderr] = files.each_mut().map(|file| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    });
    Said { status, stdout, stderr }
}
