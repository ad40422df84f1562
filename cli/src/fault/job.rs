//! Which of the running jobs is meant.

use mvpnet_node::control::JobInfo;

/// Why it cannot be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobError {
    /// None runs.
    #[error("no job of yours has its rank 0 on this host")]
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
}

fn names(running: &[String]) -> String {
    let verb = if running.len() == 1 { "is" } else { "are" };
    format!("{verb} {}", running.join(" and "))
}

/// The only job, or the one that is called so: by its name first, for a name may look like a number.
pub(crate) fn choose(mut running: Vec<JobInfo>, wanted: Option<&str>) -> Result<JobInfo, JobError> {
    if running.is_empty() {
        return Err(JobError::None);
    }
    let all: Vec<String> = running.iter().map(JobInfo::to_string).collect();
    if let Some(wanted) = wanted {
        let named = |job: &JobInfo| job.name.as_deref() == Some(wanted);
        if running.iter().any(named) {
            running.retain(named);
        } else {
            running.retain(|job| job.process.to_string() == wanted);
        }
        if running.is_empty() {
            return Err(JobError::Unknown { wanted: wanted.to_owned(), running: all });
        }
    }
    match running.len() {
        1 => Ok(running.remove(0)),
        _ => Err(JobError::Several { running: running.iter().map(JobInfo::to_string).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: Option<&str>, process: u32) -> JobInfo {
        JobInfo { name: name.map(str::to_owned), process, ranks: 2, seed: 1, in_force: Vec::new() }
    }

    #[test]
    fn the_only_job_needs_no_name() {
        assert_eq!(choose(vec![job(None, 7)], None).unwrap().process, 7);
        assert_eq!(choose(Vec::new(), None), Err(JobError::None));
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
