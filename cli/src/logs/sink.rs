//! Where one rank's lines end up: its log file, the memory kept for a crash, the crash file.
//!
//! Every line is one `write` to a file opened for appending, so lines of several threads (or of several
//! processes that share a file) never mix. What a full disk cannot take is counted, and the count stands in the
//! file as soon as there is room again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::RankLog;
use super::filter::LogFilter;
use super::level::Level;
use super::recent::Recent;

/// What is kept in memory is taken at this level, or at a finer one that the rank's log has.
const RECENT_LEVEL: Level = Level::Dbg;

/// One rank's destinations.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) rank: u32,
    level: Level,
    filter: LogFilter,
    file: Option<LineFile>,
    recent: Option<Mutex<Recent>>,
    crash_path: PathBuf,
}

impl Sink {
    /// Opens what `log` asks for.
    pub(super) fn open(log: &RankLog) -> io::Result<Self> {
        Ok(Self {
            rank: log.rank,
            level: log.level,
            filter: log.filter.clone(),
            file: if log.to_file { Some(LineFile::open(&log.path())?) } else { None },
            recent: (log.buffer_bytes > 0).then(|| Mutex::new(Recent::new(log.buffer_bytes))),
            crash_path: log.crash_path(),
        })
    }

    /// What this rank's filter says about `target`.
    pub(super) fn filtered(&self, target: &str) -> Option<Level> {
        self.filter.level_for(target)
    }

    /// Whether an event of `target` as grave as `event` is wanted anywhere here.
    pub(super) fn wants(&self, target: &str, event: Level) -> bool {
        let level = self.filtered(target).unwrap_or(self.level);
        (self.file.is_some() && level.admits(event)) || (self.recent.is_some() && self.keeps(level, event))
    }

    /// Takes a line, that ends in a newline.
    pub(super) fn write(&self, target: &str, event: Level, line: &str) {
        let level = self.filtered(target).unwrap_or(self.level);
        if let Some(file) = self.file.as_ref().filter(|_| level.admits(event)) {
            file.write_line(line.as_bytes());
        }
        if let Some(recent) = self.recent.as_ref().filter(|_| self.keeps(level, event)) {
            recent.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn keeps(&self, level: Level, event: Level) -> bool {
        level.max(RECENT_LEVEL).admits(event)
    }

    /// Writes what is kept in memory to the log file, else to the crash file, and forgets it. Returns
    /// where it went; none if there was nothing to write.
    ///
    /// Never waits for a lock: a panic may have happened under it.
    pub(super) fn dump(&self, reason: &str) -> Option<PathBuf> {
        let recent = match self.recent.as_ref()?.try_lock() {
            Ok(mut recent) => recent.take(),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        if recent.is_empty() {
            return None;
        }
        let reason = reason.replace('\n', "\n\t");
        let mut text = format!("---- rank {}, the last {} bytes of log: {reason}\n", self.rank, recent.len());
        text.push_str(&String::from_utf8_lossy(&recent));
        text.push_str("---- end\n");
        if let Some(file) = &self.file {
            file.write_line(text.as_bytes());
            return Some(file.path.clone());
        }
        let file = LineFile::open(&self.crash_path).ok()?;
        file.write_line(text.as_bytes()).then(|| self.crash_path.clone())
    }
}

/// A file that takes whole lines.
#[derive(Debug)]
struct LineFile {
    path: PathBuf,
    file: File,
    /// Lines that did not reach the file and of which it does not tell yet.
    lost: AtomicU64,
}

impl LineFile {
    fn open(path: &Path) -> io::Result<Self> {
        // The default place is a directory that all may write to: never follow another user's link there.
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(path)?;
        Ok(Self { path: path.to_owned(), file, lost: AtomicU64::new(0) })
    }

    fn write_line(&self, line: &[u8]) -> bool {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let said = lost == 0 || self.write_once(format!("---- {lost} lines of log were lost\n").as_bytes());
        let written = said && self.write_once(line);
        if !written {
            let again = if said { 0 } else { lost };
            self.lost.fetch_add(again + 1, Ordering::Relaxed);
        }
        written
    }

    fn write_once(&self, line: &[u8]) -> bool {
        loop {
            match (&self.file).write(line) {
                Ok(written) if written == line.len() => return true,
                // A disk that ran full within the line: end the piece, so that the next line starts anew.
                Ok(written) if written > 0 => {
                    let _ = (&self.file).write(b"\n");
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_log_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("mvpnet.0.log");
        std::os::unix::fs::symlink(dir.path().join("victim"), &link).unwrap();
        assert!(LineFile::open(&link).is_err());
        assert!(!dir.path().join("victim").exists());
    }

    #[test]
    fn lines_that_a_full_disk_cannot_take_are_counted_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let full = LineFile {
            path: path.clone(),
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
            lost: AtomicU64::new(0),
        };
        assert!(!full.write_line(b"one\n"));
        assert!(!full.write_line(b"two\n"));
        let roomy = LineFile { lost: full.lost, ..LineFile::open(&path).unwrap() };
        assert!(roomy.write_line(b"three\n"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "---- 2 lines of log were lost\nthree\n");
    }
}
