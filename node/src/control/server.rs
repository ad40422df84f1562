//! The side of a control socket that is asked: a task that listens, and one for each connection.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mvpnet_qemu_driver::supervise::{Keeper, KeeperSpec, Leftover, SuperviseError};
use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::Instrument;

use super::place::{Kind, directories, prepare, socket_in};
use super::protocol::{Answer, MAX_REQUEST, Reply, Request, line};

/// How long somebody who connects may take to ask.
const ASK_TIME: Duration = Duration::from_secs(10);

/// How long answers may take that are given at the end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How often a directory is made anew that another job removes at this moment.
const ATTEMPTS: u32 = 20;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked<Q = Request, A = Answer> {
    pub(crate) request: Q,
    pub(crate) answer: oneshot::Sender<A>,
    /// The connection, after the answer, for whom a line each is not enough.
    pub(crate) stream: oneshot::Receiver<Stream>,
}

/// A connection whose first request has been answered.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) reader: BufReader<OwnedReadHalf>,
    pub(crate) writer: OwnedWriteHalf,
}

/// The control socket of this process: of its job, unless said otherwise.
#[derive(Debug)]
pub(crate) struct Control<Q = Request, A = Answer> {
    requests: mpsc::UnboundedReceiver<Asked<Q, A>>,
    /// Resolves when the socket is there, or cannot be.
    opened: Option<oneshot::Receiver<()>>,
    /// Resolves when the socket is there no more.
    removed: oneshot::Receiver<()>,
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

impl<Q: DeserializeOwned + Send + 'static, A: Reply + Send + 'static> Control<Q, A> {
    /// Opens it, beside everything else. Where it cannot be, the log says so and nothing is ever asked.
    pub(crate) fn open_as(kind: Kind) -> Self {
        let (asked, requests) = mpsc::unbounded_channel();
        let (close, closed) = oneshot::channel();
        let (bound, opened) = oneshot::channel();
        let (gone, removed) = oneshot::channel();
        let serving = async move {
            let mut conversations = JoinSet::new();
            if let Err(error) = serve(kind, asked, bound, closed, &mut conversations).await {
                tracing::warn!("there is no control socket for `{}`: {error}", kind.command());
            }
            let _ = gone.send(());
            // Answers that are given now are still to arrive; who has asked nothing is not waited for.
            let _ = timeout(LAST_WORDS, async { while conversations.join_next().await.is_some() {} }).await;
        };
        let task = tokio::spawn(serving.in_current_span());
        Self { requests, opened: Some(opened), removed, close, task }
    }

    /// Waits until it can be asked, if it ever can.
    pub(crate) async fn opened(&mut self) {
        if let Some(opened) = self.opened.take() {
            let _ = opened.await;
        }
    }

    /// The next request; never, while there is no socket.
    pub(crate) async fn next(control: &mut Option<Self>) -> Asked<Q, A> {
        if let Some(control) = control
            && let Some(asked) = control.requests.recv().await
        {
            return asked;
        }
        std::future::pending().await
    }

    /// Removes it. Who still waits for an answer learns that the job is over.
    pub(crate) async fn close(self) {
        self.close_saying(|| ()).await;
    }

    /// Removes it, and has `last_words` give the answers that were kept for this moment. Who still waits then
    /// learns that it is over.
    pub(crate) async fn close_saying(self, last_words: impl FnOnce()) {
        drop(self.requests);
        let _ = self.close.send(());
        let _ = self.removed.await;
        last_words();
        let _ = self.task.await;
    }
}

async fn serve<Q: DeserializeOwned + Send + 'static, A: Reply + Send + 'static>(
    kind: Kind,
    asked: mpsc::UnboundedSender<Asked<Q, A>>,
    bound: oneshot::Sender<()>,
    mut closed: oneshot::Receiver<()>,
    conversations: &mut JoinSet<()>,
) -> Result<(), OpenError> {
    // The keepers of guests tidy up when their guest is off, which may be long before the job's end.
    let keeper = Keeper::spawn(KeeperSpec::default()).await?;
    let listener = match bind_anywhere(kind, &keeper).await {
        Ok(listener) => listener,
        Err(error) => {
            keeper.finish(Vec::new()).await;
            return Err(error);
        }
    };
    let _ = bound.send(());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // The directory keeps others out already.
                Ok((stream, _)) if !is_user(&stream) => tracing::warn!("another user asks: no answer"),
                Ok((stream, _)) => {
                    conversations.spawn(attend(stream, asked.clone()).in_current_span());
                }
                Err(error) => tracing::debug!("control socket: {error}"),
            },
            // Those that are over need no memory.
            Some(_) = conversations.join_next() => {}
            _ = &mut closed => break,
        }
    }
    drop(listener);
    for failure in keeper.finish(Vec::new()).await {
        tracing::warn!("{failure}");
    }
    Ok(())
}

/// Whether who asks is the user that this process is.
fn is_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// The first place where it can be.
async fn bind_anywhere(kind: Kind, keeper: &Keeper) -> Result<UnixListener, OpenError> {
    let mut outcome = Err(OpenError::Io { path: "/tmp".into(), error: ErrorKind::NotFound.into() });
    for directory in directories() {
        outcome = bind(&directory, kind, keeper).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn bind(directory: &Path, kind: Kind, keeper: &Keeper) -> Result<UnixListener, OpenError> {
    let path = socket_in(directory, kind, std::process::id());
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

/// One connection: one request, one answer, and then what the two make of it.
async fn attend<Q: DeserializeOwned, A: Reply>(
    stream: UnixStream,
    asked: mpsc::UnboundedSender<Asked<Q, A>>,
) {
    let (reading, mut writer) = stream.into_split();
    let mut request = Vec::new();
    let mut reader = BufReader::new(reading);
    let (pass_on, passed) = oneshot::channel();
    match timeout(ASK_TIME, (&mut reader).take(MAX_REQUEST).read_until(b'\n', &mut request)).await {
        Ok(Ok(1..)) => {}
        // Somebody who only looked whether we are here.
        _ => return,
    }
    let answer = match serde_json::from_slice(&request) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            // A job that is over answers nothing.
            let _ = asked.send(Asked { request, answer, stream: passed });
            tokio::select! {
                answered = answered => match answered {
                    Ok(answer) => answer,
                    Err(_) => return,
                },
                // Nobody waits any more. Answers may take for ever.
                () = closed(&mut reader) => return,
            }
        }
        Err(error) => A::refused(format!("that is no request: {error}")),
    };
    match writer.write_all(&line(&answer)).await {
        // Most want no more: then the connection is closed here.
        Ok(()) => drop(pass_on.send(Stream { reader, writer })),
        Err(error) => tracing::debug!("an answer was not waited for: {error}"),
    }
}

/// Waits until nothing more can come. What does come is left where it is: it belongs to what follows the answer.
async fn closed(reader: &mut (impl AsyncBufRead + Unpin)) {
    if matches!(reader.fill_buf().await, Ok([_, ..])) {
        std::future::pending().await
    }
}
