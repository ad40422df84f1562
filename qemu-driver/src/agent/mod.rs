//! Running commands in a guest without its network: over our own agent's channel, or the qemu guest agent's.
//!
//! Which of the two does it is decided for each command: our agent streams and speaks for commands of the guest too;
//! the qemu guest agent is what images without ours may have. Here is what both share; [`wire`] is the
//! protocol of our own, `channel` and `session` its host's end, `qga` the other's client. What the guest runs is
//! `seed/src/agent/mvpnet-agent`.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::accel::Accel;
use channel::Channel;
pub use input::Input;
use qga::Qga;
pub use wire::Violation;

mod channel;
mod input;
mod qga;
mod session;
pub mod wire;

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
pub struct Agents {
    channel: Option<Channel>,
    qga: Qga,
}

/// How long agents may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentTimes {
    /// Our own agent is asked whether it is there when it has said nothing for so long while a command runs.
    pub ask: Duration,
    /// An agent that says nothing for so long is gone, and so is what it ran.
    pub silent: Duration,
}

/// A command for a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program and its arguments.
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
    /// A signal for its process group, by number. It overtakes standard input.
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
    /// What the caller sends. Bounded: not reading stops the caller. It ends when the caller is gone.
    pub input: mpsc::Receiver<ExecInput>,
    /// Where output goes. Bounded: sending waits for the caller.
    pub output: mpsc::Sender<ExecOutput>,
    /// To be told how it ended; output that was sent before goes first. Dropped unanswered: the caller learns that
    /// it was lost.
    pub end: tokio::sync::oneshot::Sender<Result<ExecEnd, ExecError>>,
}

impl AgentTimes {
    /// What a guest under this accelerator needs.
    pub fn default_for(accel: Accel) -> AgentTimes {
        let seconds =
            |ask, silent| AgentTimes { ask: Duration::from_secs(ask), silent: Duration::from_secs(silent) };
        match accel {
            Accel::Kvm => seconds(5, 20),
            // An emulated guest that boots or swaps has been silent for half a minute.
            Accel::Tcg => seconds(10, 90),
        }
    }
}

impl Agents {
    /// Serves the channels in tasks of their own, inside a tokio runtime. `calls` gets what commands in the guest
    /// want of other guests; those that find it full are refused.
    pub fn start(
        ends: ChannelEnds,
        times: AgentTimes,
        calls: mpsc::Sender<GuestCall>,
    ) -> std::io::Result<Agents> {
        let ChannelEnds { guest_agent, exec } = ends;
        let channel = exec.map(|socket| Channel::start(socket, times, calls)).transpose()?;
        Ok(Agents { channel, qga: Qga::start(guest_agent, times)? })
    }

    /// Runs a command to its end. Dropping the future, or the sender of `input`, does not stop the command: a signal
    /// does. Our agent is tried first, then the qemu guest agent; `within` is how long either may take to answer.
    ///
    /// The qemu guest agent takes standard input whole, [`QGA_STDIN`](Self::QGA_STDIN) octets at most, and gives
    /// output when the command has ended and nothing that it left running keeps its output open.
    pub async fn exec(
        &self,
        request: ExecRequest,
        input: impl Into<Input>,
        output: mpsc::Sender<ExecOutput>,
        within: Duration,
    ) -> Result<ExecEnd, ExecError> {
        let input = input.into();
        if request.argv.is_empty() {
            return Err(ExecError::Refused("an empty command".into()));
        }
        let words = request.argv.iter().chain(request.user.iter()).chain(request.cwd.iter());
        let variables = request.env.iter().flat_map(|(name, value)| [name, value]);
        if words.chain(variables).any(|text| text.contains('\0')) {
            return Err(ExecError::Refused("a command's words cannot contain the character NUL".into()));
        }
        let Some(channel) = &self.channel else {
            self.qga.answers(within).await?;
            return self.qga.exec(request, input, output).await;
        };
        let ours = if channel.is_connected() { channel.answers(within).await } else { false };
        if !ours {
            // Whichever comes first: the guest may be about to start its agents.
            tokio::select! {
                biased;
                () = channel.connected() => {}
                answers = self.qga.answers(within) => return match answers {
                    Ok(()) => self.qga.exec(request, input, output).await,
                    Err(ExecError::NoAgent(reason)) => {
                        Err(ExecError::NoAgent(format!("{}; {reason}", channel.why_not())))
                    }
                    Err(error) => Err(error),
                },
            }
        }
        channel.exec(request, input, output, within).await
    }

    /// Whether our own agent is connected.
    pub fn is_connected(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::is_connected)
    }

    /// How often the guest's end of our own channel did what it must not, by kind. Each time the channel began anew.
    pub fn violations(&self) -> Vec<(Violation, u64)> {
        self.channel.as_ref().map(Channel::violations).unwrap_or_default()
    }

    /// How much standard input, in octets, is read ahead of what the guest has room for, so that a signal behind it is
    /// heard.
    pub const READ_AHEAD: usize = session::LOOKAHEAD;

    /// The most standard input, in octets, that a command gets over the qemu guest agent.
    pub const QGA_STDIN: usize = qga::MAX_STDIN;
}
