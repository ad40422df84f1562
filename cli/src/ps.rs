//! `mvpnet ps`: the jobs of this user that have a rank on this host.

mod flags;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use mvpnet_node::control::{JobInfo, JobState, Known, known};
use serde_json::json;

use crate::columns::{aligned, duration};
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};

/// What is to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    all: bool,
    json: bool,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Self {
        let Flags { all, json, help: _ } = flags;
        Self { all, json }
    }
}

/// Shows it.
pub fn run(options: &Options) -> ExitCode {
    let (dead, living): (Vec<Known>, Vec<Known>) =
        known().into_iter().partition(|job| job.info.state == JobState::Dead);
    let dead_ones = dead.len();
    let shown = living.into_iter().chain(dead.into_iter().filter(|_| options.all));
    let jobs: Vec<JobInfo> = shown.map(|job| job.info).collect();
    let text = if options.json { format!("{}\n", json!(jobs)) } else { table(&jobs) };
    // Nobody reads it: nothing to be done about that.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if dead_ones > 0 && !options.all && !options.json {
        let _ = writeln!(std::io::stderr(), "mvpnet: {}", hint(dead_ones));
    }
    ExitCode::SUCCESS
}

fn hint(dead: usize) -> String {
    let what = if dead == 1 {
        "a job that is dead has".to_owned()
    } else {
        format!("{dead} jobs that are dead have")
    };
    format!("{what} left files: `mvpnet ps --all` shows, `mvpnet gc` removes them")
}

fn table(jobs: &[JobInfo]) -> String {
    if jobs.is_empty() {
        return "no job of yours runs on this host\n".to_owned();
    }
    let header = ["NAME", "PID", "RANKS", "HOSTS", "STATE", "AGE", "IMAGE"].map(str::to_owned);
    let rows = jobs.iter().map(|job| {
        [
            job.name.clone().unwrap_or_else(|| "-".into()),
            job.process.to_string(),
            known_number(job.ranks),
            known_number(job.hosts),
            job.state.to_string(),
            if job.started == 0 { "-".into() } else { duration(job.age) },
            job.image.as_deref().map_or("-".into(), file_name),
        ]
    });
    aligned(std::iter::once(header).chain(rows))
}

/// Of a job that does not answer not all is known.
fn known_number(number: u32) -> String {
    if number == 0 { "-".to_owned() } else { number.to_string() }
}

fn file_name(image: &str) -> String {
    Path::new(image).file_name().map_or_else(|| image.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_line_and_what_is_not_known_a_dash() {
        let lab = JobInfo {
            name: Some("lab".into()),
            process: 7,
            ranks: 4,
            hosts: 2,
            state: JobState::Running,
            started: 1,
            age: 3700,
            image: Some("/i/debian.qcow2".into()),
            ..JobInfo::default()
        };
        let silent = JobInfo { process: 12345, state: JobState::Silent, ..JobInfo::default() };
        let said = table(&[lab, silent]);
        assert_eq!(
            said,
            "NAME  PID    RANKS  HOSTS  STATE    AGE        IMAGE\n\
             lab   7      4      2      running  1 h 1 min  debian.qcow2\n\
             -     12345  -      -      silent   -          -\n"
        );
        assert_eq!(table(&[]), "no job of yours runs on this host\n");
    }

    #[test]
    fn who_has_left_something_is_mentioned() {
        assert!(hint(1).starts_with("a job that is dead has left files"));
        assert!(hint(2).starts_with("2 jobs that are dead have left files"));
    }
}
