//! Running a simulation, and how it ends.

use std::time::Duration;

use mvpnet_switch::Instant;

use super::Sim;
use crate::books::{self, Traffic};
use crate::failure::{Failure, FailureKind, Replay};

impl Sim {
    /// Runs until all clients have ended, then checks the books.
    pub fn run(&mut self) -> Result<(), Failure> {
        let limit = self.time_limit;
        self.run_while(Instant::ZERO + limit, |sim| sim.progress.borrow().has_clients())?;
        let ranks = self.progress.borrow().waiting();
        if !ranks.is_empty() {
            return Err(self.failure(FailureKind::Timeout { ranks, limit }));
        }
        self.check()
    }

    /// Runs for so long, whatever clients do, then checks the books.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Failure> {
        let until = self.world.now + duration;
        self.run_while(until, |_| true)?;
        self.world.now = until;
        self.check()
    }

    /// Runs until nothing is left to happen, or for so long at most.
    pub fn run_until_quiet(&mut self, at_most: Duration) -> Result<(), Failure> {
        let until = self.world.now + at_most;
        self.run_while(until, |_| true)?;
        self.check()
    }

    /// Runs as long as `go_on` says, and there is something to happen that is not later than `until`.
    pub fn run_while(&mut self, until: Instant, mut go_on: impl FnMut(&Sim) -> bool) -> Result<(), Failure> {
        self.start();
        // Hosts that the test itself has told something go on, though nothing else may be planned that would let them.
        self.world.wake_ready();
        self.check_programs()?;
        while go_on(self) && self.world.step(until) {
            let mut has_called = false;
            while let Some(index) = self.world.take_calls() {
                has_called = true;
                if let Some(call) = self.calls[index].take() {
                    call(self);
                }
            }
            if has_called {
                self.world.wake_ready();
            }
            self.check_programs()?;
        }
        Ok(())
    }

    /// Whether a program has failed.
    fn check_programs(&mut self) -> Result<(), Failure> {
        let failed = self.progress.borrow_mut().failed.take();
        failed.map_or(Ok(()), |(rank, error)| Err(self.failure(FailureKind::Task { rank, error })))
    }

    pub(super) fn start(&mut self) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.world.begin();
    }

    /// Checks that the books of the whole world balance, and what an [`audit`](Sim::audit) has found.
    pub fn check(&self) -> Result<(), Failure> {
        let switches = self.world.nodes.iter().map(|node| &node.switch);
        books::check(switches, &self.world.traffic)
            .map_err(|error| self.failure(FailureKind::Books(error)))?;
        self.check_audit()
    }

    /// Ends the capture, so that its file is complete.
    pub fn finish(mut self) -> Result<Traffic, Failure> {
        if let Some(capture) = self.world.capture.take() {
            capture.finish().map_err(|error| self.failure(FailureKind::Capture(error)))?;
        }
        Ok(std::mem::take(&mut self.world.traffic))
    }

    pub(crate) fn failure(&self, kind: FailureKind) -> Failure {
        Failure { seed: self.world.seed, at: self.world.now, kind, replay: Replay }
    }
}
