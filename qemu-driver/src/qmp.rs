//! A client of qemu's monitor (the QEMU Machine Protocol, docs/interop/qmp-spec.rst) over a socket that
//! qemu inherits: no path, and nobody else can connect.
//!
//! Every message is one line of JSON. A line that is none is logged and skipped; one without end closes the
//! connection. A program in qemu's place that never answers costs the callers their time-outs, no more.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::Instrument;

#[cfg(test)]
mod tests;

/// The longest line that is accepted.
const MAX_LINE: usize = 1 << 20;
/// How long a command may take. The monitor answers at once unless qemu hangs.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How many events a slow subscriber may be behind.
const EVENT_BACKLOG: usize = 64;

/// A connection to the monitor. Clones share it; it closes with the last.
#[derive(Clone, Debug)]
pub struct Qmp {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<QmpEvent>,
    state: watch::Receiver<QmpState>,
}

/// What is known of qemu through its monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QmpState {
    /// The monitor takes commands.
    pub ready: bool,
    /// The connection is closed.
    pub closed: bool,
    /// Why the guest was shut down, if it was.
    pub shutdown: Option<ShutdownCause>,
}

/// Why a guest was shut down (qapi/run-state.json, ShutdownCause).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownCause {
    /// The guest powered itself off: on its own or because it was asked to by the power button.
    Guest,
    /// The guest panicked.
    GuestPanic,
    /// qemu was told to: by a signal, or by the monitor's `quit`.
    Host,
}

/// Something that happened in qemu.
#[derive(Clone, Debug, PartialEq)]
pub struct QmpEvent {
    /// The event's name, `POWERDOWN` for instance.
    pub name: String,
    /// What goes with it.
    pub data: Value,
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// qemu closed the connection, or is gone.
    #[error("qemu's monitor is closed")]
    Closed,
    /// No answer in time.
    #[error("qemu's monitor did not answer `{command}` within {} s", within.as_secs_f32())]
    Silent {
        /// The command.
        command: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// qemu refused.
    #[error("qemu refused `{command}`: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// qemu's words.
        reason: String,
    },
}

#[derive(Debug)]
struct Command {
    name: String,
    arguments: Value,
    answer: oneshot::Sender<Result<Value, String>>,
}

/// Every message that qemu sends.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Message {
    Greeting {
        #[serde(rename = "QMP")]
        _qmp: Value,
    },
    Event {
        event: String,
        #[serde(default)]
        data: Value,
    },
    Failure {
        error: Failure,
        #[serde(default)]
        id: Option<u64>,
    },
    Success {
        #[serde(rename = "return")]
        value: Value,
        #[serde(default)]
        id: Option<u64>,
    },
}

#[derive(Debug, Deserialize)]
struct Failure {
    #[serde(default)]
    desc: String,
}

impl Qmp {
    /// Talks to the monitor on `socket` in a task of its own.
    pub fn start(socket: StdUnixStream) -> io::Result<Qmp> {
        socket.set_nonblocking(true)?;
        let (reading, writing) = UnixStream::from_std(socket)?.into_split();
        let (commands, requests) = mpsc::channel(16);
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let (report, state) = watch::channel(QmpState::default());
        let connection =
            Connection { writing, pending: BTreeMap::new(), next_id: 0, events: events.clone(), report };
        tokio::spawn(connection.run(Lines { reading, buffer: Vec::new() }, requests).in_current_span());
        Ok(Qmp { commands, events, state })
    }

    /// What is known at present.
    pub fn state(&self) -> QmpState {
        *self.state.borrow()
    }

    /// Waits until the monitor takes commands.
    pub async fn ready(&self, within: Duration) -> Result<(), QmpError> {
        let mut state = self.state.clone();
        match tokio::time::timeout(within, state.wait_for(|state| state.ready || state.closed)).await {
            Ok(Ok(state)) if state.ready && !state.closed => Ok(()),
            Ok(_) => Err(QmpError::Closed),
            Err(_) => Err(QmpError::Silent { command: "qmp_capabilities".into(), within }),
        }
    }

