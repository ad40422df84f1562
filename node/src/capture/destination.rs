//! Where a capture goes: what the argument means, and how it is opened.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mvpnet_switch::Rank;

use super::store::Output;

/// Where a capture goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output, of which there is one: only one rank may use it.
    Stdout,
    /// A file, a named pipe or a device.
    Path(PathBuf),
}

/// Why an argument is not a destination.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The argument is empty.
    #[error("a capture needs a file, a directory or `-`")]
    Empty,
    /// It ends in a slash, and there is no such directory.
    #[error("there is no directory {0} for captures")]
    NoDirectory(PathBuf),
}

/// Why a capture could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The destination cannot be opened.
    #[error("cannot open {path} for a capture: {source}")]
    Open {
        /// The destination.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another capture is being written there.
    #[error("another capture is being written to {0}; a directory gives every rank its own file")]
    InUse(String),
    /// Binary data on a terminal is of no use to anyone.
    #[error("standard output is a terminal: send the capture to a file or into a pipe")]
    Terminal,
    /// The first bytes could not be written.
    #[error("cannot write a capture to {path}: {source}")]
    Header {
        /// The destination.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes captures: {0}")]
    Thread(#[source] io::Error),
}

/// An opened destination, or one whose opening has to wait for a reader.
#[derive(Debug)]
pub(super) enum Opening {
    Ready(Output),
    NamedPipe(PathBuf),
}

impl Destination {
    /// The meaning of a `--capture` argument for one rank: `-` is standard output, a directory gets the file
    /// `capture[.JOB].RANK.pcapng`, anything else is the file itself.
    pub fn new(argument: &Path, job: Option<&str>, rank: Rank) -> Result<Self, DestinationError> {
        let job = job.map_or(String::new(), |job| format!(".{job}"));
        Self::named(argument, &format!("capture{job}.{rank}.pcapng"))
    }

    /// The same for anything that is captured: in a directory it gets a file of this name.
    pub fn named(argument: &Path, file_name: &str) -> Result<Self, DestinationError> {
        match argument.as_os_str().as_bytes() {
            b"" => return Err(DestinationError::Empty),
            b"-" => return Ok(Self::Stdout),
            _ => {}
        }
        if argument.is_dir() {
            return Ok(Self::Path(argument.join(file_name)));
        }
        if argument.as_os_str().as_bytes().ends_with(b"/") {
            return Err(DestinationError::NoDirectory(argument.to_owned()));
        }
        Ok(Self::Path(argument.to_owned()))
    }

    pub(super) fn open(&self) -> Result<Opening, StartError> {
        let failed = |source| StartError::Open { path: self.to_string(), source };
        let file = match self {
            Self::Stdout => {
                let stdout = io::stdout();
                if stdout.is_terminal() {
                    return Err(StartError::Terminal);
                }
                File::from(stdout.as_fd().try_clone_to_owned().map_err(failed)?)
            }
            Self::Path(path) => {
                if fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
                    return Ok(Opening::NamedPipe(path.clone()));
                }
                // Emptied only once it is certain that it is ours.
                let file =
                    File::options().write(true).create(true).truncate(false).open(path).map_err(failed)?;
                match file.try_lock() {
                    Err(TryLockError::WouldBlock) => return Err(StartError::InUse(self.to_string())),
                    // A file system without locks, or a device: then there is nothing to learn.
                    Ok(()) | Err(TryLockError::Error(_)) => {}
                }
                if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                    file.set_len(0).map_err(failed)?;
                }
                file
            }
        };
        Output::new(file).map(Opening::Ready).map_err(failed)
    }
}

impl Opening {
    /// Waits, for a named pipe, until somebody reads from it.
    pub(super) fn wait(self) -> io::Result<Output> {
        match self {
            Self::Ready(output) => Ok(output),
            Self::NamedPipe(path) => Output::new(File::options().write(true).open(path)?),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::World;

    use super::*;

    fn rank_3() -> Rank {
        World::new(8).unwrap().rank(3).unwrap()
    }

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(Destination::new(Path::new("-"), None, rank_3()), Ok(Destination::Stdout));
    }

    #[test]
    fn a_directory_gets_a_file_of_the_job_and_the_rank() {
        let dir = tempfile::tempdir().unwrap();
        let named = |job| Destination::new(dir.path(), job, rank_3()).unwrap();

        assert_eq!(named(None), Destination::Path(dir.path().join("capture.3.pcapng")));
        assert_eq!(named(Some("demo")), Destination::Path(dir.path().join("capture.demo.3.pcapng")));
    }

    #[test]
    fn anything_else_is_a_file() {
        let file = Path::new("/tmp/no-such-file.pcapng");
        assert_eq!(Destination::new(file, Some("demo"), rank_3()), Ok(Destination::Path(file.to_owned())));
    }

    #[test]
    fn a_directory_that_does_not_exist_is_an_error() {
        let refused = Destination::new(Path::new("/no/such/"), None, rank_3()).unwrap_err();
        assert_eq!(refused.to_string(), "there is no directory /no/such/ for captures");
        assert_eq!(Destination::new(Path::new(""), None, rank_3()), Err(DestinationError::Empty));
    }

    #[test]
    fn two_captures_do_not_share_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination::Path(dir.path().join("x.pcapng"));
        let first = destination.open().unwrap();

        assert!(matches!(destination.open(), Err(StartError::InUse(_))));
        drop(first);
        assert!(destination.open().is_ok());
    }

    #[test]
    fn an_earlier_capture_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcapng");
        fs::write(&path, "an earlier capture").unwrap();

        Destination::Path(path.clone()).open().unwrap();

        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_opened_is_named() {
        let refused = Destination::Path("/no/such/x.pcapng".into()).open().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot open /no/such/x.pcapng for a capture: No such file or directory (os error 2)"
        );
    }
}
