//! Starting a part of a lab, and waiting until it is up.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::protocol::{Condition, Failure, Kind, MARK, Message, Start, State};
use super::place::Locked;
use super::{Agent, LOOK_EVERY, Process, home};
use crate::plan::{Place, Word};

/// What came of waiting.
enum Outcome {
    /// It is up.
    Up(Value),
    /// It ended before.
    Ended(Option<ExitStatus>),
    /// Nobody wants it any more.
    Unwanted,
}

impl Agent {
    /// Starts what is asked for, unless it runs already, and waits until it is up.
    pub(super) async fn start(
        &self,
        start: Start,
        mut gone: oneshot::Receiver<()>,
        say: &impl Fn(&Message),
    ) -> Result<Message, Failure> {
        let words = self.resolved(&start);
        if self.unit.kind == Kind::KernelBridge {
            return self.make_kernel_bridge(&words).await;
        }
        let busy = || format!("another `mvpnet lab` is at work on {}", self.unit.name);
        let locked = self.dir.lock()?.ok_or_else(busy)?;
        if let (Some(main), _) = self.processes() {
            return self.join(&main, &words, &mut gone, say).await;
        }
        self.strays_have_gone().await?;
        let mut child = match locked.fill(&start.files).and_then(|log| self.spawn(&start, &words, log)) {
            Ok(child) => child,
            Err(error) => {
                locked.remove()?;
                return Err(error.into());
            }
        };
        let outcome = self.wait(Some(&mut child), None, &mut gone, say).await;
        self.started(outcome, child.id(), locked).await
    }

    pub(super) fn resolved(&self, start: &Start) -> Vec<String> {
        let word = |word: &Word| {
            word.clone().resolve(Place::Home, &home()).resolve(Place::RunDir, self.dir.path()).text
        };
        start.words.iter().map(word).collect()
    }

    pub(super) fn spawn(&self, start: &Start, words: &[String], log: File) -> std::io::Result<Child> {
        let directory = if start.directory.is_dir() { start.directory.clone() } else { home() };
        let errors = log.try_clone()?;
        let mut command = self.command(words);
        command.env(MARK, &self.unit.name).current_dir(directory);
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        command.spawn()
    }

    /// What to answer when the program that was started is up, or not.
    async fn started(
        &self,
        outcome: Outcome,
        process: Option<u32>,
        locked: Locked,
    ) -> Result<Message, Failure> {
        let why = match outcome {
            Outcome::Up(details) => return Ok(Message::Started(up(process, details))),
            Outcome::Ended(status) => format!("`mvpnet {}` {}", self.unit.kind.command(), ended(status)),
            Outcome::Unwanted => "given up before it was up".to_owned(),
        };
        let lines = self.dir.last_lines();
        match self.end(false, Some(locked)).await {
            Ok(_) => Err(Failure { why, lines }),
            Err(failure) => Err(Failure { why: format!("{why}; {}", failure.why), lines }),
        }
    }

    /// Waits until what runs already is up: an agent may have been killed while it started it.
    async fn join(
        &self,
        main: &Process,
        words: &[String],
        gone: &mut oneshot::Receiver<()>,
        say: &impl Fn(&Message),
    ) -> Result<Message, Failure> {
        if main.words.get(self.program.len()..) != Some(words) {
            let why = format!(
                "`mvpnet {}` runs there as process {}, with other settings than the file's: `mvpnet lab down` first",
                self.unit.kind.command(),
                main.number
            );
            return Err(Failure { why, lines: Vec::new() });
        }
        match self.wait(None, Some(main), gone, say).await {
            Outcome::Up(details) => Ok(Message::Already(up(Some(main.number), details))),
            Outcome::Ended(_) => {
                let why = format!("`mvpnet {}` ended before it was up", self.unit.kind.command());
                Err(Failure { why, lines: self.dir.last_lines() })
            }
            Outcome::Unwanted => Err("given up before it was up".to_owned().into()),
        }
    }

    /// Waits for a child, or for another process.
    async fn wait(
        &self,
        mut child: Option<&mut Child>,
        other: Option<&Process>,
        gone: &mut oneshot::Receiver<()>,
        say: &impl Fn(&Message),
    ) -> Outcome {
        let number = child.as_ref().and_then(|child| child.id()).or_else(|| other.map(|other| other.number));
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // How a boot went that is over, or that somebody else began, is no news.
        let mut told = if other.is_some() { self.dir.lines_from(0).1 } else { 0 };
        loop {
            let ended = async {
                match &mut child {
                    Some(child) => child.wait().await.ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = &mut *gone => return Outcome::Unwanted,
                status = ended => return Outcome::Ended(status),
                _ = ticks.tick() => {}
            }
            if other.is_some_and(|other| !other.lives()) {
                return Outcome::Ended(None);
            }
            let details = match number {
                Some(number) => self.is_up(number).await,
                None => None,
            };
            // After the question: what it wrote on the way up is told before that it is up.
            let (lines, end) = self.dir.lines_from(told);
            told = end;
            lines.into_iter().for_each(|line| say(&Message::Progress(line)));
            if let Some(details) = details {
                return Outcome::Up(details);
            }
        }
    }

    /// Processes of a run that has ended go by themselves: guests' keepers tidy up.
    async fn strays_have_gone(&self) -> Result<(), Failure> {
        let mut ticks = interval(LOOK_EVERY);
        let gone = async {
            while !self.processes().1.is_empty() {
                ticks.tick().await;
            }
        };
        if timeout(self.times.strays, gone).await.is_ok() {
            return Ok(());
        }
        let numbers: Vec<String> = self.processes().1.iter().map(|stray| stray.number.to_string()).collect();
        let numbers = numbers.join(", ");
        Err(format!("processes of an earlier run are left: {numbers}; `mvpnet lab down --force` ends them")
            .into())
    }

    /// Lets the kernel's bridge be as it has to be, which takes no time.
    async fn make_kernel_bridge(&self, words: &[String]) -> Result<Message, Failure> {
        let before = self.state().await.condition == Condition::Up;
        let output = self.command(words).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
            return Err(Failure {
                why: format!("`mvpnet bridge --kernel` {}", ended(Some(output.status))),
                lines,
            });
        }
        let state = self.state().await;
        Ok(if before { Message::Already(state) } else { Message::Started(state) })
    }
}

fn up(process: Option<u32>, details: Value) -> State {
    State { condition: Condition::Up, process, details, strays: Vec::new(), lines: Vec::new() }
}

/// `ended with exit code 1`.
pub(super) fn ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("ended with exit code {code}"),
        Some((_, Some(signal))) => format!("was killed by signal {signal}"),
        _ => "ended".to_owned(),
    }
}
