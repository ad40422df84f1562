//! The course of a job as rank 0 sees it: a state machine without clocks, sockets or processes.
//!
//! ```text
//! Gathering --all said hello--> Booting --all ready--> Running --application over,
//!     |                            |                      |      signal, last guest off, …
//!     | a problem                  | a guest failed       |
//!     +----------> Stopping <------+----------------------+
//!                     | all done and the application over
//!                     v
//!                  Finished(exit code)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::messages::{CounterList, Failure, Offloads, Order, Phase, Problem, Report};
use crate::control::JobState;

/// What the coordinator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this to every rank, this one included.
    Order(Order),
    /// Start the application.
    StartApplication,
    /// End the application.
    StopApplication {
        /// Whether to kill it at once.
        hurry: bool,
    },
    /// Show a rank's progress.
    Show {
        /// The rank.
        rank: u32,
        /// How far it is.
        phase: Phase,
    },
    /// Tell the user that this keeps the job from starting.
    Explain {
        /// The ranks concerned.
        ranks: Vec<u32>,
        /// What is wrong.
        problem: Problem,
    },
    /// Tell the user that a guest failed.
    Lament {
        /// The rank.
        rank: u32,
        /// What happened.
        failure: Failure,
    },
    /// Tell the user that all guests are up.
    AnnounceReady,
    /// Tell the user which rank is where, in the order of the ranks.
    AnnounceHosts(Vec<String>),
    /// Tell the user why the job ends.
    AnnounceShutdown {
        /// Why.
        reason: String,
    },
    /// All counters are in.
    Summarize(Vec<CounterList>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Gathering,
    Booting,
    Running,
    Stopping { hurry: bool },
    Finished,
}

#[derive(Clone, Debug, Default)]
struct RankState {
    host: Option<String>,
    problem: Option<Problem>,
    takes: Option<Offloads>,
    ready: bool,
    off: bool,
    counters: Option<CounterList>,
}

/// The course of one job.
#[derive(Debug)]
pub struct Coordinator {
    ranks: Vec<RankState>,
    stage: Stage,
    has_application: bool,
    application_runs: bool,
    exit_code: Option<i32>,
    briefing: Option<String>,
}

impl Coordinator {
    /// A job of `world` ranks that has not begun.
    pub fn new(world: u32, has_application: bool) -> Self {
        Self {
            ranks: vec![RankState::default(); world as usize],
            stage: Stage::Gathering,
            has_application,
            application_runs: false,
            exit_code: None,
            briefing: None,
        }
    }

    /// The same job, whose guests' configurations are made from this.
    pub fn with_briefing(self, briefing: Option<String>) -> Self {
        Self { briefing, ..self }
    }

    /// Takes in what `rank` reports; one outside the world is ignored.
    pub fn report(&mut self, rank: u32, report: Report) -> Vec<Action> {
        let Some(state) = self.ranks.get_mut(rank as usize) else { return Vec::new() };
        match report {
            Report::Hello { host, problem, takes } => {
                state.host = Some(host);
                state.problem = problem;
                state.takes = Some(takes);
                self.gathered()
            }
            Report::Phase(phase) => {
                state.ready |= matches!(phase, Phase::Ready { .. });
                state.off |= phase == Phase::Off;
                let mut actions = vec![Action::Show { rank, phase }];
                actions.extend(self.progress());
                actions
            }
            Report::Failed(failure) => self.failed(rank, failure),
            Report::ShutdownWanted { by, hurry } => self.stop(by, hurry, None),
            Report::Done { counters } => {
                state.counters = Some(counters);
                self.finish_if_over()
            }
        }
    }

    /// The application ended, with this exit code (128 + signal if it was killed).
    pub fn application_over(&mut self, code: i32) -> Vec<Action> {
        self.application_runs = false;
        if self.stage == Stage::Running {
            return self.stop(format!("the application ended with exit code {code}"), false, Some(code));
        }
        self.exit_code.get_or_insert(code);
        self.finish_if_over()
    }

    /// The application could not be started.
    pub fn application_failed(&mut self, why: &str) -> Vec<Action> {
        self.application_runs = false;
        self.stop(format!("the application could not be started: {why}"), false, Some(1))
    }

    /// The job's exit code so far: the application's, else 0, else 1 on any failure.
    pub fn exit_code(&self) -> i32 {
        self.exit_code.unwrap_or(0)
    }

    /// How far the job is.
    pub fn state(&self) -> JobState {
        match self.stage {
            Stage::Gathering => JobState::Starting,
            Stage::Booting => JobState::Booting,
            Stage::Running => JobState::Running,
            Stage::Stopping { .. } | Stage::Finished => JobState::Stopping,
        }
    }

