//! A client of the qemu guest agent (docs/interop/qemu-ga-ref): commands and answers are lines of JSON, one after the
//! other, on a socket that qemu inherits. One task owns the socket, so that many commands can run at once: they take
//! turns in asking how they are.
//!
//! Nobody says whether the agent listens, nor where in an answer of a former life the channel is. So a conversation begins with
//! `guest-sync-delimited`, and the socket's buffer is as small as can be: where nobody reads, a few questions fit and the
//! next are not written.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::socket::{setsockopt, sockopt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::{AgentTimes, ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest, Input};
use line::Line;

mod line;
mod script;

/// The most standard input that a command gets, in octets.
pub(super) const MAX_STDIN: usize = 4 << 20;
/// How often a running command is looked after, in the beginning and later.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// A piece of output.
const PIECE: usize = 16 << 10;

/// The agent. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Qga {
    requests: mpsc::Sender<Request>,
    times: AgentTimes,
    /// The processes that are looked after, and which command each is: after a reboot a number comes again.
    running: Arc<Mutex<BTreeMap<i64, u64>>>,
}

#[derive(Debug)]
struct Request {
    /// None asks only whether it is there.
    command: Option<Value>,
    within: Duration,
    answer: oneshot::Sender<Result<Value, QgaError>>,
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum QgaError {
    /// None came in time.
    Silent(Duration),
    /// qemu is gone.
    Closed,
    /// The agent's words.
    Refused(String),
}

/// How a command is (qga/qapi-schema.json, GuestExecStatus).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i32>,
    signal: Option<i32>,
    #[serde(default)]
    out_data: String,
    #[serde(default)]
    err_data: String,
    #[serde(default)]
    out_truncated: bool,
    #[serde(default)]
    err_truncated: bool,
}

impl Qga {
    pub(super) fn start(socket: StdUnixStream, times: AgentTimes) -> io::Result<Qga> {
        // The kernel makes the least of it that it can.
        setsockopt(&socket, sockopt::SndBuf, &1)?;
        socket.set_nonblocking(true)?;
        let (requests, queue) = mpsc::channel(16);
        let line = Line::new(UnixStream::from_std(socket)?);
        tokio::spawn(line.run(queue, times).in_current_span());
        Ok(Qga { requests, times, running: Arc::default() })
    }

    /// Waits until the agent is known to listen.
    pub(super) async fn answers(&self, within: Duration) -> Result<(), ExecError> {
        match self.ask(None, within).await {
            Ok(_) => Ok(()),
            Err(QgaError::Silent(_)) => Err(ExecError::NoAgent(format!(
                "the qemu guest agent did not answer within {} s",
                within.as_secs_f32()
            ))),
            Err(QgaError::Closed) => Err(ExecError::NoAgent("the guest has ended".into())),
            Err(QgaError::Refused(reason)) => Err(ExecError::Refused(reason)),
        }
    }

    /// Runs a command to its end.
    pub(super) async fn exec(
        &self,
        request: ExecRequest,
        mut input: Input,
        output: mpsc::Sender<ExecOutput>,
    ) -> Result<ExecEnd, ExecError> {
        let stdin = if request.stdin {
            match gather(&mut input).await? {
                Gathered::Whole(stdin) => Some(stdin),
                Gathered::Signal(signal) => return Ok(ExecEnd::Killed(signal)),
            }
        } else {
            None
        };
        let mut arguments = json!({
            "path": "/bin/sh",
            "arg": ["-c", script::script(&request)?],
            "capture-output": true,
        });
        if let Some(stdin) = stdin {
            arguments["input-data"] = BASE64_STANDARD.encode(stdin).into();
        }
        let started = self.execute("guest-exec", arguments, self.times.silent).await.map_err(not_started)?;
        let pid = started["pid"]
            .as_i64()
            .ok_or_else(|| ExecError::Lost("the qemu guest agent's answer names no process".into()))?;
        let running = Running::enter(&self.running, pid);
        let status = self.follow(&running, &mut input).await?;
        finish(status, &output).await
    }

    /// Asks how the command is until it has ended, and passes on signals.
    async fn follow(&self, running: &Running, input: &mut Input) -> Result<Status, ExecError> {
        let pid = running.pid;
        let (mut delay, most) = POLL;
        let mut open = true;
        loop {
            tokio::select! {
                () = sleep(delay) => {}
                item = input.recv(), if open => {
                    match item {
                        Some(ExecInput::Signal(signal)) => {
                            let kill = json!({ "path": "/bin/sh", "arg": ["-c", script::kill(pid, signal)] });
                            // A command that has ended meanwhile is seen to have.
                            let _ = self.execute("guest-exec", kill, self.times.silent).await;
                        }
                        Some(ExecInput::Stdin(data)) => input.used(data.len()),
                        Some(ExecInput::StdinEnd) => {}
                        None => open = false,
                    }
                    continue;
                }
            }
            delay = (delay * 3 / 2).min(most);
            if !running.is_current() {
                return Err(ExecError::Lost("the guest was started again".into()));
            }
            let status = self.execute("guest-exec-status", json!({ "pid": pid }), self.times.silent).await;
            let status = status.map_err(lost)?;
            let status: Status = serde_json::from_value(status)
                .map_err(|error| ExecError::Lost(format!("the qemu guest agent's answer: {error}")))?;
            if status.exited {
                return Ok(status);
            }
        }
    }

