//! Asking jobs and bridges, from another process.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::known::known;
use super::place::{Kind, directories, lives, sockets_in};
use super::protocol::{Answer, JobInfo, JobState, MAX_ANSWER, Request, line};
use crate::session::SessionRequest;

/// How long one may take to say who it is. It answers at once; a host may be loaded.
const INFO_TIME: Duration = Duration::from_secs(10);

/// Why a job or a bridge gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is none any more.
    #[error("the {0} of process {1} is over")]
    Over(Kind, u32),
    /// It ended, or broke the connection, before it answered.
    #[error("the {0} ended before it answered")]
    Ended(Kind),
    /// It said nothing in time.
    #[error("the {0} does not answer")]
    Silent(Kind),
    /// The socket does not work.
    #[error("{}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says that this makes no sense.
    #[error("{0}")]
    Refused(String),
    /// What it said is no answer of this version of the program.
    #[error("the {0} gave an answer that is none: {1}")]
    NoAnswer(Kind, serde_json::Error),
}

/// The jobs of this user that have a rank on this host and answer, in the order of their processes.
pub fn running() -> Vec<JobInfo> {
    let answers =
        known().into_iter().filter(|job| !matches!(job.info.state, JobState::Silent | JobState::Dead));
    answers.map(|job| job.info).collect()
}

/// Asks the job that has this process on this host (see [`JobInfo::through`]), and waits as long as that takes.
///
/// # Errors
/// There is no such job, or it ends first.
pub fn ask(process: u32, request: &Request) -> Result<Answer, AskError> {
    ask_within(process, request, None)
}

/// The same, for so long at most.
///
/// # Errors
/// There is no such job, it ends first, or does not answer in time.
pub fn ask_within(process: u32, request: &Request, within: Option<Duration>) -> Result<Answer, AskError> {
    let path = socket_of(process).ok_or(AskError::Over(Kind::Job, process))?;
    exchange(Kind::Job, &path, request, within)
}

/// The control socket of this process of a job, if it has one.
pub fn socket_of(process: u32) -> Option<PathBuf> {
    let sockets_of = |kind| directories().into_iter().flat_map(move |directory| sockets_in(&directory, kind));
    let mut sockets = sockets_of(Kind::Job).chain(sockets_of(Kind::Rank));
    sockets.find(|(other, _)| *other == process).map(|(_, path)| path)
}

/// Asks the job that this process belongs to for a session: the connection that has become one.
pub(crate) fn open_session(process: u32, request: &SessionRequest) -> Result<UnixStream, AskError> {
    let path = socket_of(process).ok_or(AskError::Over(Kind::Job, process))?;
    match connect(Kind::Job, &path, &Request::Session(request.clone()), None)? {
        (Answer::Session, stream) => Ok(stream),
        (Answer::Refused(why), _) => Err(AskError::Refused(why)),
        (Answer::Info(_) | Answer::Status(_) | Answer::Done(_) | Answer::Failed(_), _) => {
            Err(AskError::Ended(Kind::Job))
        }
    }
}

/// Asks all of this kind that this user runs on this host. Who does not answer is left out, and what the dead have
/// left is removed.
pub(crate) fn ask_all<A: DeserializeOwned>(kind: Kind, request: &impl Serialize) -> Vec<A> {
    let places: Vec<PathBuf> = directories();
    let sockets = places.iter().flat_map(|directory| sockets_in(directory, kind));
    let answers = sockets.filter_map(|(process, path)| {
        let answer = exchange(kind, &path, request, Some(INFO_TIME));
        // Nobody listens there, and nobody is about to.
        if answer.as_ref().is_err_and(is_stale) && !lives(process) {
            let _ = std::fs::remove_file(&path);
        }
        answer.ok()
    });
    answers.collect()
}

/// Asks the one that is this process, and waits as long as that takes.
pub(crate) fn ask_one<A: DeserializeOwned>(
    kind: Kind,
    process: u32,
    request: &impl Serialize,
) -> Result<A, AskError> {
    let places = directories();
    let mut sockets = places.iter().flat_map(|directory| sockets_in(directory, kind));
    let (_, path) = sockets.find(|(other, _)| *other == process).ok_or(AskError::Over(kind, process))?;
    exchange(kind, &path, request, None)
}

/// A line and not an octet more, in pieces as they come: each is looked at before it is taken.
fn read_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    while line.last() != Some(&b'\n') && line.len() < MAX_ANSWER {
        let seen = recv(stream.as_raw_fd(), &mut piece, MsgFlags::MSG_PEEK)?;
        let end = piece[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
        if end == 0 {
            break;
        }
        stream.read_exact(&mut piece[..end])?;
        line.extend_from_slice(&piece[..end]);
    }
    Ok(line)
}

pub(super) fn is_stale(error: &AskError) -> bool {
    matches!(error, AskError::Socket { error, .. } if error.kind() == ErrorKind::ConnectionRefused)
}

pub(super) fn exchange<A: DeserializeOwned>(
    kind: Kind,
    path: &Path,
    request: &impl Serialize,
    within: Option<Duration>,
) -> Result<A, AskError> {
    connect(kind, path, request, within).map(|(answer, _)| answer)
}

/// Asks, and keeps the connection. Nothing is read of what follows the answer.
fn connect<A: DeserializeOwned>(
    kind: Kind,
    path: &Path,
    request: &impl Serialize,
    within: Option<Duration>,
) -> Result<(A, UnixStream), AskError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Silent(kind),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => AskError::Ended(kind),
        _ => AskError::Socket { path: path.to_owned(), error },
    };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(within).map_err(failed)?;
    stream.set_write_timeout(within).map_err(failed)?;
    stream.write_all(&line(request)).map_err(failed)?;
    let answer = read_line(&stream).map_err(failed)?;
    if answer.last() != Some(&b'\n') {
        return Err(AskError::Ended(kind));
    }
    let answer = serde_json::from_slice(&answer).map_err(|error| AskError::NoAnswer(kind, error))?;
    Ok((answer, stream))
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
        let error = exchange::<Answer>(Kind::Job, &path, &Request::Info, None).unwrap_err();
        assert!(matches!(error, AskError::Ended(Kind::Job)), "{error}");
        ends.join().unwrap();
        let error = exchange::<Answer>(Kind::Job, &path, &Request::Info, None).unwrap_err();
        assert!(is_stale(&error), "{error}");
    }
}
