//! What is said between `mvpnet lab` and the agents on its hosts: each message is a line of JSON.
//!
//! An agent is asked one thing, on its standard input. It says how that goes, then answers, and ends. Should its
//! standard input end before, it undoes what it has begun: whoever asked is gone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{SeedFile, Word};

/// What an agent is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The version of the program that asks. Agents of others refuse: words and messages may differ.
    pub version: String,
    /// What it asks for.
    pub request: Request,
}

/// What is asked of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Let this run, and say when it is up.
    Start(Box<Start>),
    /// How is it?
    State(Unit),
    /// Let it end, and leave nothing.
    Stop {
        /// What.
        unit: Unit,
        /// Kill it; guests are not shut down.
        force: bool,
    },
}

/// A part of a lab: the bridge, or the guests of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name, which no other part of any lab of this user has on the host.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What the job or the bridge is called.
    pub called: String,
}

/// What a part of a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `mvpnet up`.
    Job,
    /// `mvpnet bridge`.
    Bridge,
    /// `mvpnet bridge --kernel`, which has no process.
    KernelBridge,
}

impl Kind {
    /// The subcommand.
    pub fn command(self) -> &'static str {
        match self {
            Kind::Job => "up",
            Kind::Bridge | Kind::KernelBridge => "bridge",
        }
    }
}

/// What is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// As what.
    pub unit: Unit,
    /// The command line, without the program.
    pub words: Vec<Word>,
    /// Files that it needs, below its run directory.
    pub files: Vec<SeedFile>,
    /// Where it runs if there is such a directory, else in the user's home.
    pub directory: PathBuf,
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// How it goes. More follows.
    Progress(String),
    /// To [`Request::Start`]: it runs, because of this request.
    Started(State),
    /// To [`Request::Start`]: it ran already.
    Already(State),
    /// To [`Request::State`].
    State(State),
    /// To [`Request::Stop`]: nothing of it is left. Whether there was anything.
    Stopped(bool),
    /// It cannot be done; what was begun is undone.
    Failed(Failure),
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The reason.
    pub why: String,
    /// The last lines that the program wrote.
    pub lines: Vec<String>,
}

/// How a part of a lab is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// In a word.
    pub condition: Condition,
    /// Its process.
    pub process: Option<u32>,
    /// What it says of itself.
    pub details: Value,
    /// Processes that it has left behind.
    pub strays: Vec<u32>,
    /// The last lines that it wrote, unless all is well.
    pub lines: Vec<String>,
}

/// How a part of a lab is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// There is nothing.
    Absent,
    /// It runs, and is not up yet.
    Starting,
    /// It is up.
    Up,
    /// Its process lives but answers no questions.
    Silent,
    /// It has ended by itself, and something of it is left.
    Ended,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Condition::Absent => "not running",
            Condition::Starting => "starting",
            Condition::Up => "up",
            Condition::Silent => "silent",
            Condition::Ended => "ended",
        })
    }
}

/// The variable that marks the processes of a part, with its name.
pub const MARK: &str = "MVPNET_LAB_PART";

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use mvpnet_node::control::line;

    use super::*;

    #[test]
    fn a_call_is_one_line_whatever_is_in_it() {
        let unit = Unit { name: "demo.bridge".into(), kind: Kind::Bridge, called: "demo".into() };
        let start =
            Start { unit, words: vec![Word::plain("a\nb \"c\"")], files: Vec::new(), directory: "/".into() };
        let call = Call { version: VERSION.into(), request: Request::Start(Box::new(start)) };
        let said = line(&call);
        assert_eq!(said.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Call>(&said).unwrap(), call);
    }
}
