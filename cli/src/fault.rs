//! `mvpnet fault`: asks a running job what is set, or sets it. What a fault does is the node's matter; this reads
//! words, finds the job, and says what came of it.

mod flags;
mod words;

use std::io::Write;
use std::process::ExitCode;

use mvpnet_node::control::{self, Answer, JobInfo, Request};
use mvpnet_transports::link::Change;
use serde_json::json;

use crate::args::{USAGE_EXIT_CODE, Usage};
use crate::job::{self, JobError};
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};

/// What is to be done, and to which job.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A name or the process of rank 0.
    job: Option<String>,
    task: Task,
    json: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Task {
    List,
    Show,
    Change(Vec<Change>),
}

/// Why nothing was done, or not all of it.
#[derive(Debug, thiserror::Error)]
enum FaultError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Ask(#[from] control::AskError),
    /// The job says that this makes no sense.
    #[error("{0}")]
    Refused(String),
    #[error("{}", .0.join("\n        "))]
    Failed(Vec<String>),
    #[error("the job's answer does not belong to the question")]
    Answer,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { job, list, show, json, changes, help: _ } = flags;
        let task = match (list, show, changes.is_empty()) {
            (true, false, true) => Task::List,
            (false, true, true) => Task::Show,
            (false, false, false) => Task::Change(words::changes(&changes).map_err(Usage::Fault)?),
            (false, false, true) => {
                return Err(Usage::Fault("say what is to happen, or --show or --list".into()));
            }
            _ => return Err(Usage::Fault("--list, --show and changes exclude each other".into())),
        };
        Ok(Self { job, task, json })
    }
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    match carry_out(options) {
        Ok(text) => {
            // Nobody reads it: it is done all the same.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mvpnet: {error}");
            let is_usage = match &error {
                FaultError::Refused(_) => true,
                FaultError::Job(error) => error.is_usage(),
                _ => false,
            };
            ExitCode::from(if is_usage { USAGE_EXIT_CODE } else { 1 })
        }
    }
}

fn carry_out(options: &Options) -> Result<String, FaultError> {
    if options.task == Task::List {
        return Ok(listed(&control::running(), options.json));
    }
    let job = job::find(options.job.as_deref())?;
    let Task::Change(changes) = &options.task else { return Ok(shown(&job, options.json)) };
    let words: Vec<String> = changes.iter().map(Change::to_string).collect();
    if changes.iter().any(|change| matches!(change, Change::Restart(_))) {
        // It takes as long as a boot, and says nothing meanwhile.
        let _ = writeln!(std::io::stderr(), "mvpnet: waiting until the guests are up again");
    }
    match control::ask(job.through, &Request::Change(words.clone()))? {
        Answer::Done(job) => Ok(done(&job, &words, options.json)),
        Answer::Refused(why) => Err(FaultError::Refused(why)),
        Answer::Failed(whys) => Err(FaultError::Failed(whys)),
        Answer::Info(_) | Answer::Status(_) | Answer::Session => Err(FaultError::Answer),
    }
}

fn listed(running: &[JobInfo], json: bool) -> String {
    if json {
        return format!("{}\n", json!(running));
    }
    if running.is_empty() {
        return "no job of yours runs on this host\n".to_owned();
    }
    running.iter().map(|job| format!("{job}\n")).collect()
}

fn shown(job: &JobInfo, json: bool) -> String {
    if json {
        return format!("{}\n", json!(job));
    }
    if job.in_force.is_empty() {
        return format!("{job}: nothing is set\n");
    }
    let lines = job.in_force.iter().map(|words| format!("    {words}\n"));
    format!("{job}:\n{}", lines.collect::<String>())
}

fn done(job: &JobInfo, words: &[String], json: bool) -> String {
    if json {
        return format!("{}\n", json!({ "done": words, "job": job }));
    }
    words.iter().map(|words| format!("{job}: {words}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(in_force: &[&str]) -> JobInfo {
        let in_force = in_force.iter().map(|words| (*words).to_owned()).collect();
        JobInfo { name: Some("lab".into()), process: 7, ranks: 4, seed: 7, in_force, ..JobInfo::default() }
    }

    #[test]
    fn what_was_done_and_what_is_set_is_said_in_the_words_that_set_it() {
        let said = done(&job(&[]), &["heal".to_owned()], false);
        assert_eq!(said, "lab (process 7, 4 ranks): heal\n");
        let said = shown(&job(&["link 0<->1 loss=1%", "pause 2"]), false);
        assert_eq!(said, "lab (process 7, 4 ranks):\n    link 0<->1 loss=1%\n    pause 2\n");
        assert_eq!(shown(&job(&[]), false), "lab (process 7, 4 ranks): nothing is set\n");
    }

    #[test]
    fn json_is_one_value_on_one_line() {
        let said = listed(&[job(&["heal"])], true);
        let value: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(value[0]["in_force"], json!(["heal"]));
        assert_eq!((&value[0]["name"], &value[0]["process"]), (&json!("lab"), &json!(7)));
        assert_eq!(said.matches('\n').count(), 1);
        assert_eq!(listed(&[], true), "[]\n");
    }

    #[test]
    fn one_thing_at_a_time() {
        let flags = |list, show, changes: &[&str]| Flags {
            list,
            show,
            changes: changes.iter().map(|word| (*word).to_owned()).collect(),
            ..Flags::default()
        };
        assert!(Options::read(flags(false, false, &[])).is_err());
        assert!(Options::read(flags(true, false, &["heal"])).is_err());
        let options = Options::read(flags(false, false, &["heal"])).unwrap();
        assert_eq!(options.task, Task::Change(vec![Change::Heal]));
    }
}
