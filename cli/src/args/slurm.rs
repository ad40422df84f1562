//! What a Slurm allocation gives to the guests where flags say nothing: memory and CPUs, and the time that is left.
//!
//! Pure: from the environment of a step or a batch script (srun(1), sbatch(1)), from what `scontrol show` prints, and
//! from the limits of the control group. Who asks Slurm is `run/slurm.rs`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::HostDefaults;
use super::options::Options;
use crate::progress::clock;

/// A guest's memory in MiB where neither flags nor an allocation say.
const MEMORY_MIB: u32 = 4096;

/// Memory of the allocation that a guest does not get, in MiB at least: qemu without the guest's own memory and the
/// rank beside it have 150 to 200 MiB, in software emulation more with every page of code that the guest runs.
const ROOM_MIB: u64 = 256;
/// The same as a part of the guest's share: page tables, caches and the copies of frames grow with the guest.
const ROOM_PART: u64 = 10;
/// A guest has so much, however little there is.
const LEAST_MIB: u64 = 64;

/// KillWait where nobody says (slurm.conf(5)).
const KILL_WAIT: Duration = Duration::from_secs(30);

/// What the environment of a process within an allocation says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlurmEnv {
    /// The job's number.
    pub job: String,
    /// How many tasks its job or step has.
    pub tasks: Option<u32>,
    cpus_per_task: Option<u32>,
    cpus_here: Option<u32>,
    memory: Option<Memory>,
}

/// Memory as it was asked for, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Memory {
    PerNode(u64),
    PerCpu(u64),
}

/// What Slurm says when it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlurmFacts {
    memory: Option<Memory>,
    seconds_left: Option<u64>,
    has_no_limit: bool,
    kill_wait: Option<u64>,
}

/// The part of an allocation that is on one host, and the ranks that share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// The job's number.
    pub job: String,
    /// The ranks on this host.
    pub ranks: Vec<u32>,
    /// The memory that they have together, in MiB.
    pub memory_mib: Option<u64>,
    /// The CPUs of each.
    pub cpus: Option<u32>,
}

impl SlurmEnv {
    /// Reads the environment of this process. None outside of an allocation, and also where somebody has an allocation
    /// but is not on one of its nodes, as in salloc(1).
    pub fn read() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// [`SlurmEnv::read`] over any environment.
    pub fn of(var: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| var(name)?.trim().parse::<u32>().ok().filter(|number| *number > 0);
        var("SLURMD_NODENAME")?;
        let per_node = number("SLURM_MEM_PER_NODE").map(|mib| Memory::PerNode(mib.into()));
        Some(Self {
            job: var("SLURM_JOB_ID").filter(|job| job.bytes().all(|byte| byte.is_ascii_digit()))?,
            tasks: number("SLURM_NTASKS"),
            cpus_per_task: number("SLURM_CPUS_PER_TASK"),
            cpus_here: number("SLURM_CPUS_ON_NODE"),
            memory: per_node.or_else(|| number("SLURM_MEM_PER_CPU").map(|mib| Memory::PerCpu(mib.into()))),
        })
    }

    /// The part on this host for these ranks. `in_one_process`: they are one task together. `limit_mib` is what the
    /// host enforces besides.
    pub fn portion(
        &self,
        facts: &SlurmFacts,
        ranks: Vec<u32>,
        in_one_process: bool,
        limit_mib: Option<u64>,
    ) -> Portion {
        let count = u32::try_from(ranks.len()).unwrap_or(u32::MAX).max(1);
        let share = self.cpus_here.map(|cpus| (cpus / count).max(1));
        let cpus = match (self.cpus_per_task, share) {
            (_, share) if in_one_process => share,
            // An mpirun may start more ranks than there are tasks.
            (Some(cpus), Some(share)) => Some(cpus.min(share)),
            (cpus, _) => cpus,
        };
        let memory = self.memory.or(facts.memory).and_then(|memory| match memory {
            Memory::PerNode(mib) => Some(mib),
            Memory::PerCpu(mib) => Some(mib * u64::from(self.cpus_here?)),
        });
        let memory_mib = memory.into_iter().chain(limit_mib).min();
        Portion { job: self.job.clone(), ranks, memory_mib, cpus }
    }
}

impl SlurmFacts {
    /// From what `scontrol --oneliner show job` and `scontrol show config` print.
    pub fn of(job: &str, config: &str) -> Self {
        let field = |name: &str| {
            let of = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
            job.split_whitespace().find_map(of)
        };
        let memory = |name: &str| mebibytes(&field(name)?).filter(|mib| *mib > 0);
        let seconds = |name: &str| seconds(&field(name)?);
        let left = seconds("TimeLimit").zip(seconds("RunTime")).map(|(limit, run)| limit.saturating_sub(run));
        // Who asks for no certain amount has all of the node, which only the sum over the nodes shows.
        let of_all = || {
            let sum = field("TRES")?.split(',').find_map(|part| mebibytes(part.strip_prefix("mem=")?))?;
            let nodes: u64 = field("NumNodes")?.parse().ok()?;
            sum.checked_div(nodes)
        };
        let kill_wait =
            config.lines().find_map(|line| line.strip_prefix("KillWait")?.split_whitespace().nth(1));
        Self {
            memory: memory("MinMemoryNode")
                .or_else(|| of_all().filter(|_| memory("MinMemoryCPU").is_none()))
                .map(Memory::PerNode)
                .or_else(|| memory("MinMemoryCPU").map(Memory::PerCpu)),
            seconds_left: left,
            has_no_limit: field("TimeLimit").is_some_and(|limit| limit == "UNLIMITED"),
            kill_wait: kill_wait.and_then(|seconds| seconds.parse().ok()),
        }
    }

