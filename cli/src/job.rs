//! Which of the jobs on this host is meant, for every subcommand that has to do with one.

use mvpnet_node::control::{JobInfo, JobState, Known, known};

/// Variables that name a job where no flag does: the user's own, and that which a job's application has.
const JOB_VARIABLES: [&str; 2] = ["MVPNET_JOB", "MVPNET_JOBNAME"];

/// Why it cannot be told, or cannot be asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobError {
    /// None runs.
    #[error(
        "no job of yours runs on this host: start one with `mvpnet up` or mpirun, or ask on a host that has a rank of it"
    )]
    None,
    /// None of this name.
    #[error("there is no job `{wanted}` here; there {}", names(running))]
    Unknown {
        /// As typed.
        wanted: String,
        /// Those that there are.
        running: Vec<String>,
    },
    /// More than one could be meant.
    #[error("which job? Say it with --job: there {}", names(running))]
    Several {
        /// Those that could be meant.
        running: Vec<String>,
    },
    /// Its processes live, and say nothing.
    #[error("{job} does not answer; `mvpnet down --force` ends it all the same")]
    Silent {
        /// It.
        job: String,
    },
}

fn names(running: &[String]) -> String {
    let verb = if running.len() == 1 { "is" } else { "are" };
    format!("{verb} {}", running.join(" and "))
}

impl JobError {
    /// Whether the command line is to blame.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Several { .. })
    }
}

/// The job that is meant, which answers. Without a word about it: that which the environment names, as it does for the
/// application of a job, or the only one.
pub(crate) fn find(wanted: Option<&str>) -> Result<JobInfo, JobError> {
    let job = find_living(wanted)?;
    match job.info.state {
        JobState::Silent => Err(JobError::Silent { job: job.info.to_string() }),
        _ => Ok(job.info),
    }
}

/// The same, whether it answers or not.
pub(crate) fn find_living(wanted: Option<&str>) -> Result<Known, JobError> {
    let mut jobs = known();
    jobs.retain(|job| job.info.state != JobState::Dead);
    choose(jobs, wanted)
}

/// The only job, or the one that is called so: by its name first, for a name may look like a number.
pub(crate) fn choose<J: AsRef<JobInfo>>(mut running: Vec<J>, wanted: Option<&str>) -> Result<J, JobError> {
    let all = |running: &[J]| running.iter().map(|job| job.as_ref().to_string()).collect::<Vec<_>>();
    let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let inside = JOB_VARIABLES.into_iter().find_map(named);
    if running.is_empty() {
        return Err(JobError::None);
    }
    if let Some(wanted) = wanted.or(inside.as_deref()) {
        let there = all(&running);
        let named = |job: &J| job.as_ref().name.as_deref() == Some(wanted);
        if running.iter().any(named) {
            running.retain(named);
        } else {
            running.retain(|job| job.as_ref().is_process(wanted));
        }
        if running.is_empty() {
            return Err(JobError::Unknown { wanted: wanted.to_owned(), running: there });
        }
    }
    match running.len() {
        1 => Ok(running.remove(0)),
        _ => Err(JobError::Several { running: all(&running) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: Option<&str>, process: u32) -> JobInfo {
        JobInfo { name: name.map(str::to_owned), process, ranks: 2, ..JobInfo::default() }
    }

    #[test]
    fn the_only_job_needs_no_name() {
        assert_eq!(choose(vec![job(None, 7)], None).unwrap().process, 7);
        assert_eq!(choose(Vec::<JobInfo>::new(), None), Err(JobError::None));
    }

    #[test]
    fn one_of_several_is_called_by_name_or_process() {
        let running = || vec![job(Some("lab"), 7), job(Some("8"), 9), job(None, 8), job(Some("lab"), 10)];
        assert_eq!(choose(running(), Some("8")).unwrap().process, 9);
        assert_eq!(choose(running(), Some("7")).unwrap().process, 7);
        let error = choose(running(), Some("lab")).unwrap_err().to_string();
        let said =
            "which job? Say it with --job: there are lab (process 7, 2 ranks) and lab (process 10, 2 ranks)";
        assert_eq!(error, said);
        let error = choose(vec![job(None, 7)], Some("x")).unwrap_err().to_string();
        assert_eq!(error, "there is no job `x` here; there is process 7 (2 ranks, no name)");
    }
}
