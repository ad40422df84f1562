//! Running commands in a guest without its network: over our own agent's channel, or the qemu guest agent's.
//!
//! Which of the two does it is decided for each command: our agent streams and speaks for commands of the guest too;
//! the qemu guest agent is what images without ours may have.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The host's ends of a guest's two virtio-serial channels.
#[derive(Debug)]
pub struct ChannelEnds {
    /// `org.qemu.guest_agent.0`.
    pub guest_agent: UnixStream,
    /// `org.mvpnet.exec.0`; none with `--no-exec`.
    pub exec: Option<UnixStream>,
}

/// The agents of one guest. Clones share them. Connections outlive reboots of the guest.
#[derive(Clone, Debug)]
pub struct Agents {}

/// A command for a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program and its arguments; a single word is given to `/bin/sh -c`, as ssh does, if `shell` is set.
    pub argv: Vec<String>,
    /// Join the words with spaces and have `/bin/sh -c` read them, as ssh does.
    pub shell: bool,
    /// Who runs it; root if none is named.
    pub user: Option<String>,
    /// Variables besides the user's own.
    pub env: Vec<(String, String)>,
    /// Where; the user's home if none is given.
    pub cwd: Option<String>,
    /// Whether standard input will come; without it the command reads nothing.
    pub stdin: bool,
}

/// What goes to a running command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecInput {
    /// Standard input.
    Stdin(Vec<u8>),
    /// Its end.
    StdinEnd,
    /// A signal for its process group, by number.
    Signal(i32),
}

/// What comes from a running command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecOutput {
    /// Standard output.
    Stdout(Vec<u8>),
    /// Standard error.
    Stderr(Vec<u8>),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Why a command was not run, or nothing is known of its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ExecError {
    /// No agent answers.
    #[error("no agent answers in the guest ({0})")]
    NoAgent(String),
    /// The agent could not start it.
    #[error("{0}")]
    Refused(String),
    /// The channel broke, or the guest went down, while it ran.
    #[error("the guest's agent is gone, and what became of the command is not known ({0})")]
    Lost(String),
}

/// A command that somebody in the guest wants to have run in another guest.
#[derive(Debug)]
pub struct GuestCall {
    /// The host name or number that was asked for, as typed.
    pub host: String,
    /// The command; `user` is who asked.
    pub request: ExecRequest,
    /// What the caller sends. Bounded: not reading stops the caller.
    pub input: mpsc::Receiver<ExecInput>,
    /// Where output goes. Bounded: sending waits for the caller.
    pub output: mpsc::Sender<ExecOutput>,
    /// To be told how it ended. Dropped unanswered: the caller learns that it was lost.
    pub end: tokio::sync::oneshot::Sender<Result<ExecEnd, ExecError>>,
}

impl Agents {
    /// Serves the channels in tasks of their own. `calls` gets what commands in the guest want of other guests.
    pub fn start(_ends: ChannelEnds, _calls: mpsc::Sender<GuestCall>) -> std::io::Result<Agents> {
        unimplemented!()
    }

    /// Runs a command to its end. Dropping the future, or the sender of `input`, does not stop the command: a signal
    /// does. Our agent is tried first, then the qemu guest agent; `within` is how long either may take to answer.
    pub async fn exec(
        &self,
        _request: ExecRequest,
        _input: mpsc::Receiver<ExecInput>,
        _output: mpsc::Sender<ExecOutput>,
        _within: Duration,
    ) -> Result<ExecEnd, ExecError> {
        unimplemented!()
    }

    /// Whether our own agent is connected.
    pub fn is_connected(&self) -> bool {
        unimplemented!()
    }
}
