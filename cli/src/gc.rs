//! `mvpnet gc`: removes what dead jobs have left on this host.

mod flags;

use std::io::Write;
use std::process::ExitCode;

use mvpnet_node::control::{Garbage, garbage, remove_garbage};
use serde_json::json;

pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    dry_run: bool,
    json: bool,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Self {
        let Flags { dry_run, json, help: _ } = flags;
        Self { dry_run, json }
    }
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    let (gone, failed) = if options.dry_run { (garbage(), Vec::new()) } else { remove_garbage() };
    let text = if options.json {
        format!("{}\n", json!({ "removed": !options.dry_run, "garbage": gone, "failed": failed }))
    } else {
        said(&gone, options.dry_run)
    };
    // Nobody reads it: it is done all the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    for failure in &failed {
        let _ = writeln!(std::io::stderr(), "mvpnet: {failure}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(gone: &[Garbage], dry_run: bool) -> String {
    if gone.is_empty() {
        return "nothing is left of dead jobs on this host\n".to_owned();
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    let line = |garbage: &Garbage| {
        let job = garbage.job.as_ref().map(|job| format!(" (job {job})")).unwrap_or_default();
        format!("{verb} {} {}{job}\n", garbage.what, garbage.at)
    };
    gone.iter().map(line).collect()
}