    /// How long the job may still run; none: for ever, or nobody knows.
    pub fn time_left(&self) -> Option<Duration> {
        self.seconds_left.map(Duration::from_secs)
    }

    /// Whether the job may run for ever.
    pub fn has_no_limit(&self) -> bool {
        self.has_no_limit
    }

    /// How long after SIGTERM processes are killed.
    pub fn kill_wait(&self) -> Duration {
        self.kill_wait.map_or(KILL_WAIT, Duration::from_secs)
    }
}

impl Portion {
    /// The memory of each guest that has not its own by flag, which `given` tells.
    pub fn memory_of_each(&self, given: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let given: Vec<u64> = self.ranks.iter().filter_map(|rank| given(*rank)).map(u64::from).collect();
        let others =
            (self.ranks.len() as u64).checked_sub(given.len() as u64).filter(|others| *others > 0)?;
        let taken: u64 = given.iter().map(|mib| mib + ROOM_MIB).sum();
        let share = self.memory_mib?.saturating_sub(taken) / others;
        let room = (share / ROOM_PART).max(ROOM_MIB);
        u32::try_from(share.saturating_sub(room).max(LEAST_MIB)).ok()
    }
}

impl Options {
    pub(super) fn memory_of(&self, rank: u32, host: &HostDefaults) -> u32 {
        let given = |rank| self.memory_mib.of(rank).copied();
        given(rank).or_else(|| host.portion.as_ref()?.memory_of_each(given)).unwrap_or(MEMORY_MIB)
    }

    pub(super) fn smp_of(&self, rank: u32, host: &HostDefaults) -> String {
        let of_portion = || host.portion.as_ref().and_then(|portion| portion.cpus).unwrap_or(1).to_string();
        self.smp.of(rank).cloned().unwrap_or_else(of_portion)
    }

    /// What the guests have from `portion`, since flags do not say, for the user; `left` is the job's time.
    pub fn told_of(&self, portion: &Portion, left: Option<Duration>) -> String {
        let given = |rank| self.memory_mib.of(rank).copied();
        let mut taken = Vec::new();
        if let Some((each, all)) = portion.memory_of_each(given).zip(portion.memory_mib) {
            let guests = match portion.ranks.len() {
                1 => "one guest".to_owned(),
                count => format!("{count} guests"),
            };
            taken.push(format!("-m {each} (of {all} MiB for {guests} on this host)"));
        }
        if let Some(cpus) = portion.cpus
            && portion.ranks.iter().any(|rank| self.smp.of(*rank).is_none())
        {
            taken.push(format!("-v {cpus}"));
        }
        taken.extend(left.map(|left| format!("{} of time left", clock(left))));
        if taken.is_empty() {
            taken.push("nothing that flags do not say".to_owned());
        }
        let mut text = format!("from Slurm's job {}: {}", portion.job, taken.join(", "));
        let wanted: u64 = portion.ranks.iter().filter_map(|rank| given(*rank)).map(u64::from).sum();
        if let Some(all) = portion.memory_mib.filter(|all| *all < wanted) {
            let _ = write!(
                text,
                "; -m asks for {wanted} MiB on this host, where the job has {all}: Slurm may kill it"
            );
        }
        text
    }
}

/// `1000M`, `1.50G`; a number alone is mebibytes.
fn mebibytes(text: &str) -> Option<u64> {
    let (number, scale) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1.0 / 1024.0),
        b'M' => (&text[..text.len() - 1], 1.0),
        b'G' => (&text[..text.len() - 1], 1024.0),
        b'T' => (&text[..text.len() - 1], 1024.0 * 1024.0),
        _ => (text, 1.0),
    };
    let mib = number.parse::<f64>().ok()? * scale;
    // Four PiB are enough for a node.
    (0.0..4_294_967_296.0).contains(&mib).then_some(mib as u64)
}

/// `DAYS-HH:MM:SS`, of which days may be missing; `UNLIMITED` and the like are none.
fn seconds(text: &str) -> Option<u64> {
    let (days, rest) = text.split_once('-').map_or((Some(0), text), |(days, rest)| (days.parse().ok(), rest));
    let parts: Vec<u64> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some(((days? * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// The memory that the control groups of a process allow it, in MiB: the least of its own and those above. `groups` is
/// what /proc/self/cgroup says (cgroups(7)), `read` gets at files.
pub fn group_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own: PathBuf = Path::new(root).join(group.trim_start_matches('/'));
        let above = own.ancestors().take_while(|dir| dir.starts_with(root));
        above.filter_map(|dir| read(&dir.join(file))?.trim().parse::<u64>().ok()).min()
    });
    // No limit is `max`, or a number that no machine has.
    limits.map(|bytes| bytes >> 20).min().filter(|mib| *mib < 1 << 40)
}

#[cfg(test)]
mod tests;
