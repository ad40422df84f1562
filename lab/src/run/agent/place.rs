//! The run directory of a part of a lab: its log, its files, and a lock, so that two agents never work on one part.
//!
//! It is below /tmp, not in the user's run-time directory: that one goes away with the last session, and a lab
//! stays when ssh has ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mvpnet_qemu_driver::names::make_private_dir;
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use crate::plan::{READY_FILE, SeedFile};

/// What the program writes.
const LOG: &str = "log";
/// How much of the end of a log is looked at.
const LOG_TAIL: u64 = 16 * 1024;
/// How many of its lines are shown.
const LOG_LINES: usize = 20;
/// How often a directory is made anew that somebody else removes at this moment.
const ATTEMPTS: u32 = 20;

/// A run directory.
#[derive(Clone, Debug)]
pub(super) struct RunDir {
    /// The directories above it that are ours, the outermost first.
    parents: Vec<PathBuf>,
    path: PathBuf,
}

/// A run directory that no other agent works in.
#[derive(Debug)]
pub(super) struct Locked {
    dir: RunDir,
    _lock: Flock<File>,
}

impl RunDir {
    /// That of a part.
    pub(super) fn of(name: &str) -> RunDir {
        let user = PathBuf::from(format!("/tmp/mvpnet-{}", nix::unistd::geteuid()));
        let labs = user.join("lab");
        RunDir { path: labs.join(name), parents: vec![user, labs] }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one.
    pub(super) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Makes it if there is none, and takes its lock; none if another agent has that.
    pub(super) fn lock(&self) -> io::Result<Option<Locked>> {
        for _ in 0..ATTEMPTS {
            match self.try_lock() {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Ok(Some(locked)) if !locked.is_current() => {}
                outcome => return outcome,
            }
        }
        Err(io::Error::other(format!("{}: somebody removes it again and again", self.path.display())))
    }

    fn try_lock(&self) -> io::Result<Option<Locked>> {
        for dir in self.parents.iter().chain([&self.path]) {
            make_private_dir(dir).map_err(|error| match error.kind() {
                ErrorKind::NotFound => error,
                kind => io::Error::new(kind, format!("{}: {error}; it has to be yours alone", dir.display())),
            })?;
        }
        match Flock::lock(File::open(&self.path)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Locked { dir: self.clone(), _lock: lock })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// What the program says of itself, once all is up.
    pub(super) fn ready(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.path.join(READY_FILE)).ok()?).ok()
    }

    /// The last lines that the program wrote.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let Ok(mut file) = File::open(self.path.join(LOG)) else { return Vec::new() };
        let mut tail = Vec::new();
        let read = file.seek(SeekFrom::End(0)).and_then(|end| {
            file.seek(SeekFrom::Start(end.saturating_sub(LOG_TAIL)))?;
            file.read_to_end(&mut tail)
        });
        let text = String::from_utf8_lossy(if read.is_ok() { &tail } else { &[] }).into_owned();
        let lines: Vec<String> = text.lines().map(str::trim_end).map(str::to_owned).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
    }

    /// What the program has written from this byte on, in whole lines, and where they end.
    pub(super) fn lines_from(&self, place: u64) -> (Vec<String>, u64) {
        let mut text = Vec::new();
        let read = File::open(self.path.join(LOG)).and_then(|mut file| {
            file.seek(SeekFrom::Start(place))?;
            file.read_to_end(&mut text)
        });
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        if read.is_err() || whole == 0 {
            return (Vec::new(), place);
        }
        let lines = String::from_utf8_lossy(&text[..whole]).lines().map(str::to_owned).collect();
        (lines, place + whole as u64)
    }
}

impl Locked {
    /// Whether the directory is still where it was: it may have been removed before it was locked.
    fn is_current(&self) -> bool {
        let here = self.dir.path.symlink_metadata();
        let locked = self._lock.metadata();
        matches!((here, locked), (Ok(here), Ok(locked)) if (here.dev(), here.ino()) == (locked.dev(), locked.ino()))
    }

    /// Removes what an earlier run has left, and makes these files.
    pub(super) fn fill(&self, files: &[SeedFile]) -> io::Result<File> {
        for entry in fs::read_dir(&self.dir.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        for SeedFile { path, text } in files {
            let path = self.dir.path.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.dir.path))?;
            // Keys are among them.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
        }
        let options = OpenOptions::new().append(true).create_new(true).mode(0o600).clone();
        options.open(self.dir.path.join(LOG))
    }

    /// Removes the directory, and those above it that are empty then.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir.path)?;
        for parent in self.dir.parents.iter().rev() {
            // Others are in it, or somebody is about to be.
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(parent: &Path) -> RunDir {
        RunDir {
            path: parent.join("user/lab/x"),
            parents: vec![parent.join("user"), parent.join("user/lab")],
        }
    }

    #[test]
    fn one_agent_works_in_a_directory_and_nothing_is_left_of_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = dir(parent.path());
        let locked = dir.lock().unwrap().unwrap();
        assert!(dir.lock().unwrap().is_none());
        let file = SeedFile { path: "seed/0/meta-data".into(), text: "x".into() };
        drop(locked.fill(&[file]).unwrap());
        drop(locked.fill(&[]).unwrap());
        assert!(!dir.path.join("seed").exists());
        locked.remove().unwrap();
        assert!(!parent.path().join("user").exists());
        assert!(dir.lock().unwrap().is_some());
    }

    #[test]
    fn a_directory_that_was_removed_meanwhile_is_made_anew() {
        let parent = tempfile::tempdir().unwrap();
        let dir = dir(parent.path());
        let stale = dir.try_lock().unwrap().unwrap();
        fs::remove_dir_all(&dir.path).unwrap();
        assert!(!stale.is_current());
        assert!(dir.lock().unwrap().unwrap().is_current());
    }

    #[test]
    fn whole_lines_only_are_told() {
        let parent = tempfile::tempdir().unwrap();
        let dir = dir(parent.path());
        let locked = dir.lock().unwrap().unwrap();
        let mut log = locked.fill(&[]).unwrap();
        io::Write::write_all(&mut log, b"one\ntw").unwrap();
        assert_eq!(dir.lines_from(0), (vec!["one".to_owned()], 4));
        assert_eq!(dir.lines_from(4), (Vec::new(), 4));
        io::Write::write_all(&mut log, b"o\n").unwrap();
        assert_eq!(dir.lines_from(4), (vec!["two".to_owned()], 8));
        assert_eq!(dir.last_lines(), ["one", "two"]);
    }
}
