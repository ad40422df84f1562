//! The simulated cluster: hosts of the simulation that do what a test tells them.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_switch::Instant;
use mvpnet_transports::link::Change;

use super::programs::Programs;
use super::{Cluster, ClusterError, EXEC_TIME, Output, PING_TIME};
use crate::{GuestState, Host, Sim};

/// How much simulated time a host may take to boot.
const BOOT_TIME: Duration = Duration::from_secs(60);

/// A cluster that is simulated. Each guest is a [`Host`]: it answers pings, and runs the programs that the test has
/// given to [`program`](SimCluster::program), beside `ping`, `hostname`, `true` and `false`.
pub struct SimCluster {
    sim: Sim,
    programs: Programs,
    /// How often each host has come up.
    boots: Rc<RefCell<Vec<u32>>>,
}

impl SimCluster {
    /// A cluster of this many hosts with ideal links, all of them up.
    ///
    /// # Errors
    /// The simulation fails.
    ///
    /// # Panics
    /// If there cannot be a job of this many ranks.
    pub fn new(seed: u64, size: u32) -> Result<SimCluster, ClusterError> {
        SimCluster::over(Sim::new(seed, size))
    }

    /// A cluster of all ranks of a simulation, which may have servers on them already. It waits until all hosts are
    /// up.
    ///
    /// # Errors
    /// The simulation fails, or a host does not come up.
    pub fn over(mut sim: Sim) -> Result<SimCluster, ClusterError> {
        let size = sim.world().size();
        let boots = Rc::new(RefCell::new(vec![0; size as usize]));
        for rank in 0..size {
            let boots = boots.clone();
            sim.host(rank, async move |host: Host| {
                boots.borrow_mut()[host.rank() as usize] += 1;
                Ok(())
            });
        }
        let mut cluster = SimCluster { sim, programs: Programs::default(), boots };
        (0..size).try_for_each(|rank| cluster.wait_for_boot(rank, 0))?;
        Ok(cluster)
    }

    /// Gives all hosts a program. It is told the words behind its name.
    pub fn program<F>(&mut self, name: &str, run: F)
    where
        F: AsyncFn(Host, Vec<String>) -> Output + Clone + 'static,
    {
        self.programs.add(name, run);
    }

    /// The simulation, to be looked at or told what a cluster has no word for.
    pub fn sim(&mut self) -> &mut Sim {
        &mut self.sim
    }

    /// Waits until a host has come up more often than so many times.
    fn wait_for_boot(&mut self, rank: u32, before: u32) -> Result<(), ClusterError> {
        let (until, boots) = (self.sim.now() + BOOT_TIME, self.boots.clone());
        let is_down = |_: &Sim| boots.borrow()[rank as usize] == before;
        self.sim.run_while(until, is_down)?;
        if boots.borrow()[rank as usize] == before {
            return Err(unreachable(rank, "it does not come up"));
        }
        Ok(())
    }

    /// Runs something on a host until it ends, or for so long.
    fn run_on<T: 'static, F>(
        &mut self,
        rank: u32,
        limit: Duration,
        work: impl FnOnce(Host) -> F,
    ) -> Result<Option<T>, ClusterError>
    where
        F: Future<Output = T> + 'static,
    {
        if rank >= self.size() {
            return Err(unreachable(rank, "there is no such guest"));
        }
        match self.sim.state(rank) {
            GuestState::Up => {}
            GuestState::Paused => return Err(unreachable(rank, "it stands still")),
            GuestState::Down | GuestState::Absent => return Err(unreachable(rank, "it has crashed")),
        }
        let result = Rc::new(RefCell::new(None));
        let host = self.sim.host_of(rank);
        let (work, place) = (work(host.clone()), result.clone());
        host.spawn(async move {
            let value = work.await;
            *place.borrow_mut() = Some(value);
            Ok(())
        });
        let until = self.sim.now() + limit;
        self.sim.run_while(until, |_| result.borrow().is_none())?;
        let done = result.borrow_mut().take();
        if done.is_none() {
            self.pass_until(until)?;
        }
        Ok(done)
    }

    fn pass_until(&mut self, until: Instant) -> Result<(), ClusterError> {
        let rest = until.saturating_since(self.sim.now());
        Ok(self.sim.run_for(rest)?)
    }
}

impl Cluster for SimCluster {
    fn size(&self) -> u32 {
        self.sim.world().size()
    }

    fn ping(&mut self, from: u32, to: u32) -> Result<Duration, ClusterError> {
        if to >= self.size() {
            return Err(unreachable(to, "there is no such guest"));
        }
        let asked = self.run_on(from, PING_TIME, |host| async move {
            host.ping(host.address_of(to), PING_TIME).await.ok()
        })?;
        asked.flatten().ok_or(ClusterError::NoAnswer { from, to })
    }

    fn exec(&mut self, rank: u32, command: &str) -> Result<Output, ClusterError> {
        let programs = self.programs.clone();
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let ended = self.run_on(rank, EXEC_TIME, |host| async move { programs.run(host, words).await })?;
        ended.ok_or_else(|| ClusterError::TimeOut { rank, command: command.to_owned() })
    }

    fn change(&mut self, change: &Change) -> Result<(), ClusterError> {
        let before = self.boots.borrow().clone();
        self.sim.change(change)?;
        if let Change::Restart(ranks) = change {
            let world = self.sim.world();
            for rank in ranks.iter(world) {
                self.wait_for_boot(rank.index(), before[rank.index() as usize])?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, duration: Duration) -> Result<(), ClusterError> {
        Ok(self.sim.run_for(duration)?)
    }
}

fn unreachable(rank: u32, why: &str) -> ClusterError {
    ClusterError::Unreachable { rank, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_on_hosts_and_outlive_restarts() {
        let mut cluster = SimCluster::new(3, 2).unwrap();
        cluster.program("where", async |host: Host, words: Vec<String>| {
            host.sleep(Duration::from_secs(1)).await;
            Output::success(format!("{words:?} at {}", host.rank()))
        });
        for _ in 0..2 {
            let said = cluster.exec(1, "where am i").unwrap();
            assert_eq!(said, Output::success("[\"am\", \"i\"] at 1"));
            cluster.restart(1).unwrap();
        }
        assert_eq!(cluster.exec(0, "nothing").unwrap().status, 127);
    }

    #[test]
    fn a_guest_that_is_not_there_is_not_told_anything() {
        let mut cluster = SimCluster::new(3, 2).unwrap();
        for (words, why) in [("crash 1", "it has crashed"), ("restart 1", ""), ("pause 1", "it stands still")]
        {
            cluster.say(words).unwrap();
            let said = cluster.exec(1, "true");
            assert_eq!(said.is_ok(), why.is_empty(), "{words}: {said:?}");
            if let Err(error) = said {
                assert!(error.to_string().ends_with(why), "{error}");
            }
            assert_eq!(cluster.ping(0, 1).is_ok(), why.is_empty(), "{words}");
        }
        assert!(matches!(cluster.ping(0, 7), Err(ClusterError::Unreachable { rank: 7, .. })));
        assert!(matches!(cluster.kill(7), Err(ClusterError::Change(_))));
    }

    #[test]
    fn a_command_that_does_not_end_is_not_waited_for_forever() {
        let mut cluster = SimCluster::new(3, 2).unwrap();
        cluster.program("hang", async |_: Host, _: Vec<String>| std::future::pending().await);
        let before = cluster.sim().now();
        assert!(matches!(cluster.exec(0, "hang"), Err(ClusterError::TimeOut { rank: 0, .. })));
        assert_eq!(cluster.sim().now(), before + EXEC_TIME);
    }
}
