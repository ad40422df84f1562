//! `mvpnet sim`: runs a scenario file, and shows what came of it.

mod flags;
mod options;
mod outputs;
mod progress;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use mvpnet_sim::scenario::{Report, Run, Scenario};

use crate::args::USAGE_EXIT_CODE;
use crate::input::text_of;
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};
pub use options::Options;
use outputs::Outputs;
use progress::Progress;

/// Exit code of a simulation that failed.
const FAILURE: u8 = 1;

/// Why a scenario gives no result.
#[derive(Debug)]
enum Stop {
    /// The file or the flags are wrong: nothing was simulated.
    Usage(String),
    /// It was simulated, and failed.
    Failure(String),
}

/// Runs what was asked for.
pub fn run(options: &Options) -> ExitCode {
    match simulate(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Usage(text)) => complain(&text, USAGE_EXIT_CODE),
        Err(Stop::Failure(text)) => complain(&text, FAILURE),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    // Nobody left to tell: the exit code still does.
    let _ = writeln!(io::stderr(), "mvpnet: {text}");
    ExitCode::from(code)
}

fn simulate(options: &Options) -> Result<(), Stop> {
    let (scenario, seed) = read(options)?;
    let file = options.file.display();
    let mut run = scenario.prepare(seed).map_err(|invalid| Stop::Usage(format!("{file}: {invalid}")))?;
    if let Some(until) = options.until {
        run = run.until(until);
    }
    let mut outputs = Outputs::create(options).map_err(Stop::Usage)?;
    if let Some(sink) = outputs.take_capture() {
        run = run.capture_to(sink).map_err(|error| Stop::Failure(error.to_string()))?;
    }
    if outputs.wants_history() {
        run.keep_history();
    }
    let report = watched(run, options)
        .map_err(|failure| Stop::Failure(format!("{failure}\n  again: mvpnet sim {file} --seed {seed}")))?;
    outputs.write(&scenario, &report).map_err(Stop::Failure)
}

/// The scenario, with a name, and the seed.
fn read(options: &Options) -> Result<(Scenario, u64), Stop> {
    let file = options.file.display().to_string();
    let text = text_of(&options.file, "a scenario", "mvpnet sim --help").map_err(Stop::Usage)?;
    let mut scenario = Scenario::parse(&file, &text).map_err(|error| Stop::Usage(error.to_string()))?;
    if scenario.name.is_empty()
        && let Some(stem) = options.file.file_stem()
    {
        scenario.name = stem.to_string_lossy().into_owned();
    }
    match options.seed.or(scenario.seed) {
        Some(seed) => Ok((scenario, seed)),
        None => Err(Stop::Usage(format!(
            "{file} has no seed, without which nobody can see the same again: write `seed = 1` into it, or add --seed 1"
        ))),
    }
}

/// Runs it while people are told how far it is.
#[allow(clippy::disallowed_methods, reason = "people want to know how long it takes in their time")]
fn watched(run: Run, options: &Options) -> Result<Report, mvpnet_sim::Failure> {
    let began = Instant::now();
    let mut progress = Progress::stderr(run.duration());
    let show = !options.no_progress;
    let mut events = 0_u32;
    let report = run.run_watched(|sim| {
        // Asking for the real time takes longer than most events do.
        const EVENTS: u32 = 256;
        events = events.wrapping_add(1);
        if show && events.is_multiple_of(EVENTS) {
            progress.update(sim.now(), began.elapsed());
        }
    });
    if show {
        progress.finish(began.elapsed(), report.is_ok());
    }
    report
}
