//! The job's side of its control socket: a task that listens, and one for each connection.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mvpnet_qemu_driver::supervise::{Keeper, KeeperSpec, Leftover, SuperviseError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument;

use super::place::{directories, prepare, socket_in};
use super::protocol::{Answer, MAX_LINE, Request, line};

/// How long somebody who connects may take to ask.
const ASK_TIME: Duration = Duration::from_secs(10);

/// How often a directory is made anew that another job removes at this moment.
const ATTEMPTS: u32 = 20;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// The control socket of this process's job.
#[derive(Debug)]
pub(crate) struct Control {
    requests: mpsc::UnboundedReceiver<Asked>,
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}")]
    Supervise(#[from] SuperviseError),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl Control {
    /// Opens it, beside everything else. Where it cannot be, the log says so and nothing is ever asked.
    pub(crate) fn open() -> Self {
        let (asked, requests) = mpsc::unbounded_channel();
        let (close, closed) = oneshot::channel();
        let serving = async move {
            if let Err(error) = serve(asked, closed).await {
                tracing::warn!("there is no control socket for `mvpnet fault`: {error}");
            }
        };
        Self { requests, close, task: tokio::spawn(serving.in_current_span()) }
    }

    /// The next request; never, while there is no socket.
    pub(crate) async fn next(control: &mut Option<Self>) -> Asked {
        if let Some(control) = control
            && let Some(asked) = control.requests.recv().await
        {
            return asked;
        }
        std::future::pending().await
    }

    /// Removes it. Who still waits for an answer learns that the job is over.
    pub(crate) async fn close(self) {
        drop(self.requests);
        let _ = self.close.send(());
        let _ = self.task.await;
    }
}

async fn serve(
    asked: mpsc::UnboundedSender<Asked>,
    mut closed: oneshot::Receiver<()>,
) -> Result<(), OpenError> {
    // The keepers of guests tidy up when their guest is off, which may be long before the job's end.
    let keeper = Keeper::spawn(KeeperSpec::default()).await?;
    let listener = match bind_anywhere(&keeper).await {
        Ok(listener) => listener,
        Err(error) => {
            keeper.finish(Vec::new()).await;
            return Err(error);
        }
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(attend(stream, asked.clone()).in_current_span())),
                Err(error) => tracing::debug!("control socket: {error}"),
            },
            _ = &mut closed => break,
        }
    }
    drop(listener);
    for failure in keeper.finish(Vec::new()).await {
        tracing::warn!("{failure}");
    }
    Ok(())
}

/// The first place where it can be.
async fn bind_anywhere(keeper: &Keeper) -> Result<UnixListener, OpenError> {
    let mut outcome = Err(OpenError::Io { path: "/tmp".into(), error: ErrorKind::NotFound.into() });
    for directory in directories() {
        outcome = bind(&directory, keeper).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn bind(directory: &Path, keeper: &Keeper) -> Result<UnixListener, OpenError> {
    let path = socket_in(directory, std::process::id());
    let failed = |error| OpenError::Io { path: path.clone(), error };
    // Made by others too, and removed by the last one.
    keeper.guard(vec![Leftover::EmptyDir(directory.to_owned()), Leftover::File(path.clone())]).await?;
    let mut attempts = 0;
    loop {
        prepare(directory).map_err(failed)?;
        match UnixListener::bind(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => attempts += 1,
            // Our own process id: who had it before is dead.
            Err(error) if error.kind() == ErrorKind::AddrInUse && attempts < ATTEMPTS => {
                attempts += 1;
                std::fs::remove_file(&path).map_err(failed)?;
            }
            outcome => return outcome.map_err(failed),
        }
    }
}

/// One connection: one request, one answer.
async fn attend(stream: UnixStream, asked: mpsc::UnboundedSender<Asked>) {
    let (reading, mut writing) = stream.into_split();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let mut request = Vec::new();
    let mut reader = BufReader::new(reading.take(limit));
    match timeout(ASK_TIME, reader.read_until(b'\n', &mut request)).await {
        Ok(Ok(1..)) => {}
        // Somebody who only looked whether we are here.
        _ => return,
    }
    let answer = match serde_json::from_slice(&request) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            // A job that is over answers nothing.
            let _ = asked.send(Asked { request, answer });
            match answered.await {
                Ok(answer) => answer,
                Err(_) => return,
            }
        }
        Err(error) => Answer::Refused(format!("that is no request: {error}")),
    };
    if let Err(error) = writing.write_all(&line(&answer)).await {
        tracing::debug!("an answer was not waited for: {error}");
    }
}
