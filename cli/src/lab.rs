//! `mvpnet lab`: a whole lab from one file. What a lab is, is in `mvpnet_lab::plan`, and how its parts are started, asked
//! and ended, in `mvpnet_lab::run`; this shows what came of it.

mod flags;
mod report;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mvpnet_lab::plan::LabPlan;
use mvpnet_lab::run::{self, Caller, Condition, Failed, Part, Status};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::{USAGE_EXIT_CODE, Usage};
use crate::input::text_of;
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};
use flags::{Lab, Verb};
use report::Report;

/// Exit code of what failed.
const FAILURE: u8 = 1;

/// What is to be done, and with which lab.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    task: Task,
    file: PathBuf,
    json: bool,
    ssh: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Task {
    Up,
    Status,
    Down {
        force: bool,
    },
    /// Be an agent.
    Agent,
}

/// Why it was not done.
#[derive(Debug)]
enum Stop {
    /// The file is wrong: nothing was done.
    Usage(String),
    /// Something failed, and has been said.
    Failed,
    /// Something failed.
    Failure(String),
}

impl From<Failed> for Stop {
    fn from(_: Failed) -> Stop {
        Stop::Failed
    }
}

impl Options {
    /// What the flags ask for.
    ///
    /// # Errors
    /// A value that is none.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let (task, lab) = match flags.command {
            None => {
                return Err(Usage::Lab("say what is to be done: mvpnet lab up, status or down".to_owned()));
            }
            Some(Verb::Up(lab)) => (Task::Up, lab),
            Some(Verb::Status(lab)) => (Task::Status, lab),
            Some(Verb::Down(down)) => (Task::Down { force: down.force }, down.lab),
            Some(Verb::Agent) => {
                return Ok(Self { task: Task::Agent, file: PathBuf::new(), json: false, ssh: None });
            }
        };
        let Lab { file, json, ssh, help: _ } = lab;
        if ssh.as_ref().is_some_and(|ssh| ssh.trim().is_empty()) {
            return Err(Usage::Lab("--ssh needs a command, like \"ssh -F cluster.conf\"".to_owned()));
        }
        Ok(Self { task, file: file.into(), json, ssh })
    }
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    if options.task == Task::Agent {
        return match run::agent() {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failed) => ExitCode::from(FAILURE),
        };
    }
    match carry_out(options) {
        Ok(text) => {
            // Nobody reads it: it is done all the same.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Stop::Failed) => ExitCode::from(FAILURE),
        Err(Stop::Failure(text)) => complain(&text, FAILURE),
        Err(Stop::Usage(text)) => complain(&text, USAGE_EXIT_CODE),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    say(text);
    ExitCode::from(code)
}

/// Says it to people, on standard error.
fn say(text: &str) {
    // Nobody left to tell: the exit code still does.
    let _ = writeln!(io::stderr(), "mvpnet: {text}");
}

fn carry_out(options: &Options) -> Result<String, Stop> {
    let (plan, directory) = read(&options.file)?;
    let failed = |error: io::Error| Stop::Failure(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let caller = Caller::new(options.ssh.as_deref(), say);
        match options.task {
            Task::Up => {
                let interruptible = caller.until(interruptions().map_err(failed)?);
                let states = run::up(&plan, &directory, &interruptible).await?;
                Ok(Report::new(&plan, states).shown(options.json))
            }
            Task::Down { force } => {
                let ended = run::down(&plan, &caller, force).await?;
                Ok(farewell(&plan, &ended, options.json))
            }
            Task::Status | Task::Agent => {
                show(&plan, run::status(&plan, &caller).await, &caller, options.json)
            }
        }
    })
}

/// How the lab is, to be written if all is well.
fn show(plan: &LabPlan, status: Status, caller: &Caller, json: bool) -> Result<String, Stop> {
    let report = Report::new(plan, status.states);
    let text = report.shown(json);
    if status.is_well {
        return Ok(text);
    }
    // What is not well is no reason to say nothing.
    let _ = io::stdout().write_all(text.as_bytes());
    for (part, state) in &report.states {
        if matches!(state.condition, Condition::Ended | Condition::Silent) && !state.lines.is_empty() {
            say(&format!("{}: the last lines of {}:", part.place, part.title));
            caller.say_lines(&state.lines);
        }
    }
    Err(Stop::Failed)
}

/// That nothing is left of the lab, and what was there.
fn farewell(plan: &LabPlan, ended: &[Part], json: bool) -> String {
    let ended: Vec<&str> = ended.iter().map(Part::name).collect();
    match (json, ended.is_empty()) {
        (true, _) => format!("{}\n", json!({ "lab": plan.name, "ended": ended })),
        (false, true) => format!("{}: nothing of it was there\n", plan.name),
        (false, false) => format!("{}: nothing of it is left\n", plan.name),
    }
}

/// The lab, and where its file is.
fn read(file: &Path) -> Result<(LabPlan, PathBuf), Stop> {
    let shown = file.display().to_string();
    let text = text_of(file, "a lab", "mvpnet lab --help").map_err(Stop::Usage)?;
    let plan = LabPlan::parse(&shown, &text).map_err(|error| Stop::Usage(error.to_string()))?;
    let whole = std::path::absolute(file).map_err(|error| Stop::Failure(format!("{shown}: {error}")))?;
    Ok((plan, whole.parent().map_or_else(|| "/".into(), Path::to_owned)))
}

/// Turns true when somebody interrupts. Who does it again does not want to wait for what that takes.
fn interruptions() -> io::Result<watch::Receiver<bool>> {
    let (interrupted, unwanted) = watch::channel(false);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let interrupted = interrupted.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if interrupted.send_replace(true) {
                    std::process::exit(128 + kind.as_raw_value());
                }
                say("interrupted: what was begun is undone, which takes as long as guests need to shut down");
            }
        });
    }
    Ok(unwanted)
}
