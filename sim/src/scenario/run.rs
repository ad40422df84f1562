//! Running a scenario: its guests, links and changes on a [`Sim`], and what came of it.

use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_pcap::WriteError;
use mvpnet_switch::{Instant, Rank, World};

use super::check::Invalid;
use super::job::Job;
use super::programs::{self, Service};
use super::report::{Report, Row};
use super::station::Station;
use super::tally::Tally;
use super::{Kind, Scenario};
use crate::failure::Failure;
use crate::host::Host;
use crate::sim::Sim;

/// A scenario that is ready to run.
pub struct Run {
    scenario: Scenario,
    seed: u64,
    sim: Sim,
    tallies: Rc<[Tally]>,
    until: Duration,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario cannot run.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The simulation failed: a defect of mvpnet, or a capture that cannot be written. Nothing that a fault does to
    /// traffic is a failure.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Scenario {
    /// Runs it from its beginning to its end.
    ///
    /// # Errors
    ///
    /// If it cannot run, or the simulation fails.
    pub fn run(&self, seed: u64) -> Result<Report, RunError> {
        Ok(self.prepare(seed)?.run()?)
    }

    /// Makes everything ready to run it: for those who want a capture, look at the simulation, or add rules to it.
    ///
    /// # Errors
    ///
    /// If it cannot run; see [`check`](Scenario::check).
    pub fn prepare(&self, seed: u64) -> Result<Run, Invalid> {
        self.check()?;
        let mut sim = Sim::new(seed, self.ranks).mtu(self.mtu).links(self.links);
        for (at, change) in &self.changes {
            // It has been checked.
            let _ = sim.at(*at).change(change.clone());
        }
        let tallies: Rc<[Tally]> = self.traffic.iter().map(|_| Tally::default()).collect();
        let world = sim.world();
        self.tally_boots(world, &tallies);
        let shares = Shares::of(self, world, &tallies);
        for rank in world.ranks() {
            shares.settle(&mut sim, rank, &tallies);
        }
        Ok(Run { scenario: self.clone(), seed, sim, tallies, until: self.duration })
    }

    /// A host that never boots counts too.
    fn tally_boots(&self, world: World, tallies: &[Tally]) {
        for (traffic, tally) in self.traffic.iter().zip(tallies) {
            if matches!(traffic.kind, Kind::Boot) {
                traffic.from.of(world).iter().for_each(|_| tally.sent(Instant::ZERO, 1));
            }
        }
    }
}

/// What each rank has to do.
struct Shares {
    jobs: Vec<Vec<Job>>,
    services: Vec<Vec<Service>>,
    hosts: Vec<bool>,
}

impl Shares {
    fn of(scenario: &Scenario, world: World, tallies: &[Tally]) -> Shares {
        let size = world.size() as usize;
        let mut shares = Shares {
            jobs: vec![Vec::new(); size],
            services: vec![Vec::new(); size],
            hosts: vec![false; size],
        };
        for ((line, traffic), tally) in (0..).zip(&scenario.traffic).zip(tallies) {
            let senders = traffic.from.of(world);
            for from in senders.iter().filter_map(|from| world.rank(*from).ok()) {
                let job = Job::new(line, traffic, from, world, tally);
                if traffic.kind.needs_host() {
                    job.to.iter().for_each(|to| shares.serve(*to, line, traffic.kind));
                    shares.hosts[from.index() as usize] = true;
                }
                shares.jobs[from.index() as usize].push(job);
            }
        }
        shares
    }

    /// A rank answers one rank more.
    fn serve(&mut self, rank: u32, line: u32, kind: Kind) {
        let rank = rank as usize;
        self.hosts[rank] = true;
        match self.services[rank].last_mut() {
            Some(service) if service.line == line => service.clients += 1,
            _ => self.services[rank].push(Service { line, kind, clients: 1 }),
        }
    }

    /// Gives a rank its guest.
    fn settle(&self, sim: &mut Sim, rank: Rank, tallies: &Rc<[Tally]>) {
        let index = rank.index();
        let place = index as usize;
        let (on_host, raw): (Vec<Job>, Vec<Job>) =
            self.jobs[place].iter().cloned().partition(|job| job.kind.needs_host());
        let host = self.hosts[place].then(|| sim.host_of(index));
        if host.is_some() {
            let (jobs, services): (Rc<[Job]>, Rc<[Service]>) =
                (on_host.into(), self.services[place].clone().into());
            let tallies = tallies.clone();
            sim.host(index, async move |host: Host| {
                programs::boot(host, jobs.clone(), services.clone(), tallies.clone()).await
            });
        }
        let tallies = tallies.clone();
        sim.guest(index, move || Station::new(host.as_ref(), &raw, &tallies));
    }
}

impl Run {
    /// The same, ended after so much simulated time if that is less than the scenario's duration.
    #[must_use]
    pub fn until(self, until: Duration) -> Run {
        Run { until: until.min(self.scenario.duration), ..self }
    }

    /// The same, with a capture of all frames.
    ///
    /// # Errors
    ///
    /// If its beginning cannot be written.
    pub fn capture_to(self, sink: Box<dyn Write>) -> Result<Run, WriteError> {
        Ok(Run { sim: self.sim.capture_to(sink)?, ..self })
    }

    /// Keeps what happens when, for [`Report::history`] and the page.
    pub fn keep_history(&mut self) {
        self.sim.keep_history();
    }

    /// How much simulated time is to pass.
    pub fn duration(&self) -> Duration {
        self.until
    }

    /// The simulation, for rules and the like.
    pub fn sim(&mut self) -> &mut Sim {
        &mut self.sim
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// If the books do not balance, or the capture cannot be written.
    pub fn run(self) -> Result<Report, Failure> {
        self.run_watched(|_| {})
    }

    /// Runs to the end, and calls `watch` before everything that happens.
    ///
    /// # Errors
    ///
    /// If the books do not balance, or the capture cannot be written.
    pub fn run_watched(mut self, mut watch: impl FnMut(&Sim)) -> Result<Report, Failure> {
        self.sim.run_while(Instant::ZERO + self.until, |sim| {
            watch(sim);
            true
        })?;
        self.sim.check()?;
        let rows = self.scenario.traffic.iter().zip(self.tallies.iter());
        let rows = rows.map(|(traffic, tally)| Row::new(traffic, &tally.numbers())).collect();
        let traffic = self.sim.finish()?;
        Ok(Report::new(&self.scenario, self.seed, self.until, rows, traffic))
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("scenario", &self.scenario)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