    /// On how many hosts its ranks are, as far as they have said so.
    pub fn hosts(&self) -> u32 {
        let hosts: BTreeSet<&str> = self.ranks.iter().filter_map(|rank| rank.host.as_deref()).collect();
        u32::try_from(hosts.len()).unwrap_or(u32::MAX)
    }

    /// The host of a rank that has said so.
    pub fn host(&self, rank: u32) -> Option<&str> {
        self.ranks.get(rank as usize)?.host.as_deref()
    }

    fn gathered(&mut self) -> Vec<Action> {
        if self.stage != Stage::Gathering || self.ranks.iter().any(|rank| rank.host.is_none()) {
            return Vec::new();
        }
        let problems = self.problems();
        if problems.is_empty() {
            self.stage = Stage::Booting;
            let hosts = self.ranks.iter().filter_map(|rank| rank.host.clone()).collect();
            let fullest_host_ranks = self.fullest_host_ranks();
            let offloads = self.ranks.iter().filter_map(|rank| rank.takes).fold(Offloads::ALL, Offloads::and);
            let start = Order::Start { fullest_host_ranks, briefing: self.briefing.take(), offloads };
            return vec![Action::AnnounceHosts(hosts), Action::Order(start)];
        }
        let usage = problems.iter().any(|(problem, _)| problem.usage);
        self.stage = Stage::Finished;
        self.exit_code = Some(if usage { 2 } else { 1 });
        let mut actions: Vec<Action> =
            problems.into_iter().map(|(problem, ranks)| Action::Explain { ranks, problem }).collect();
        actions.push(Action::Order(Order::Finish { exit_code: self.exit_code() }));
        actions
    }

    /// Each different problem once, with the ranks that have it, in the order of the first of them.
    fn problems(&self) -> Vec<(Problem, Vec<u32>)> {
        let mut problems: Vec<(Problem, Vec<u32>)> = Vec::new();
        for (rank, state) in (0_u32..).zip(&self.ranks) {
            let Some(problem) = &state.problem else { continue };
            match problems.iter_mut().find(|(known, _)| known == problem) {
                Some((_, ranks)) => ranks.push(rank),
                None => problems.push((problem.clone(), vec![rank])),
            }
        }
        problems
    }

    fn fullest_host_ranks(&self) -> u32 {
        let mut hosts: BTreeMap<&str, u32> = BTreeMap::new();
        for host in self.ranks.iter().filter_map(|rank| rank.host.as_deref()) {
            *hosts.entry(host).or_default() += 1;
        }
        hosts.values().copied().max().unwrap_or(1)
    }

    fn progress(&mut self) -> Vec<Action> {
        if self.stage == Stage::Booting && self.ranks.iter().all(|rank| rank.ready) {
            self.stage = Stage::Running;
            let mut actions = vec![Action::AnnounceReady];
            if self.has_application {
                self.application_runs = true;
                actions.push(Action::StartApplication);
            }
            return actions;
        }
        let all_off = self.ranks.iter().all(|rank| rank.off);
        if all_off && matches!(self.stage, Stage::Booting | Stage::Running) {
            return self.stop("the last guest is off".into(), false, None);
        }
        Vec::new()
    }

    fn failed(&mut self, rank: u32, failure: Failure) -> Vec<Action> {
        let already_over = matches!(self.stage, Stage::Stopping { .. } | Stage::Finished);
        let mut actions = vec![Action::Lament { rank, failure }];
        if already_over {
            self.exit_code.get_or_insert(1);
        } else {
            actions.extend(self.stop(format!("the guest of rank {rank} failed"), false, Some(1)));
        }
        actions
    }

    fn stop(&mut self, reason: String, hurry: bool, code: Option<i32>) -> Vec<Action> {
        match self.stage {
            Stage::Finished => return Vec::new(),
            // Being asked again matters only when it is more urgent than before.
            Stage::Stopping { hurry: before } if before || !hurry => return Vec::new(),
            _ => {}
        }
        self.stage = Stage::Stopping { hurry };
        self.exit_code = self.exit_code.or(code);
        let mut actions = vec![Action::AnnounceShutdown { reason: reason.clone() }];
        if self.application_runs {
            actions.push(Action::StopApplication { hurry });
        }
        actions.push(Action::Order(Order::Shutdown { reason, hurry }));
        actions
    }

    fn finish_if_over(&mut self) -> Vec<Action> {
        let done = self.ranks.iter().all(|rank| rank.counters.is_some());
        if !done || self.application_runs || self.stage == Stage::Finished {
            return Vec::new();
        }
        self.stage = Stage::Finished;
        let counters = self.ranks.iter().filter_map(|rank| rank.counters.clone()).collect();
        vec![Action::Summarize(counters), Action::Order(Order::Finish { exit_code: self.exit_code() })]
    }
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