    /// Waits until qemu has closed the connection, as it does when it ends.
    pub async fn closed(&self) {
        let mut state = self.state.clone();
        // A task that is gone has closed it as well.
        let _ = state.wait_for(|state| state.closed).await;
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<QmpEvent> {
        self.events.subscribe()
    }

    /// Presses the guest's power button.
    pub async fn system_powerdown(&self) -> Result<(), QmpError> {
        self.execute("system_powerdown", Value::Null).await.map(drop)
    }

    /// Ends qemu at once.
    pub async fn quit(&self) -> Result<(), QmpError> {
        self.execute("quit", Value::Null).await.map(drop)
    }

    /// The guest's run state, `running` for instance.
    pub async fn query_status(&self) -> Result<String, QmpError> {
        let status = self.execute("query-status", Value::Null).await?;
        Ok(status["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Executes any command; `Null` stands for no arguments.
    pub async fn execute(&self, name: &str, arguments: Value) -> Result<Value, QmpError> {
        let (answer, answered) = oneshot::channel();
        let command = Command { name: name.to_owned(), arguments, answer };
        let exchange = async {
            self.commands.send(command).await.map_err(|_| QmpError::Closed)?;
            match answered.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(reason)) => Err(QmpError::Refused { command: name.to_owned(), reason }),
                Err(_) => Err(QmpError::Closed),
            }
        };
        tokio::time::timeout(ANSWER_TIME, exchange)
            .await
            .unwrap_or_else(|_| Err(QmpError::Silent { command: name.to_owned(), within: ANSWER_TIME }))
    }
}

/// The task's side.
struct Connection {
    writing: OwnedWriteHalf,
    pending: BTreeMap<u64, oneshot::Sender<Result<Value, String>>>,
    next_id: u64,
    events: broadcast::Sender<QmpEvent>,
    report: watch::Sender<QmpState>,
}

/// The id of the command that ends capabilities negotiation.
const NEGOTIATION: u64 = u64::MAX;

impl Connection {
    async fn run(mut self, mut lines: Lines, mut requests: mpsc::Receiver<Command>) {
        let outcome = loop {
            let ready = self.report.borrow().ready;
            tokio::select! {
                line = lines.next() => match line {
                    Ok(Some(line)) => {
                        if let Err(error) = self.incoming(&line).await {
                            break Err(error);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
                // Commands before the end of negotiation would be refused (qmp-spec, "Capabilities Negotiation").
                request = requests.recv(), if ready => match request {
                    Some(command) => {
                        if let Err(error) = self.command(command).await {
                            break Err(error);
                        }
                    }
                    None => break Ok(()),
                },
                // Nobody is left who could ask or listen.
                () = self.report.closed(), if !ready => break Ok(()),
            }
        };
        if let Err(error) = outcome {
            tracing::debug!("qemu's monitor: {error}");
        }
        self.report.send_modify(|state| state.closed = true);
    }

    async fn incoming(&mut self, line: &[u8]) -> io::Result<()> {
        let message = match serde_json::from_slice::<Message>(line) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!("qemu's monitor sent {:?}: {error}", String::from_utf8_lossy(line));
                return Ok(());
            }
        };
        match message {
            Message::Greeting { .. } => {
                self.send(&json!({ "execute": "qmp_capabilities", "id": NEGOTIATION })).await?;
            }
            Message::Event { event, data } => self.event(event, data),
            Message::Success { id: Some(NEGOTIATION), .. } => {
                self.report.send_modify(|state| state.ready = true);
            }
            Message::Success { value, id } => self.answer(id, Ok(value)),
            Message::Failure { error, id } => self.answer(id, Err(error.desc)),
        }
        Ok(())
    }

    fn event(&mut self, name: String, data: Value) {
        tracing::debug!(%name, %data, "qemu event");
        if name == "SHUTDOWN" {
            let cause = match data["reason"].as_str() {
                Some("guest-panic") => ShutdownCause::GuestPanic,
                _ if data["guest"] == true => ShutdownCause::Guest,
                _ => ShutdownCause::Host,
            };
            self.report.send_modify(|state| state.shutdown = Some(cause));
        }
        // Without subscribers there is nobody to tell.
        let _ = self.events.send(QmpEvent { name, data });
    }

    fn answer(&mut self, id: Option<u64>, result: Result<Value, String>) {
        match id.and_then(|id| self.pending.remove(&id)) {
            // Who asked may have given up.
            Some(answer) => drop(answer.send(result)),
            None => tracing::warn!(?id, "qemu's monitor answered what nobody asked"),
        }
    }

    async fn command(&mut self, command: Command) -> io::Result<()> {
        let Command { name, arguments, answer } = command;
        self.pending.retain(|_, answer| !answer.is_closed());
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, answer);
        let mut message = json!({ "execute": name, "id": id });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        self.send(&message).await
    }

    async fn send(&mut self, message: &Value) -> io::Result<()> {
        self.writing.write_all(format!("{message}\n").as_bytes()).await
    }
}

/// Lines of bounded length.
struct Lines {
    reading: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line that is not empty. Can be cancelled without losing anything.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = line.trim_ascii();
                if !line.is_empty() {
                    return Ok(Some(line.to_vec()));
                }
            }
            if self.buffer.len() > MAX_LINE {
                let message = format!("a line of more than {MAX_LINE} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if self.reading.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}
