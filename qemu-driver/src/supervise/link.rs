//! The rank's side of its keeper: starting it, giving it commands, knowing what it said.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command as Process};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::Instrument;

use super::guest::{Guest, GuestEnds, Launch};
use super::leftovers::{self, Leftover};
use super::protocol::{Command, Event, ProcessEnd, line, take_lines};
use crate::console::Console;
use crate::image::CopyHold;
use crate::process::Process as ProcessId;

/// How long the keeper may take to answer. It answers at once; a host may be loaded beyond measure.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// How a keeper is started.
#[derive(Clone, Debug)]
pub struct KeeperSpec {
    /// The program whose hidden subcommand `__keeper` it is: this one, by default.
    pub program: PathBuf,
    /// Where the supervision is logged (`-w`).
    pub wrap_log: Option<PathBuf>,
    /// Whether what it starts writes to this process's own output, instead of to a [`Console`].
    pub inherit_output: bool,
}

/// A keeper, before it has a guest. Dropping it makes it stop and tidy up.
#[derive(Debug)]
pub struct Keeper {
    link: Arc<Link>,
    view: watch::Receiver<View>,
    console: Console,
    stderr: Console,
    leftovers: Mutex<Vec<Leftover>>,
    process: tokio::sync::Mutex<Child>,
    pid: u32,
}

/// Why supervision fails.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The keeper cannot be started.
    #[error("cannot start the guest's keeper {}: {error}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The keeper ended before its time.
    #[error("the guest's keeper ended{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    KeeperLost {
        /// Its last words.
        said: String,
    },
    /// The keeper does not answer.
    #[error("the guest's keeper did not answer within {} s", ANSWER_TIME.as_secs())]
    KeeperSilent,
    /// The guest cannot be started.
    #[error("cannot start {program}: {reason}", program = program.display())]
    Launch {
        /// The first word of its command line.
        program: OsString,
        /// Why.
        reason: String,
    },
}

/// Everything that the keeper has said so far.
#[derive(Debug, Default)]
pub(super) struct View {
    ready: bool,
    guarding: usize,
    launched: Option<Result<i32, String>>,
    pub(super) killing: bool,
    pub(super) ended: Option<ProcessEnd>,
    finished: Option<Vec<String>>,
    pub(super) lost: bool,
}

impl Default for KeeperSpec {
    fn default() -> KeeperSpec {
        // Also right when the file has been replaced since.
        KeeperSpec { program: "/proc/self/exe".into(), wrap_log: None, inherit_output: false }
    }
}

impl Keeper {
    /// Starts a keeper and waits until it watches. To be called inside a tokio runtime, which reads the console
    /// from then on.
    pub async fn spawn(spec: KeeperSpec) -> Result<Keeper, SuperviseError> {
        let KeeperSpec { program, wrap_log, inherit_output } = spec;
        let output = if inherit_output { Stdio::inherit } else { Stdio::piped };
        let started = (|| {
            let (ours, theirs) = StdUnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let ours = UnixStream::from_std(ours)?;
            // No code runs between fork and exec: the standard library uses posix_spawn(3) for this.
            let mut process = Process::new(&program)
                .arg0("mvpnet")
                .arg(super::KEEPER)
                .env(super::KEEPER_OF, ProcessId::this().to_string())
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(output())
                .stderr(output())
                .spawn()?;
            let stdout = readable(process.stdout.take());
            let stderr = readable(process.stderr.take());
            Ok((ours, process, stdout, stderr))
        })();
        let (stream, process, stdout, stderr) =
            started.map_err(|error| SuperviseError::Start { program, error })?;
        let link = Arc::new(Link { stream, sending: tokio::sync::Mutex::new(()) });
        let (told, view) = watch::channel(View::default());
        tokio::spawn(follow(link.clone(), told).in_current_span());
        let keeper = Keeper {
            link,
            view,
            console: Console::read(stdout),
            stderr: Console::read(stderr),
            leftovers: Mutex::default(),
            pid: process.id().unwrap_or_default(),
            process: tokio::sync::Mutex::new(process),
        };
        keeper.send(&Command::Configure { wrap_log: wrap_log.map(OsString::from) }, &[]).await?;
        keeper.until(|view| view.ready.then_some(())).await?;
        Ok(keeper)
    }

    /// The keeper's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Has things removed at the end, whatever happens. To be called before they are made.
    pub async fn guard(&self, leftovers: Vec<Leftover>) -> Result<(), SuperviseError> {
        if leftovers.is_empty() {
            return Ok(());
        }
        let count = {
            let mut known = self.leftovers();
            for leftover in &leftovers {
                if !known.contains(leftover) {
                    known.push(leftover.clone());
                }
            }
            known.len()
        };
        self.send(&Command::Guard { leftovers }, &[]).await?;
        self.until(|view| (view.guarding >= count).then_some(())).await
    }

