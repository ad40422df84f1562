//! `mvpnet bridge`: the switch between guests on other servers, in this program or in the kernel.

mod flags;
mod kernel;
mod options;
mod show;

use std::io::{self, Write};
use std::process::ExitCode;

use mvpnet_node::bridge::{self, Answer, End, PeerSource, Request, Settings, Status};
use mvpnet_node::capture::Destination;
use mvpnet_switch::BridgeConfig;

use crate::args::{Capture, USAGE_EXIT_CODE};
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};
pub use options::{Chosen, Options, Run, StormLimit};

/// Exit code of a failure that is not the command line's.
const FAILURE: u8 = 1;

/// Why something else was done than what was asked for, or nothing.
#[derive(Debug, thiserror::Error)]
enum BridgeFailure {
    #[error(transparent)]
    Bridge(#[from] bridge::BridgeError),
    #[error(transparent)]
    Ask(#[from] mvpnet_node::control::AskError),
    #[error(transparent)]
    Kernel(#[from] mvpnet_lab::kernel::Error),
    /// The flags do not fit together, or not to this host.
    #[error("{0}")]
    Usage(String),
    /// Nothing of that name is there.
    #[error("{0}")]
    None(String),
    #[error("the bridge's answer does not belong to the question")]
    Answer,
    #[error("the bridge cannot start: {0}")]
    System(#[from] io::Error),
}

impl BridgeFailure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE_EXIT_CODE,
            Self::Bridge(error) if error.is_usage() => USAGE_EXIT_CODE,
            _ => FAILURE,
        }
    }
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    let done = match options {
        Options::Run(run) => be(run),
        Options::Kernel { run, print } => kernel::run(run, *print),
        Options::Status(chosen) => status(chosen),
        Options::Down(chosen) => down(chosen),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

/// A line for people.
fn say(line: &str) {
    // Nobody left to tell: the exit code still does.
    let _ = writeln!(io::stderr(), "mvpnet: {line}");
}

/// What was asked for, to whoever reads it.
fn write_out(text: &str) {
    // Nobody reads it: it is done all the same.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Is a bridge until somebody ends it.
fn be(run: &Run) -> Result<(), BridgeFailure> {
    let settings = settings(run)?;
    show::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let End { by, status, capture } = runtime.block_on(bridge::live(settings, say))?;
    say(&format!("the bridge ends: {by}"));
    if let Some(report) = capture {
        say(&report.to_string());
    }
    if run.json {
        write_out(&show::json(&status));
    }
    let _ = io::stderr().write_all(show::summary(&status).as_bytes());
    Ok(())
}

fn settings(run: &Run) -> Result<Settings, BridgeFailure> {
    let default = BridgeConfig::default();
    Ok(Settings {
        name: run.name.clone(),
        source: source(run),
        listen: run.listen,
        port: run.port,
        mtu: run.mtu,
        storm_limit: match run.storm_limit {
            None => default.storm_limit,
            Some(StormLimit::Off) => None,
            Some(StormLimit::Frames(limit)) => Some(limit),
        },
        ageing_time: run.ageing.unwrap_or(default.ageing_time),
        capture: run.capture.as_ref().map(|capture| destination(capture, &run.name)).transpose()?,
    })
}

fn source(run: &Run) -> PeerSource {
    PeerSource { vnis: run.vnis.clone(), peers: run.peers.clone(), file: run.peers_file.clone() }
}

fn destination(capture: &Capture, name: &str) -> Result<Destination, BridgeFailure> {
    let Capture::Path(path) = capture else { return Ok(Destination::Stdout) };
    let wrong = |error: &dyn std::fmt::Display| {
        BridgeFailure::Usage(format!("--capture {}: {error}", path.display()))
    };
    if !capture.is_one_file() {
        std::fs::create_dir_all(path).map_err(|error| wrong(&error))?;
    }
    Destination::named(path, &format!("capture.{name}.bridge.pcapng")).map_err(|error| wrong(&error))
}

/// Shows the bridge that is meant: one that runs, or else one of the kernel.
fn status(chosen: &Chosen) -> Result<(), BridgeFailure> {
    if let Some(status) = running(chosen)? {
        write_out(&if chosen.json { show::json(&status) } else { show::table(&status) });
        return Ok(());
    }
    kernel::status(chosen)
}

/// Ends the bridge that is meant. What is over already needs nothing to be done.
fn down(chosen: &Chosen) -> Result<(), BridgeFailure> {
    let Some(running) = running(chosen)? else { return kernel::down(chosen) };
    let (name, pid) = (&running.name, running.pid);
    let end = match bridge::ask(pid, &Request::Stop) {
        Ok(Answer::Status(end)) => end,
        Ok(Answer::Refused(_)) => return Err(BridgeFailure::Answer),
        // It ended by itself in between.
        Err(mvpnet_node::control::AskError::Over(..) | mvpnet_node::control::AskError::Ended(_)) => {
            running.clone()
        }
        Err(error) => return Err(error.into()),
    };
    write_out(&if chosen.json {
        show::json(&end)
    } else {
        format!("bridge {name} (process {pid}) has ended\n")
    });
    Ok(())
}

/// The running bridge that is meant, if there is one.
fn running(chosen: &Chosen) -> Result<Option<Status>, BridgeFailure> {
    let mut running = bridge::running();
    if let Some(name) = &chosen.name {
        running.retain(|bridge| bridge.name == *name);
    }
    if running.len() > 1 && running.iter().any(|bridge| bridge::shares_network(bridge.pid)) {
        running.retain(|bridge| bridge::shares_network(bridge.pid));
    }
    if running.len() > 1 {
        let names: Vec<String> =
            running.iter().map(|bridge| format!("{} (process {})", bridge.name, bridge.pid)).collect();
        return Err(BridgeFailure::Usage(format!(
            "which bridge? Say it with --name: there are {}",
            names.join(" and ")
        )));
    }
    Ok(running.pop())
}
