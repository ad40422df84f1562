//! How a part of a lab is: whether its process lives, and what it answers when it is asked.

use std::process::Stdio;
use std::time::Duration;

use mvpnet_node::control;
use serde_json::Value;
use tokio::time::timeout;

use super::super::protocol::{Condition, Kind, State};
use super::Agent;

/// How long a bridge may take to say how it is. It answers at once; a host may be loaded.
const ANSWER_TIME: Duration = Duration::from_secs(10);

impl Agent {
    /// How it is.
    pub(super) async fn state(&self) -> State {
        if self.unit.kind == Kind::KernelBridge {
            let details = self.bridge_status().await;
            let condition = if details.is_some() { Condition::Up } else { Condition::Absent };
            return State { details: details.unwrap_or_default(), ..plain(condition) };
        }
        let (main, others) = self.processes();
        let Some(main) = main else {
            return self.without_process(others.iter().map(|stray| stray.number).collect());
        };
        let details = self.is_up(main.number).await;
        let answers = match self.unit.kind {
            Kind::Job => control::running().iter().any(|job| job.process == main.number),
            Kind::Bridge | Kind::KernelBridge => details.is_some(),
        };
        let condition = match (details.is_some(), answers) {
            (true, true) => Condition::Up,
            (true, false) => Condition::Silent,
            // A bridge that lives and says nothing: it may just have begun.
            (false, _) => Condition::Starting,
        };
        State {
            process: Some(main.number),
            details: details.unwrap_or_default(),
            lines: if condition == Condition::Up { Vec::new() } else { self.dir.last_lines() },
            ..plain(condition)
        }
    }

    fn without_process(&self, strays: Vec<u32>) -> State {
        if strays.is_empty() && !self.dir.exists() {
            return plain(Condition::Absent);
        }
        // Somebody who has the lock is about to start it, or has just ended it.
        let is_worked_on = self.dir.exists() && matches!(self.dir.lock(), Ok(None));
        let condition = if is_worked_on { Condition::Starting } else { Condition::Ended };
        State { strays, lines: self.dir.last_lines(), ..plain(condition) }
    }

    /// What this process says of itself, if all of it is up.
    pub(super) async fn is_up(&self, process: u32) -> Option<Value> {
        match self.unit.kind {
            Kind::Job => self.dir.ready().filter(|ready| is_of(ready, "process", process)),
            Kind::Bridge => self.bridge_status().await.filter(|status| is_of(status, "pid", process)),
            Kind::KernelBridge => None,
        }
    }

    /// What `mvpnet bridge status` says.
    async fn bridge_status(&self) -> Option<Value> {
        let words = ["bridge", "status", "--name", &self.unit.called, "--json"].map(str::to_owned);
        let mut command = self.command(&words);
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = timeout(ANSWER_TIME, command.output()).await.ok()?.ok()?;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
    }
}

/// Whether a description is that of this process, not of one that is gone.
fn is_of(description: &Value, key: &str, process: u32) -> bool {
    description[key].as_u64() == Some(u64::from(process))
}

fn plain(condition: Condition) -> State {
    State { condition, process: None, details: Value::Null, strays: Vec::new(), lines: Vec::new() }
}
