//! Starting a lab: the bridge, then all servers at once, and down again with what this call started if one of them
//! fails.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::call::{CallError, Caller};
use super::parts::{Part, bridge, servers};
use super::protocol::{Failure, Message, Request, State};
use super::{Failed, down};
use crate::plan::LabPlan;

/// What became of a part.
type Outcome = (Part, Result<Message, CallError>);

/// Starts what is missing of the lab, waits until all is up, and returns how its parts are; `directory` is where the
/// lab's file is.
///
/// # Errors
/// Something did not come up. What this call had started has been taken down again.
pub async fn up(plan: &LabPlan, directory: &Path, caller: &Caller) -> Result<Vec<(Part, State)>, Failed> {
    let keys = match new_keys() {
        Ok(keys) => keys,
        Err(error) => {
            caller.say(&format!("no randomness for the guests' keys: {error}"));
            return Err(Failed);
        }
    };
    let mut begun = Begun { parts: Vec::new(), states: Vec::new(), failed: false };
    begun.note(start(plan, directory, &keys, caller.clone(), bridge(plan)).await, caller);
    if !begun.failed {
        begun.all_servers(plan, directory, &keys, caller).await;
    }
    if begun.failed {
        begun.undo(caller).await;
        return Err(Failed);
    }
    Ok(begun.states)
}

/// What has been done so far.
struct Begun {
    /// What this call has started, in its order.
    parts: Vec<Part>,
    /// How the parts are, the bridge first.
    states: Vec<(Part, State)>,
    failed: bool,
}

impl Begun {
    /// Starts the guests of all servers at once, which each boot as long as they boot.
    async fn all_servers(&mut self, plan: &LabPlan, directory: &Path, keys: &str, caller: &Caller) {
        let (give_up, given_up) = watch::channel(false);
        let caller = caller.clone().until(given_up);
        let mut starting = JoinSet::new();
        for part in servers(plan) {
            let (plan, directory, caller) = (plan.clone(), directory.to_owned(), caller.clone());
            let keys = keys.to_owned();
            starting.spawn(async move { start(&plan, &directory, &keys, caller, part).await });
        }
        while let Some(started) = starting.join_next().await {
            match started {
                Ok(outcome) => self.note(outcome, &caller),
                Err(error) => {
                    caller.say(&format!("{error}"));
                    self.failed = true;
                }
            }
            if self.failed {
                // The others have nothing to wait for any more.
                let _ = give_up.send(true);
            }
        }
    }

    fn note(&mut self, (part, outcome): Outcome, caller: &Caller) {
        let place = &part.place;
        match outcome {
            Ok(Message::Started(state)) => {
                caller.say(&format!("{place}: {} {} up", part.title, part.verb()));
                self.parts.push(part.clone());
                self.states.push((part, state));
            }
            Ok(Message::Already(state)) => {
                caller.say(&format!("{place}: {} {} up already", part.title, part.verb()));
                self.states.push((part, state));
            }
            Err(error @ (CallError::Broken { .. } | CallError::Io(_))) => {
                // It may be there, or about to go.
                self.parts.push(part.clone());
                self.fail(&part, &error.to_string(), &[], caller);
            }
            // The others have been told to give up: what is said of them is what follows from the first.
            _ if self.failed => {}
            Ok(Message::Failed(Failure { why, lines })) => self.fail(&part, &why, &lines, caller),
            Ok(_) => self.fail(&part, "the answer does not belong to the question", &[], caller),
            Err(error) => self.fail(&part, &error.to_string(), &[], caller),
        }
    }

    fn fail(&mut self, part: &Part, why: &str, lines: &[String], caller: &Caller) {
        self.failed = true;
        caller.say(&format!("{}: cannot start {}: {why}", part.place, part.title));
        caller.say_lines(lines);
    }

    /// Takes down what this call has started, the bridge last.
    async fn undo(self, caller: &Caller) {
        if self.parts.is_empty() {
            return;
        }
        caller.say("taking down what was started");
        let (bridge, servers): (Vec<_>, Vec<_>) =
            self.parts.into_iter().partition(|part| part.server.is_none());
        let caller = caller.clone().persistent();
        for parts in [servers, bridge] {
            down::stop_all(parts, &caller, false).await;
        }
    }
}

async fn start(plan: &LabPlan, directory: &Path, keys: &str, caller: Caller, part: Part) -> Outcome {
    let request = Request::Start(Box::new(part.start(plan, directory, keys)));
    let place = part.place.clone();
    let tell = |line: String| {
        // How the boot goes; what else the program says is shown if it fails.
        if let Some(progress) = line.strip_prefix("mvpnet: booted ") {
            caller.say(&format!("{place}: booted {progress}"));
        }
    };
    let answer = caller.call(&part.target, request, tell).await;
    (part, answer)
}

/// What the keys of all guests follow from, for those that this call starts: 64 hexadecimal digits, as `--keys` reads them.
fn new_keys() -> std::io::Result<String> {
    let mut octets = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}
