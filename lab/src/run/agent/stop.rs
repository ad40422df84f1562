//! Ending a part of a lab, until nothing of it is left: neither process nor file.

use std::process::Stdio;
use std::time::Duration;

use mvpnet_node::control::{JobState, Known, clear, known};
use nix::sys::signal::Signal;
use tokio::time::{Instant, interval};

use super::super::protocol::{Failure, Kind};
use super::place::Locked;
use super::start::ended;
use super::{Agent, LOOK_EVERY, Process, Times};

/// How far the end has come.
struct End {
    times: Times,
    begun: Instant,
    /// Since when only strays are left.
    orphaned: Option<Instant>,
    /// Who has been asked, and who has been killed.
    asked: Vec<Process>,
    killed: Vec<Process>,
}

impl Agent {
    /// Ends it. Whether there was anything to end.
    pub(super) async fn stop(&self, force: bool) -> Result<bool, Failure> {
        match self.unit.kind {
            // It may have run as a program before its file said otherwise.
            Kind::KernelBridge => Ok(self.remove_kernel_bridge().await? | self.end(force, None).await?),
            Kind::Job | Kind::Bridge => self.end(force, None).await,
        }
    }

    /// Ends it, with the lock of its directory or without.
    pub(super) async fn end(&self, force: bool, mut locked: Option<Locked>) -> Result<bool, Failure> {
        let mut there_was = self.dir.exists();
        let mut end = End::new(self.times);
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let (main, others) = self.processes();
            there_was |= main.is_some() || !others.is_empty();
            if main.is_none() && others.is_empty() {
                if locked.is_none() && !self.dir.exists() {
                    return Ok(there_was);
                }
                locked = match locked {
                    None => self.dir.lock()?,
                    held => held,
                };
                // Who had the lock may have started something just before.
                if let Some(held) = locked.take_if(|_| self.processes() == (None, Vec::new())) {
                    self.clear()?;
                    held.remove()?;
                    return Ok(there_was);
                }
            }
            end.go_on(force, main, others)?;
        }
    }

    /// Removes what a job noted down and could not remove itself, because it and its keepers were killed.
    fn clear(&self) -> Result<(), Failure> {
        if self.unit.kind != Kind::Job {
            return Ok(());
        }
        let is_it = |job: &Known| {
            job.info.state == JobState::Dead && job.info.name.as_ref() == Some(&self.unit.called)
        };
        let lines: Vec<String> = known().iter().filter(|job| is_it(job)).flat_map(clear).collect();
        if lines.is_empty() {
            return Ok(());
        }
        Err(Failure { why: "files of it are left".to_owned(), lines })
    }

    async fn remove_kernel_bridge(&self) -> Result<bool, Failure> {
        let there_was = self.state().await.condition != super::super::protocol::Condition::Absent;
        let words = ["bridge", "down", "--name", &self.unit.called].map(str::to_owned);
        let output = self.command(&words).stdin(Stdio::null()).output().await?;
        if output.status.success() {
            return Ok(there_was);
        }
        let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        Err(Failure { why: format!("`mvpnet bridge down` {}", ended(Some(output.status))), lines })
    }
}

impl End {
    fn new(times: Times) -> End {
        End { times, begun: Instant::now(), orphaned: None, asked: Vec::new(), killed: Vec::new() }
    }

    /// Does what it is time for.
    fn go_on(&mut self, force: bool, main: Option<Process>, others: Vec<Process>) -> Result<(), Failure> {
        let Some(main) = main else { return self.strays(others) };
        self.orphaned = None;
        if force || self.begun.elapsed() > self.times.grace {
            self.kill(main)?;
        } else if !self.asked.contains(&main) {
            main.signal(Signal::SIGTERM)?;
            self.asked.push(main);
        }
        self.patience(self.times.grace)
    }

    /// What a dead program has left goes by itself, if it is not too late for that.
    fn strays(&mut self, strays: Vec<Process>) -> Result<(), Failure> {
        let since = *self.orphaned.get_or_insert_with(Instant::now);
        if since.elapsed() > self.times.strays {
            strays.into_iter().try_for_each(|stray| self.kill(stray))?;
        }
        self.patience(self.times.grace + self.times.strays)
    }

    fn kill(&mut self, process: Process) -> Result<(), Failure> {
        if !self.killed.contains(&process) {
            process.signal(Signal::SIGKILL)?;
            self.killed.push(process);
        }
        Ok(())
    }

    /// Nothing is waited for without end.
    fn patience(&self, more: Duration) -> Result<(), Failure> {
        if self.begun.elapsed() <= more + self.times.patience {
            return Ok(());
        }
        let left: Vec<String> = self
            .killed
            .iter()
            .filter(|process| process.lives())
            .map(|process| process.number.to_string())
            .collect();
        Err(match left.is_empty() {
            true => "another `mvpnet lab` is at work on it and does not end".to_owned().into(),
            false => {
                format!("processes that do not even end when they are killed: {}", left.join(", ")).into()
            }
        })
    }
}
