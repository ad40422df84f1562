//! Asking jobs, from another process.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::{directories, lives, sockets_in};
use super::protocol::{Answer, JobInfo, MAX_LINE, Request, line};

/// How long a job may take to say who it is. It answers at once; a host may be loaded.
const INFO_TIME: Duration = Duration::from_secs(10);

/// Why a job gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such job any more.
    #[error("the job of process {0} is over")]
    Over(u32),
    /// It ended, or broke the connection, before it answered.
    #[error("the job ended before it answered")]
    Ended,
    /// It said nothing in time.
    #[error("the job does not answer")]
    Silent,
    /// The socket does not work.
    #[error("{}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What it said is no answer of this version of the program.
    #[error("the job gave an answer that is none: {0}")]
    NoAnswer(#[from] serde_json::Error),
}

/// The jobs of this user whose rank 0 runs on this host, in the order of their processes. Sockets that dead
/// jobs have left are removed.
pub fn running() -> Vec<JobInfo> {
    let places: Vec<PathBuf> = directories();
    let sockets = places.iter().flat_map(|directory| sockets_in(directory));
    let mut jobs: Vec<JobInfo> = sockets
        .filter_map(|(process, path)| match exchange(&path, &Request::Info, Some(INFO_TIME)) {
            Ok(Answer::Info(job)) => Some(job),
            Ok(_) => None,
            Err(error) => {
                // Nobody listens there, and nobody is about to.
                if is_stale(&error) && !lives(process) {
                    let _ = std::fs::remove_file(&path);
                }
                None
            }
        })
        .collect();
    jobs.sort_by_key(|job| job.process);
    jobs
}

/// Asks the job whose rank 0 is this process, and waits as long as that takes.
///
/// # Errors
/// There is no such job, or it ends first.
pub fn ask(process: u32, request: &Request) -> Result<Answer, AskError> {
    let places = directories();
    let mut sockets = places.iter().flat_map(|directory| sockets_in(directory));
    let (_, path) = sockets.find(|(other, _)| *other == process).ok_or(AskError::Over(process))?;
    exchange(&path, request, None)
}

fn is_stale(error: &AskError) -> bool {
    matches!(error, AskError::Socket { error, .. } if error.kind() == ErrorKind::ConnectionRefused)
}

fn exchange(path: &Path, request: &Request, within: Option<Duration>) -> Result<Answer, AskError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Silent,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => AskError::Ended,
        _ => AskError::Socket { path: path.to_owned(), error },
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(within).map_err(failed)?;
    stream.write_all(&line(request)).map_err(failed)?;
    let mut answer = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut answer).map_err(failed)?;
    if answer.last() != Some(&b'\n') {
        return Err(AskError::Ended);
    }
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_without_a_listener_is_stale_and_one_that_closes_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let ends = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let error = exchange(&path, &Request::Info, None).unwrap_err();
        assert!(matches!(error, AskError::Ended), "{error}");
        ends.join().unwrap();
        let error = exchange(&path, &Request::Info, None).unwrap_err();
        assert!(is_stale(&error), "{error}");
    }
}
