//! A job under Slurm: what is asked of Slurm, once for a job, and the shutdown before its time is over. What follows
//! for the guests is in `args/slurm.rs`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mvpnet_node::job::EndWish;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::complain;
use crate::args::{Options, Portion, SlurmEnv, SlurmFacts, group_limit};

/// How long Slurm may take to answer. It answers at once, unless its controller is in trouble.
const ANSWER: Duration = Duration::from_secs(5);

/// What the end takes besides the guests' shutdown: the application's end, the last frames, MPI, and the seconds to
/// which Slurm keeps its time.
const MARGIN: Duration = Duration::from_secs(15);

/// The allocation that this process is in.
#[derive(Clone, Debug)]
pub struct Slurm {
    env: SlurmEnv,
    facts: SlurmFacts,
}

impl Slurm {
    /// With facts that are known already.
    #[cfg(feature = "mpi")]
    pub fn new(env: SlurmEnv, facts: SlurmFacts) -> Self {
        Self { env, facts }
    }

    /// The allocation, if there is one. Waits for Slurm's answer.
    pub fn ask() -> Option<Self> {
        let env = SlurmEnv::read()?;
        let facts = facts(&env);
        Some(Self { env, facts })
    }

    /// What belongs to these ranks, who are on this host.
    pub fn portion(&self, ranks: Vec<u32>, in_one_process: bool) -> Portion {
        self.env.portion(&self.facts, ranks, in_one_process, memory_limit())
    }

    /// What the job is called where flags do not say: its logs are not to be written over by the next job's.
    pub fn name(&self) -> String {
        format!("slurm-{}", self.env.job)
    }

    /// Tells the user what the guests have from the allocation.
    pub fn tell(&self, options: &Options, portion: &Portion) {
        let text = options.told_of(portion, self.facts.time_left());
        tracing::info!("{text}");
        if options.shared.progress {
            complain(&text);
        }
    }

    /// Tells who has one rank, in a job of more tasks, how to have more.
    #[cfg(feature = "mpi")]
    pub fn tell_of_solitude(&self) {
        let Self { env: SlurmEnv { tasks: Some(tasks @ 2..), job, .. }, .. } = self else { return };
        complain(&format!(
            "this is one rank alone, although Slurm's job {job} has {tasks} tasks; `srun --mpi=… mvpnet …` has a guest in each"
        ));
    }

    /// How long after SIGTERM processes are killed.
    pub fn kill_wait(&self) -> Duration {
        self.facts.kill_wait()
    }

    /// Has the job end before its time is over, so early that guests who take `grace` to shut down are off by then. A
    /// time limit may be raised while a job runs: Slurm is asked again before.
    pub async fn watch_the_time(self, grace: Duration, wishes: mpsc::UnboundedSender<EndWish>) {
        let Some(mut left) = self.facts.time_left() else { return };
        let lead = lead(grace, left);
        while left > lead {
            sleep(left - lead).await;
            let now = ask(&self.env.job).await;
            match now.time_left() {
                Some(now) => left = now,
                None if now.has_no_limit() => return,
                // Nobody answers: what was said before holds.
                None => break,
            }
        }
        let by = format!("Slurm's job {} has {} s of its time left", self.env.job, left.min(lead).as_secs());
        // The job may be over.
        let _ = wishes.send(EndWish { by, hurry: false });
    }
}

/// How long before the end of the time guests are shut down; a short job runs for half of its time at least.
fn lead(grace: Duration, left: Duration) -> Duration {
    (grace + MARGIN).min(left / 2)
}

/// What Slurm says of the job. Waits for its answer.
pub fn facts(env: &SlurmEnv) -> SlurmFacts {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(ask(&env.job)),
        Err(error) => {
            tracing::warn!("Slurm cannot be asked: {error}");
            SlurmFacts::default()
        }
    }
}

async fn ask(job: &str) -> SlurmFacts {
    let (of_job, of_all) = (["--oneliner", "show", "job", job], ["show", "config"]);
    let (job, config) = tokio::join!(scontrol(&of_job), scontrol(&of_all));
    SlurmFacts::of(&job, &config)
}

/// What scontrol prints; nothing where it cannot.
async fn scontrol(words: &[&str]) -> String {
    let mut command = Command::new("scontrol");
    let output = command.args(words).stdin(Stdio::null()).kill_on_drop(true).output();
    let problem = match timeout(ANSWER, output).await {
        Ok(Ok(output)) if output.status.success() => {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
    };
    tracing::warn!("scontrol {}: {problem}", words.join(" "));
    String::new()
}

/// What this host allows this process, in MiB: its control group's memory, if there is one that is limited.
fn memory_limit() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    group_limit(&read(Path::new("/proc/self/cgroup"))?, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_shut_down_early_enough_but_a_short_job_runs_at_all() {
        let seconds = Duration::from_secs;
        assert_eq!(lead(seconds(60), seconds(3600)), seconds(75));
        assert_eq!(lead(seconds(60), seconds(60)), seconds(30));
    }
}
