//! What a session is for, and how it ended.

use mvpnet_qemu_driver::agent::ExecRequest;
use serde::{Deserialize, Serialize};

/// What a client wants of a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRequest {
    /// The rank, by its number in the guests' network.
    pub rank: u32,
    /// What of it.
    pub service: Service,
}

/// What ranks serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// A command in the guest. Its output and errors come as data of both kinds.
    Exec(ExecRequest),
    /// The guest's console: what is kept of it, then what comes. Data goes to the guest as if typed.
    Console {
        /// Whether to go on after what is kept.
        follow: bool,
    },
    /// The guest's ssh port.
    Port,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command ended by itself, with this code.
    Exited(i32),
    /// This signal killed the command.
    Killed(i32),
    /// There was no more to come.
    Closed,
    /// It was refused, or broken off.
    Failed(String),
}

impl Service {
    /// What it is called in messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Console { .. } => "console",
            Self::Port => "port",
        }
    }
}
