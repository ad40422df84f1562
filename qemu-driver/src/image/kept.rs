//! Overlays that are kept for the next job (`--persist`). Beside each is a record of the image that it is based on: on
//! any other, or on the same one after it was written to, what the guest wrote makes no sense.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use super::overlay::{OverlayPlan, is_written};
use super::shared::{is_at, part_of};
use super::{ImageError, copy, unusable};
use crate::supervise::Leftover;

/// What a kept overlay is based on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    base: String,
    /// The same, byte by byte: a path need not be text.
    path: Vec<u8>,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    format: String,
}

impl OverlayPlan {
    /// Looks whether a kept overlay, if there is one, fits, and whether one can be made if there is none.
    pub(super) fn check_kept(&self) -> Result<(), ImageError> {
        if !self.kept {
            return Ok(());
        }
        if self.file.exists() {
            // A copy that is made anew is known by what it will be: its image.
            return if self.base.exists() { self.check_record() } else { Ok(()) };
        }
        let dir = self.dir();
        let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        match access(there, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) if there.is_dir() => Ok(()),
            Ok(()) => Err(self.failed(format!("{} is not a directory", there.display()))),
            Err(errno) => Err(self.failed(format!("{}: {}", there.display(), errno.desc()))),
        }
    }

    /// Makes the overlay unless it is there. The lock is held as long as it is in use.
    pub(super) fn make_kept(&self) -> Result<File, ImageError> {
        let io = |error: io::Error| self.failed(error.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(self.dir()).map_err(io)?;
        let lock = self.lock()?;
        if self.file.exists() {
            self.check_record()?;
            self.grow()?;
            return Ok(lock);
        }
        let part = part_of(&self.file);
        let made = self
            .create(&part, self.size)
            .and_then(|()| self.record().map_err(|error| unusable(&self.base, "cannot be read", error)))
            // The record first: an overlay without one cannot be used.
            .and_then(|record| record.write(&self.record_path()).map_err(io))
            .and_then(|()| std::fs::rename(&part, &self.file).map_err(io));
        if made.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        made.map(|()| lock)
    }

    /// The lock goes, and an overlay that was never completed; what is kept stays.
    pub(super) fn leftovers_of_kept(&self) -> Vec<Leftover> {
        vec![Leftover::Copy { path: self.file.clone(), lock: self.lock_path(), delete: false }]
    }

    fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    fn lock_path(&self) -> PathBuf {
        beside(&self.file, ".lock")
    }

    fn record_path(&self) -> PathBuf {
        beside(&self.file, ".base.json")
    }

    /// Takes the lock, and writes into it who has it.
    fn lock(&self) -> Result<File, ImageError> {
        let path = self.lock_path();
        let io = |error: io::Error| self.failed(error.to_string());
        let in_use = |by: &str| {
            self.unfit(format!(
                "is in use by another job{by}; end that first, or give this one another name (-j) or directory \
                 (--persist)"
            ))
        };
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(io)?;
            match file.try_lock() {
                Ok(()) if !is_at(&file, &path) => continue,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let by = std::fs::read_to_string(&path).unwrap_or_default();
                    return Err(in_use(&if by.is_empty() { by } else { format!(" ({})", by.trim()) }));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(self.unfit(format!(
                        "its file system cannot lock files ({error}), so two jobs could use it at once: name a \
                         directory on another (--persist)"
                    )));
                }
            }
            // A guest may outlive its job's process for some seconds.
            if is_written(&self.file) {
                return Err(in_use(", or by a guest that is just being stopped"));
            }
            let host = nix::unistd::gethostname().unwrap_or_default();
            file.set_len(0).map_err(io)?;
            writeln!(file, "process {} on {}", std::process::id(), host.display()).map_err(io)?;
            return Ok(file);
        }
    }

    fn record(&self) -> io::Result<Record> {
        let base = self.base.canonicalize()?;
        let metadata = base.metadata()?;
        let format = self.format_of(&base).map_err(io::Error::other)?;
        Ok(Record {
            base: base.display().to_string(),
            size: copy::length(&base)?,
            // That of a block device is no time of its contents.
            modified: if metadata.is_file() { (metadata.mtime(), metadata.mtime_nsec()) } else { (0, 0) },
            path: base.into_os_string().into_vec(),
            format: format.to_string_lossy().into_owned(),
        })
    }

    fn check_record(&self) -> Result<(), ImageError> {
        let begin_anew = format!(
            "remove {} to begin anew (what the guest wrote to it is lost then), or name another directory \
             (--persist)",
            self.file.display()
        );
        let text = std::fs::read(self.record_path()).map_err(|error| {
            let record = self.record_path();
            self.unfit(format!(
                "what it is based on is not known ({}: {error}); {begin_anew}",
                record.display()
            ))
        })?;
        let then: Record = serde_json::from_slice(&text).map_err(|error| {
            let record = self.record_path();
            self.unfit(format!(
                "what it is based on is not known ({}: {error}); {begin_anew}",
                record.display()
            ))
        })?;
        let now = self.record().map_err(|error| unusable(&self.base, "cannot be read", error))?;
        if now.path != then.path {
            return Err(self.unfit(format!(
                "is based on {}, not on {}; give that image, or {begin_anew}",
                PathBuf::from(OsString::from_vec(then.path)).display(),
                now.base
            )));
        }
        if now.format != then.format {
            return Err(self.unfit(format!(
                "{} was {} when it was made, and is {} now; {begin_anew}",
                now.base, then.format, now.format
            )));
        }
        if (now.size, now.modified) != (then.size, then.modified) {
            return Err(self.unfit(format!(
                "{} has been written to since it was made on it; bring back the image as it was, or {begin_anew}",
                now.base
            )));
        }
        Ok(())
    }

    fn unfit(&self, why: String) -> ImageError {
        ImageError::Kept { overlay: self.file.clone(), why }
    }
}

impl Record {
    fn write(&self, path: &Path) -> io::Result<()> {
        let part = beside(path, ".part");
        std::fs::write(&part, serde_json::to_vec(self)?)?;
        std::fs::rename(&part, path)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