    async fn execute(&self, command: &str, arguments: Value, within: Duration) -> Result<Value, QgaError> {
        self.ask(Some(json!({ "execute": command, "arguments": arguments })), within).await
    }

    async fn ask(&self, command: Option<Value>, within: Duration) -> Result<Value, QgaError> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            let request = Request { command, within, answer };
            self.requests.send(request).await.map_err(|_| QgaError::Closed)?;
            answered.await.map_err(|_| QgaError::Closed)?
        };
        // Others may be before it in the queue.
        timeout(within, exchange).await.unwrap_or(Err(QgaError::Silent(within)))
    }
}

fn not_started(error: QgaError) -> ExecError {
    match error {
        QgaError::Refused(reason) => ExecError::Refused(reason),
        error => lost(error),
    }
}

fn lost(error: QgaError) -> ExecError {
    ExecError::Lost(match error {
        QgaError::Silent(within) => format!("the qemu guest agent was silent for {} s", within.as_secs_f32()),
        QgaError::Closed => "the guest has ended".into(),
        QgaError::Refused(reason) => {
            format!("the guest, or the qemu guest agent in it, was started again: {reason}")
        }
    })
}

/// A process that is looked after, until this is dropped.
struct Running {
    pid: i64,
    serial: u64,
    all: Arc<Mutex<BTreeMap<i64, u64>>>,
}

impl Running {
    fn enter(all: &Arc<Mutex<BTreeMap<i64, u64>>>, pid: i64) -> Running {
        let mut running = Running { pid, serial: 0, all: Arc::clone(all) };
        running.serial = {
            let mut all = running.all();
            let serial = all.values().max().map_or(0, |last| last + 1);
            all.insert(pid, serial);
            serial
        };
        running
    }

    /// Whether no later command has the number.
    fn is_current(&self) -> bool {
        self.all().get(&self.pid) == Some(&self.serial)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<i64, u64>> {
        // A map of numbers is whole whatever panicked.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut all = self.all();
        if all.get(&self.pid) == Some(&self.serial) {
            all.remove(&self.pid);
        }
    }
}

enum Gathered {
    Whole(Vec<u8>),
    /// The caller does not want it any more.
    Signal(i32),
}

async fn gather(input: &mut Input) -> Result<Gathered, ExecError> {
    let mut stdin = Vec::new();
    loop {
        match input.recv().await {
            Some(ExecInput::Stdin(data)) => {
                input.used(data.len());
                stdin.extend_from_slice(&data);
            }
            Some(ExecInput::StdinEnd) | None => return Ok(Gathered::Whole(stdin)),
            Some(ExecInput::Signal(signal)) => return Ok(Gathered::Signal(signal)),
        }
        if stdin.len() > MAX_STDIN {
            return Err(ExecError::Refused(format!(
                "more than {} MiB of standard input cannot be given to a command by the qemu guest agent; mvpnet's \
                 own agent, which the guest does not have or which does not answer, can",
                MAX_STDIN >> 20
            )));
        }
    }
}

/// Passes on the output of a command that has ended.
async fn finish(status: Status, output: &mpsc::Sender<ExecOutput>) -> Result<ExecEnd, ExecError> {
    let decode = |data: &str| {
        let decoded = BASE64_STANDARD.decode(data);
        decoded.map_err(|error| ExecError::Lost(format!("output from the qemu guest agent: {error}")))
    };
    let out = decode(&status.out_data)?;
    let err = decode(&status.err_data)?;
    if status.exitcode == Some(script::NOT_RUN)
        && let Some(reason) = err.strip_prefix(script::REASON)
    {
        return Err(ExecError::Refused(String::from_utf8_lossy(reason.trim_ascii()).into_owned()));
    }
    // Nobody need listen.
    for piece in out.chunks(PIECE) {
        let _ = output.send(ExecOutput::Stdout(piece.to_vec())).await;
    }
    for piece in err.chunks(PIECE) {
        let _ = output.send(ExecOutput::Stderr(piece.to_vec())).await;
    }
    for (truncated, what) in [(status.out_truncated, "output"), (status.err_truncated, "error output")] {
        if truncated {
            let note =
                format!("\nmvpnet: the rest of the {what} is lost: the qemu guest agent keeps 16 MiB\n");
            let _ = output.send(ExecOutput::Stderr(note.into_bytes())).await;
        }
    }
    match (status.exitcode, status.signal) {
        (_, Some(signal)) => Ok(ExecEnd::Killed(signal)),
        (Some(code), None) => Ok(ExecEnd::Exited(code)),
        (None, None) => {
            Err(ExecError::Lost("the qemu guest agent does not say how the command ended".into()))
        }
    }
}
