//! The directory of a process's part of its job: for keys, configurations of guests, and whatever else must not outlive
//! it. What is in it is the business of those who put it there.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mvpnet_qemu_driver::supervise::{Keeper, KeeperSpec, Leftover, SuperviseError};

use super::place::{directories, directory_in, is_ours, prepare};

/// How often the directory of all jobs is made anew that another job removes at this moment.
const ATTEMPTS: u32 = 20;

/// A directory that only the user can enter, `PID.job` beside the control sockets. A keeper of its own removes it with
/// all that is in it when the process has ended, however it did.
#[derive(Debug)]
pub struct JobDirectory {
    path: PathBuf,
    keeper: Keeper,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody would remove it.
    #[error("{0}")]
    Supervise(#[from] SuperviseError),
    /// It cannot be made.
    #[error("no private directory for the job: {}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl JobDirectory {
    /// Makes that of this process, at the first place where it can be. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no place that is the user's alone.
    pub async fn make() -> Result<Self, DirectoryError> {
        let keeper = Keeper::spawn(KeeperSpec::default()).await?;
        let mut outcome = Err(DirectoryError::Io { path: "/tmp".into(), error: ErrorKind::NotFound.into() });
        for parent in directories() {
            outcome = make_in(&parent, &keeper).await;
            if outcome.is_ok() {
                break;
            }
        }
        match outcome {
            Ok(path) => Ok(Self { path, keeper }),
            Err(error) => {
                keeper.finish(Vec::new()).await;
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// That of another process of this user on this host, if there is one.
    pub fn of_process(process: u32) -> Option<PathBuf> {
        let parents = directories().into_iter().filter(|parent| is_ours(parent));
        parents.map(|parent| directory_in(&parent, process)).find(|path| is_ours(path))
    }

    /// Removes it with all that is in it.
    pub async fn remove(self) {
        for failure in self.keeper.finish(Vec::new()).await {
            tracing::warn!("{failure}");
        }
    }
}

async fn make_in(parent: &Path, keeper: &Keeper) -> Result<PathBuf, DirectoryError> {
    let path = directory_in(parent, std::process::id());
    keeper.guard(vec![Leftover::EmptyDir(parent.to_owned()), Leftover::Tree(path.clone())]).await?;
    let failed = |error| DirectoryError::Io { path: path.clone(), error };
    let mut attempts = 0;
    loop {
        prepare(parent).map_err(failed)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if attempts == ATTEMPTS => return Err(failed(error)),
            Err(error) if error.kind() == ErrorKind::NotFound => attempts += 1,
            // Our own process id: who had it before is dead, and lost its power before it could tidy up.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                attempts += 1;
                std::fs::remove_dir_all(&path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}
