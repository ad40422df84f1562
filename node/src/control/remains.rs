//! What of a job lives on this host, and how it is made to end when it does not end itself.

use mvpnet_qemu_driver::process::Process;
use mvpnet_qemu_driver::supervise::keepers_of;
use nix::sys::signal::Signal;

use super::known::Known;

/// The living processes of a job on this host. What runs under a keeper, a guest or the application, goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Those of its ranks.
    pub ranks: Vec<Process>,
    /// Those of its keepers.
    pub keepers: Vec<Process>,
}

/// All processes that a job has had here, so far as is known: none is taken for another that has its number later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    ranks: Vec<Process>,
}

impl Known {
    /// Its processes.
    pub fn members(&self) -> Members {
        let noted = self.records.iter().map(|found| found.record.process);
        let mut ranks: Vec<Process> = self.processes.iter().copied().chain(noted).collect();
        ranks.sort_unstable();
        ranks.dedup();
        Members { ranks }
    }
}

impl Members {
    /// The numbers of the ranks' processes, dead or alive.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.ranks.iter().map(|process| process.number)
    }

    /// Those that live.
    pub fn remains(&self) -> Remains {
        Remains {
            ranks: self.ranks.iter().copied().filter(|process| process.lives()).collect(),
            keepers: self.ranks.iter().flat_map(|process| keepers_of(*process)).collect(),
        }
    }

    /// Kills the ranks. Their keepers stop the guests and tidy up, some seconds long.
    pub fn kill_ranks(&self) {
        kill(&self.remains().ranks);
    }

    /// Kills the keepers too, and all that they keep with them. Nobody tidies up then.
    pub fn kill_keepers(&self) {
        kill(&self.remains().keepers);
    }
}

impl Remains {
    /// Whether nothing lives.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty() && self.keepers.is_empty()
    }
}

fn kill(processes: &[Process]) {
    for process in processes {
        // They are this user's; one that has become another user's since is left alone.
        if let Err(error) = process.signal(Signal::SIGKILL) {
            tracing::warn!("process {}: {error}", process.number);
        }
    }
}
