//! The program's own log: files per rank, a copy on stderr, the last bytes kept for a crash.
//!
//! - `mvpnet[.JOB].RANK.log` in the log directory takes what a rank's level and filter let through;
//! - stderr takes what is grave enough for people;
//! - the last bytes of everything down to `DBG` stay in memory, and go to the log file (without one to
//!   `mvpnet[.JOB].RANK.crash.log`) when a thread panics or [`LogGuard::crash`] is called.
//!
//! How events get their severity: [`level`]. How they find their rank: spans with a field `rank`, since one
//! process may hold many ranks. Consoles of guests, captures and counters are not logs and not here.

mod filter;
mod layer;
pub mod level;
mod recent;
mod sink;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use thiserror::Error;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

pub use filter::{LogFilter, LogFilterError, SUBSYSTEMS};
use layer::{RankLayer, Sinks, Stderr};
pub use level::{Level, LevelError};
use sink::Sink;

/// Wipes the line that the cursor is on: ECMA-48 section 8.3.41, EL.
const WIPE_LINE: &str = "\r\x1b[K";

/// What is to be logged of one rank, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankLog {
    /// Whose log it is.
    pub rank: u32,
    /// The job's name, for the files' names.
    pub job: Option<String>,
    /// Where the files go; made if absent.
    pub dir: PathBuf,
    /// Whether there is a log file.
    pub to_file: bool,
    /// What the log file takes.
    pub level: Level,
    /// Exceptions from that, per subsystem.
    pub filter: LogFilter,
    /// How many bytes are kept in memory for a crash.
    pub buffer_bytes: usize,
}

impl RankLog {
    /// The log file.
    pub fn path(&self) -> PathBuf {
        file_in(&self.dir, "mvpnet", self.job.as_deref(), self.rank, "log")
    }

    /// The file for what was kept in memory, if there is no log file.
    pub fn crash_path(&self) -> PathBuf {
        file_in(&self.dir, "mvpnet", self.job.as_deref(), self.rank, "crash.log")
    }
}

/// `DIR/KIND[.JOB].RANK.SUFFIX`: how every log of a job is named.
pub fn file_in(dir: &Path, kind: &str, job: Option<&str>, rank: u32, suffix: &str) -> PathBuf {
    let job = job.map(|job| format!(".{job}")).unwrap_or_default();
    dir.join(format!("{kind}{job}.{rank}.{suffix}"))
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The directory is not there and cannot be made.
    #[error("cannot make the log directory {}: {source}; name another with --log-dir", dir.display())]
    Directory {
        /// Which one.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the log {}: {source}; choose another --log-dir or another --job", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This process logs already, or holds no rank.
    #[error("the log of this process was started twice, or for no rank")]
    Started,
}

/// Starts logging for the ranks of this process, with what is at least as grave as `stderr` copied to
/// standard error. The guard is to be kept until the process ends.
pub fn start(ranks: &[RankLog], stderr: Level) -> Result<LogGuard, LogError> {
    let terminal = io::stderr().is_terminal();
    let stderr = Stderr {
        level: stderr,
        out: Mutex::new(Box::new(io::stderr())),
        before: if terminal { WIPE_LINE } else { "" },
    };
    let (subscriber, guard) = build(ranks, stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Started)?;
    guard.write_out_on_panic();
    Ok(guard)
}

fn build(
    ranks: &[RankLog],
    stderr: Stderr,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<>, LogGuard), LogError> {
    let ranks = ranks.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    if ranks.is_empty() {
        return Err(LogError::Started);
    }
    let sinks = Arc::new(Sinks { ranks, stderr });
    let subscriber = Registry::default().with(RankLayer(Arc::clone(&sinks)));
    Ok((subscriber, LogGuard { sinks }))
}

fn open(log: &RankLog) -> Result<Sink, LogError> {
    if log.to_file || log.buffer_bytes > 0 {
        std::fs::create_dir_all(&log.dir)
            .map_err(|source| LogError::Directory { dir: log.dir.clone(), source })?;
    }
    Sink::open(log).map_err(|source| LogError::File { path: log.path(), source })
}

/// Logging goes on; from here what is kept in memory can be written out.
#[must_use = "keep it until the process ends"]
pub struct LogGuard {
    sinks: Arc<Sinks>,
}

impl LogGuard {
    /// Writes out what is kept in memory of `rank`, or of every rank of this process, because of `reason`.
    /// Returns the files that it stands in.
    pub fn crash(&self, rank: Option<u32>, reason: &str) -> Vec<PathBuf> {
        write_out(&self.sinks, rank, reason)
    }

    /// A panic of any thread writes out what is kept of every rank of the process, before the message that
    /// Rust prints anyway.
    fn write_out_on_panic(&self) {
        let sinks = Arc::clone(&self.sinks);
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            write_out(&sinks, None, &panic.to_string());
            earlier(panic);
        }));
    }
}

fn write_out(sinks: &Sinks, rank: Option<u32>, reason: &str) -> Vec<PathBuf> {
    let wanted = sinks.ranks.iter().filter(|sink| rank.is_none_or(|rank| sink.rank == rank));
    wanted.filter_map(|sink| sink.dump(reason)).collect()
}
