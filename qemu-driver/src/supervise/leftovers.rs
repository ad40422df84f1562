//! What has to be removed when a rank is done, whoever does it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::image;

/// Something on disk that must not outlive the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftover {
    /// A file or socket.
    File(#[serde(with = "path_bytes")] PathBuf),
    /// A directory, unless something is in it.
    EmptyDir(#[serde(with = "path_bytes")] PathBuf),
    /// A directory of the job's own, with everything in it.
    Tree(#[serde(with = "path_bytes")] PathBuf),
    /// A copied image that ranks of one host may share: the last one that uses it removes it.
    Copy {
        /// The copy.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// Its lock.
        #[serde(with = "path_bytes")]
        lock: PathBuf,
        /// Whether the copy goes, or only its lock.
        delete: bool,
    },
    /// A network interface.
    Interface(String),
    /// A file or a whole directory that a rank removes itself unless it is killed, and that its launcher may
    /// remove too: only when the rank is gone does it go, and not before the launcher.
    Orphan {
        /// It.
        #[serde(with = "path_bytes")]
        path: PathBuf,
        /// The launcher's process id.
        launcher: u32,
    },
}

/// Whether the rank still lives when things are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    Alive,
    Gone,
}

/// How long a launcher that outlives its rank is waited for: it is about to end the job, and tidies up itself.
const LAUNCHER_TIME: Duration = Duration::from_secs(5);

impl Leftover {
    /// Removes it. What is gone already is no error.
    pub fn remove(&self) -> io::Result<()> {
        let result = match self {
            Leftover::Orphan { path, .. } if path.is_dir() => std::fs::remove_dir_all(path),
            Leftover::Orphan { path, .. } => std::fs::remove_file(path),
            Leftover::File(path) => std::fs::remove_file(path),
            Leftover::EmptyDir(path) => std::fs::remove_dir(path),
            Leftover::Tree(path) => std::fs::remove_dir_all(path),
            Leftover::Copy { path, lock, delete } => image::release(path, lock, *delete),
            Leftover::Interface(name) => delete_interface(name),
        };
        match result {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(()),
            Err(error)
                if matches!(self, Leftover::EmptyDir(_))
                    && error.kind() == io::ErrorKind::DirectoryNotEmpty =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leftover::File(path)
            | Leftover::EmptyDir(path)
            | Leftover::Tree(path)
            | Leftover::Copy { path, .. }
            | Leftover::Orphan { path, .. } => path.display().fmt(f),
            Leftover::Interface(name) => write!(f, "interface {name}"),
        }
    }
}

/// By iproute2, which is on every machine where such interfaces are made by hand.
fn delete_interface(name: &str) -> io::Result<()> {
    if !Path::new("/sys/class/net").join(name).exists() {
        return Ok(());
    }
    let said = Command::new("ip").args(["link", "delete", "dev", name]).output()?;
    // Its bridge or its qemu may have taken it along in the meantime.
    if said.status.success() || !Path::new("/sys/class/net").join(name).exists() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&said.stderr).trim().to_owned()))
}

/// Removes all of them, the last first, because files come after their directories. Says what could not be.
pub(super) fn remove_all(leftovers: &[Leftover], rank: Rank) -> Vec<String> {
    let launcher = leftovers.iter().find_map(|leftover| match leftover {
        Leftover::Orphan { launcher, .. } => Some(*launcher),
        _ => None,
    });
    let orphaned = rank == Rank::Gone && launcher.is_some_and(ends_soon);
    leftovers
        .iter()
        .rev()
        .filter(|leftover| orphaned || !matches!(leftover, Leftover::Orphan { .. }))
        .filter_map(|leftover| {
            let error = leftover.remove().err()?;
            Some(format!("cannot remove {leftover}: {error}"))
        })
        .collect()
}

/// Whether a process ends within [`LAUNCHER_TIME`].
#[allow(clippy::disallowed_methods, reason = "supervision waits for real processes")]
fn ends_soon(process: u32) -> bool {
    let Ok(pid) = i32::try_from(process) else { return true };
    let until = Instant::now() + LAUNCHER_TIME;
    // ESRCH; a process of somebody else's (EPERM) is no longer the launcher.
    while kill(Pid::from_raw(pid), None).is_ok() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Paths are bytes, JSON strings are not.
mod path_bytes {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_before_their_directories_and_directories_only_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let [ours, shared, tree] = ["ours", "shared", "tree"].map(|name| dir.path().join(name));
        for path in [&ours, &shared, &tree] {
            std::fs::create_dir(path).unwrap();
        }
        std::fs::write(tree.join("key"), "").unwrap();
        std::fs::write(ours.join("a.sock"), "").unwrap();
        std::fs::write(shared.join("somebody else's"), "").unwrap();
        let failures = remove_all(
            &[
                Leftover::EmptyDir(ours.clone()),
                Leftover::EmptyDir(shared.clone()),
                Leftover::File(ours.join("a.sock")),
                Leftover::File(ours.join("never made")),
                Leftover::Tree(tree.clone()),
                Leftover::Tree(dir.path().join("never made")),
            ],
            Rank::Alive,
        );
        assert_eq!(failures, Vec::<String>::new());
        assert!(!ours.exists() && shared.exists() && !tree.exists());
    }

    #[test]
    fn what_a_living_rank_removes_itself_is_left_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("session");
        std::fs::create_dir_all(tree.join("deeper")).unwrap();
        let mut launcher = std::process::Command::new("true").spawn().unwrap();
        launcher.wait().unwrap();
        let orphan = [Leftover::Orphan { path: tree.clone(), launcher: launcher.id() }];
        assert_eq!(remove_all(&orphan, Rank::Alive), Vec::<String>::new());
        assert!(tree.exists());
        assert_eq!(remove_all(&orphan, Rank::Gone), Vec::<String>::new());
        assert!(!tree.exists());
    }

    #[test]
    fn what_cannot_be_removed_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let failures = remove_all(&[Leftover::File(dir.path().to_owned())], Rank::Alive);
        assert!(failures[0].starts_with(&format!("cannot remove {}: ", dir.path().display())));
    }
}