    /// Starts the guest. One with a monitor is asked to shut down by that, and does not hear SIGTERM: batch systems and
    /// systemd send it to every process of a job, qemu among them, which would cut the guest off.
    pub async fn launch(self, launch: Launch) -> Result<Guest, SuperviseError> {
        let Launch { argv, env, fds } = launch;
        let GuestEnds { theirs, has_input, ours } = fds.into_ends();
        let deaf = ours.has_monitor();
        let program = argv.first().cloned().unwrap_or_default();
        let failed = |reason: String| SuperviseError::Launch { program: program.clone(), reason };
        if argv.is_empty() {
            return Err(failed("an empty command".into()));
        }
        if theirs.len() > super::descriptors::MAX_FDS {
            return Err(failed(format!("{} descriptors are too many", theirs.len())));
        }
        let raw: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        let count = u32::try_from(raw.len()).expect("at most MAX_FDS");
        let command = Command::Launch { argv: argv.clone(), env, fds: count, has_input, deaf };
        self.send(&command, &raw).await?;
        drop(theirs);
        let pid = self.until(|view| view.launched.clone()).await?.map_err(&failed)?;
        Guest::new(self, pid, ours).map_err(|error| failed(error.to_string()))
    }

    /// Has the keeper remove what it guards and waits until it is gone; a guest that still runs is killed. Says
    /// what could not be removed. `holds` are this rank's uses of shared copies, which end here.
    ///
    /// If the keeper is gone already, its work is done here.
    pub async fn finish(&self, holds: Vec<CopyHold>) -> Vec<String> {
        drop(holds);
        let finished = match self.send(&Command::Finish, &[]).await {
            Ok(()) => self.until(|view| view.finished.clone()).await,
            Err(error) => Err(error),
        };
        let failures = finished.unwrap_or_else(|error| {
            tracing::warn!("{error}; tidying up without it");
            leftovers::remove_all(&self.leftovers(), leftovers::Rank::Alive)
        });
        self.leftovers().clear();
        // It exits right after its last word.
        let _ = timeout(ANSWER_TIME, async { self.process.lock().await.wait().await }).await;
        failures
    }

    /// The guest's console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What the guest's process, or the keeper before it, writes to its standard error.
    pub fn stderr(&self) -> &Console {
        &self.stderr
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    pub(super) async fn send(&self, command: &Command, fds: &[BorrowedFd<'_>]) -> Result<(), SuperviseError> {
        match self.link.send(&line(command), fds).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.lost().await),
        }
    }

    async fn until<T>(&self, tell: impl Fn(&View) -> Option<T>) -> Result<T, SuperviseError> {
        let mut view = self.view.clone();
        let told = timeout(ANSWER_TIME, async {
            let view = view.wait_for(|view| view.lost || tell(view).is_some()).await.ok()?;
            tell(&view)
        });
        match told.await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.lost().await),
            Err(_) => Err(SuperviseError::KeeperSilent),
        }
    }

    async fn lost(&self) -> SuperviseError {
        // Its last words may still be on their way; a guest that lives on keeps this open.
        let _ = timeout(Duration::from_secs(1), self.stderr.closed()).await;
        SuperviseError::KeeperLost { said: self.stderr.last_lines(3).join("; ") }
    }

    fn leftovers(&self) -> MutexGuard<'_, Vec<Leftover>> {
        // A list of names is whole whatever panicked.
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The same as the rank's death: the keeper stops the guest and tidies up.
        let _ = shutdown(self.link.stream.as_raw_fd(), Shutdown::Write);
    }
}

/// The socket to the keeper.
#[derive(Debug)]
struct Link {
    stream: UnixStream,
    /// Lines go out whole.
    sending: tokio::sync::Mutex<()>,
}

impl Link {
    async fn send(&self, mut bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _whole = self.sending.lock().await;
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        // The descriptors go with the first bytes.
        let mut control = if raw.is_empty() { &rights[..0] } else { &rights[..] };
        while !bytes.is_empty() {
            let sent = self
                .stream
                .async_io(Interest::WRITABLE, || {
                    let parts = [IoSlice::new(bytes)];
                    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                    sendmsg::<()>(self.stream.as_raw_fd(), &parts, control, flags, None)
                        .map_err(io::Error::from)
                })
                .await?;
            bytes = &bytes[sent..];
            control = &rights[..0];
        }
        Ok(())
    }
}

/// Notes what the keeper says until it is gone.
async fn follow(link: Arc<Link>, told: watch::Sender<View>) {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match link.stream.readable().await.and_then(|()| link.stream.try_read(&mut buffer)) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        for event in take_lines::<Event>(&mut received) {
            match event {
                Ok(event) => told.send_modify(|view| view.note(event)),
                Err(error) => tracing::error!("the guest's keeper sent {error}"),
            }
        }
    }
    told.send_modify(|view| {
        view.lost = true;
        if let (Some(Ok(pid)), None) = (&view.launched, view.ended) {
            // qemu got its signal from the kernel; this is for a wrapper's children.
            let _ = killpg(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    });
}

impl View {
    fn note(&mut self, event: Event) {
        tracing::debug!(?event, "keeper");
        match event {
            Event::Ready => self.ready = true,
            Event::Guarding { count } => self.guarding = count,
            Event::Launched { pid } => self.launched = Some(Ok(pid)),
            Event::LaunchFailed { error } => self.launched = Some(Err(error)),
            Event::Terminating => {}
            Event::Killing => self.killing = true,
            Event::Ended { end } => self.ended = Some(end),
            Event::Finished { failures } => self.finished = Some(failures),
        }
    }
}

/// A pipe from the keeper, or nothing to read where its output is inherited.
fn readable(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Box<dyn AsyncRead + Unpin + Send> {
    match pipe {
        Some(pipe) => Box::new(pipe),
        None => Box::new(tokio::io::empty()),
    }
}
