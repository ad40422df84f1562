//! `mvpnet down`: ends jobs, and waits until they are gone.

mod ending;
mod flags;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use mvpnet_node::control::{AskError, JobState, Known, known};

use crate::args::{USAGE_EXIT_CODE, Usage};
use crate::job::{self, JobError};
use ending::Ending;
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};

/// Exit code of a time that is over, as timeout(1) has it.
const TIME_OVER: u8 = 124;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    all: bool,
    force: bool,
    timeout: Option<Duration>,
}

/// Why a job is not down.
#[derive(Debug, thiserror::Error)]
enum DownError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("{job}: {error}; `mvpnet down --force` ends it all the same")]
    Ask { job: String, error: AskError },
    #[error("{job} is still there after {} s; `mvpnet down --force` gives it no time", .after.as_secs())]
    TimeOver { job: String, after: Duration },
    #[error("{job}: {}", .left.join("\n        "))]
    Left { job: String, left: Vec<String> },
}

impl Options {
    /// What the flags ask for.
    ///
    /// # Errors
    /// A time that is none, a job and all of them.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { job, all, force, timeout, help: _ } = flags;
        if all && job.is_some() {
            return Err(Usage::Down("--all and --job exclude each other".into()));
        }
        let timeout = timeout.as_deref().map(seconds).transpose()?;
        Ok(Self { job, all, force, timeout })
    }
}

/// `90`, or `90s`.
fn seconds(text: &str) -> Result<Duration, Usage> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let time = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| Usage::Down(format!("--timeout {text}: that is no number of seconds, like 90")))
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    let jobs = match chosen(options) {
        Ok(jobs) => jobs,
        Err(error) => return complain(&error.into()),
    };
    if jobs.is_empty() {
        say("no job of yours runs on this host");
    }
    // Each has begun to end before any is waited for.
    let endings: Vec<Ending> = jobs.into_iter().map(|job| Ending::begin(job, options.force)).collect();
    let mut code = ExitCode::SUCCESS;
    for ending in endings {
        let job = ending.job();
        match ending.wait(options.timeout) {
            Ok(()) => say(&format!("{job} is down")),
            Err(error) => code = complain(&error),
        }
    }
    code
}

fn chosen(options: &Options) -> Result<Vec<Known>, JobError> {
    let mut jobs = known();
    if options.all {
        jobs.retain(|job| job.info.state != JobState::Dead);
        return Ok(jobs);
    }
    let wanted = options.job.as_deref();
    let living = |jobs: Vec<Known>| jobs.into_iter().filter(|job| job.info.state != JobState::Dead).collect();
    // What a dead job has left can be removed too, if it is called by its name and no other has it by now.
    match job::choose(living(jobs.clone()), wanted) {
        Err(JobError::None | JobError::Unknown { .. }) if options.force && wanted.is_some() => {
            job::choose(jobs, wanted)
        }
        outcome => outcome,
    }
    .map(|job| vec![job])
}

fn say(text: &str) {
    // Nobody reads it: it is done all the same.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(error: &DownError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "mvpnet: {error}");
    ExitCode::from(match error {
        DownError::Job(error) if error.is_usage() => USAGE_EXIT_CODE,
        DownError::TimeOver { .. } => TIME_OVER,
        _ => 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: Flags) -> Result<Options, String> {
        Options::read(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn a_time_is_a_number_of_seconds() {
        let with = |text: &str| read(Flags { timeout: Some(text.into()), ..Flags::default() });
        assert_eq!(with("90").unwrap().timeout, Some(Duration::from_secs(90)));
        assert_eq!(with("1.5s").unwrap().timeout, Some(Duration::from_millis(1500)));
        for wrong in ["", "s", "-1", "soon", "nan", "inf", "1e300"] {
            assert!(with(wrong).unwrap_err().contains("no number of seconds"), "{wrong}");
        }
    }

    #[test]
    fn all_jobs_and_one_exclude_each_other() {
        let flags = Flags { all: true, job: Some("lab".into()), ..Flags::default() };
        assert!(read(flags).unwrap_err().contains("exclude each other"));
    }
}
