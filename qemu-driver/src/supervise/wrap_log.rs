//! The log of the supervision, `wrap[.JOB].RANK.log`: what the keeper did and when.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// A log, or none.
pub(super) struct WrapLog {
    file: Option<File>,
    started: Instant,
}

impl WrapLog {
    /// Logs to nowhere until [`WrapLog::open`].
    pub(super) fn new(now: Instant) -> WrapLog {
        WrapLog { file: None, started: now }
    }

    /// Makes the file anew. A log that cannot be made is said on standard error, which the rank reads.
    pub(super) fn open(&mut self, path: &Path) {
        match File::create(path) {
            Ok(file) => self.file = Some(file),
            Err(error) => eprintln!("cannot make the log {}: {error}", path.display()),
        }
    }

    /// Writes a line, with the seconds since the keeper's start in front. A full disk stops no supervision.
    // The log tells real time; nothing is decided by it.
    #[allow(clippy::disallowed_methods)]
    pub(super) fn line(&mut self, text: impl fmt::Display) {
        if let Some(file) = &mut self.file {
            let seconds = (Instant::now() - self.started).as_secs_f64();
            let _ = writeln!(file, "{seconds:10.3} {text}");
        }
    }
}
