//! What a running bridge is asked over its [control socket](crate::control), and how.

use serde::{Deserialize, Serialize};

use super::Status;
use crate::control::{AskError, Kind, Reply, ask_all, ask_one};

/// What is asked of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who are you, and how do you do?
    Status,
    /// Come to an end. The answer comes when it has: then the port is free.
    Stop,
}

/// What a bridge answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How it does: after a stop, how it did.
    Status(Status),
    /// Nothing has happened.
    Refused(String),
}

impl Reply for Answer {
    fn refused(why: String) -> Self {
        Self::Refused(why)
    }
}

/// The bridges of this user that run on this host, in the order of their processes.
pub fn running() -> Vec<Status> {
    let answers = ask_all(Kind::Bridge, &Request::Status).into_iter();
    let mut bridges: Vec<Status> = answers
        .filter_map(|answer| if let Answer::Status(status) = answer { Some(status) } else { None })
        .collect();
    bridges.sort_by_key(|bridge| bridge.pid);
    bridges
}

/// Whether a process has the network that this one has: in another network namespace (network_namespaces(7)) it is as
/// good as on another host.
pub fn shares_network(process: u32) -> bool {
    let network = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net"));
    match (network("self"), network(&process.to_string())) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        // Who cannot be looked at is taken for a neighbour.
        _ => true,
    }
}

/// Asks the bridge that is this process, and waits as long as that takes.
///
/// # Errors
/// There is no such bridge, or it ends first.
pub fn ask(process: u32, request: &Request) -> Result<Answer, AskError> {
    ask_one(Kind::Bridge, process, request)
}
