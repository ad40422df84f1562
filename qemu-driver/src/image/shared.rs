//! Making a copy that several ranks of a host may share: one copies, the others wait, the last one that
//! uses it removes it.
//!
//! The lock is a file beside the copy, locked with flock(2): exclusively while copying, shared while in use.
//! The kernel drops it with the process, however that ends. The last user removes the lock file too, so a
//! lock counts only while its path still leads to the file that is locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::copy::copy_sparse;
use super::{CopyPlan, ImageError, ImagePlan};

/// How often a waiting rank looks whether the copy is there.
const POLL: Duration = Duration::from_millis(50);

/// How far copying is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another rank copies.
    Waiting,
    /// Bytes of the image that are done, and all of them; holes count as soon as they are skipped.
    Copying {
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The copy was there, in use by another rank or kept from an earlier job.
    Present,
}

/// Says that this rank uses a copy or a kept overlay. Released when dropped, which has to happen before the keeper
/// tidies up.
#[derive(Debug)]
pub struct CopyHold {
    locks: Vec<File>,
}

impl Drop for CopyHold {
    fn drop(&mut self) {
        for lock in &self.locks {
            // Closing is not enough: a process that another thread has just forked has the file too, until it has
            // become what it is to be (flock(2)).
            let _ = lock.unlock();
        }
    }
}

impl ImagePlan {
    /// Copies the image and makes an overlay if the plan says so. Blocks; meant for a thread that may.
    ///
    /// A copy that fails or is cancelled leaves nothing behind. Lock files and overlays are left to the keeper.
    pub fn carry_out(
        &self,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<CopyHold>, ImageError> {
        let mut locks = Vec::new();
        if let (Some(source), Some(copy)) = (&self.source, &self.copy) {
            locks.extend(Task { source, copy, cancel }.obtain(progress)?);
        }
        if let Some(overlay) = &self.overlay {
            locks.extend(overlay.make()?);
        }
        let makes_any = self.copy.is_some() || self.overlay.is_some();
        Ok(makes_any.then_some(CopyHold { locks }))
    }
}

struct Task<'a> {
    source: &'a Path,
    copy: &'a CopyPlan,
    cancel: &'a AtomicBool,
}

impl Task<'_> {
    fn obtain(&self, progress: &mut dyn FnMut(Progress)) -> Result<Option<File>, ImageError> {
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(self.cancelled());
            }
            let lock = self.open_lock()?;
            match lock.try_lock() {
                Ok(()) => {
                    if !is_at(&lock, &self.copy.lock) {
                        continue;
                    }
                    if self.reusable() {
                        progress(Progress::Present);
                    } else {
                        self.copy(progress)?;
                    }
                    // Going from exclusive to shared lets go in between (flock(2)): look again.
                    lock.lock_shared().map_err(|error| self.no_locks(error))?;
                    if self.holds(&lock) {
                        return Ok(Some(lock));
                    }
                }
                Err(TryLockError::WouldBlock) => match lock.try_lock_shared() {
                    Ok(()) if self.holds(&lock) => {
                        progress(Progress::Present);
                        return Ok(Some(lock));
                    }
                    Ok(()) | Err(TryLockError::WouldBlock) => {
                        progress(Progress::Waiting);
                        pause();
                    }
                    Err(TryLockError::Error(error)) => return Err(self.no_locks(error)),
                },
                // A copy of its own needs no lock.
                Err(TryLockError::Error(_)) if self.copy.own => {
                    if !self.reusable() {
                        self.copy(progress)?;
                    }
                    return Ok(None);
                }
                Err(TryLockError::Error(error)) => return Err(self.no_locks(error)),
            }
        }
    }

    fn open_lock(&self) -> Result<File, ImageError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.copy.lock)
            .map_err(|error| self.failed(error))
    }

    /// Whether the lock that is held is the one that others find, and the copy is there.
    fn holds(&self, lock: &File) -> bool {
        is_at(lock, &self.copy.lock) && self.copy.to.exists()
    }

    /// Whether the copy that nobody uses at present can be used. One that is kept on purpose can; one that
    /// should have been removed can if it is untouched since it was copied.
    fn reusable(&self) -> bool {
        let Ok(copy) = std::fs::metadata(&self.copy.to) else { return false };
        let untouched = || {
            std::fs::metadata(self.source).is_ok_and(|source| {
                (source.len(), source.mtime(), source.mtime_nsec())
                    == (copy.len(), copy.mtime(), copy.mtime_nsec())
            })
        };
        !self.copy.delete_at_exit || untouched()
    }

    fn copy(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), ImageError> {
        // Room first: what is replaced may be as large as what comes.
        remove(&self.copy.to).map_err(|error| self.failed(error))?;
        let part = self.copy.part();
        let result = self.copy_to(&part, progress).and_then(|()| std::fs::rename(&part, &self.copy.to));
        result.map_err(|error| {
            let _ = remove(&part);
            if self.cancel.load(Ordering::Relaxed) { self.cancelled() } else { self.failed(error) }
        })
    }

    fn copy_to(&self, part: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<()> {
        let mut from = File::open(self.source)?;
        // The guest writes to the copy, whatever the image's own mode; it may hold secrets.
        let to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part)?;
        copy_sparse(&mut from, &to, &mut |done, total| {
            progress(Progress::Copying { done, total });
            !self.cancel.load(Ordering::Relaxed)
        })?;
        to.set_modified(from.metadata()?.modified()?)
    }

    fn failed(&self, error: io::Error) -> ImageError {
        ImageError::Copy { image: self.source.to_owned(), to: self.copy.to.clone(), error }
    }

    fn no_locks(&self, error: io::Error) -> ImageError {
        ImageError::NoLocks { dir: self.copy.dir().to_owned(), error }
    }

    fn cancelled(&self) -> ImageError {
        ImageError::Cancelled { image: self.source.to_owned() }
    }
}

impl CopyPlan {
    /// Where the copy grows; it gets its name when it is complete.
    fn part(&self) -> PathBuf {
        part_of(&self.to)
    }
}

/// Where the copy `path` grows.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    part.into()
}

/// Removes the copy and its lock unless another rank uses it. What the keeper does at exit.
pub(crate) fn release(path: &Path, lock: &Path, delete: bool) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(lock) {
        Ok(file) => file,
        // Nothing was copied, or the last user was here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(()),
        Ok(()) if !is_at(&file, lock) => return Ok(()),
        // A file system without locks: then the copy was not shared.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    remove(&part_of(path))?;
    if delete {
        remove(path)?;
    }
    remove(lock)
}

/// Whether `path` leads to the open `file`.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(found)) => (open.dev(), open.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Removes a file that may be gone.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// flock(2) offers no wait that can be cancelled.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(POLL);
}
