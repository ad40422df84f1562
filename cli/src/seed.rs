//! `mvpnet seed`: what a guest would be told, written to a file or a directory. What that is, is the seed crate's; here
//! flags become its words, as they do for a job.

mod flags;
mod options;

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mvpnet_node::job::Problem;
use mvpnet_seed::Volume;
use mvpnet_switch::{RankError, World};

use crate::args::{CloudInit, HostDefaults, RankOptions, USAGE_EXIT_CODE};
use crate::run::keys::{Briefing, home};
use crate::run::seed::{Recipe, write_secret};
pub use flags::{AFTER_LONG, Flags, LONG_ABOUT, USAGE};
pub use options::Options;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum SeedError {
    /// The command line is to blame, or what it names.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Rank(#[from] RankError),
    #[error("{0}")]
    Unable(String),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl From<Problem> for SeedError {
    fn from(problem: Problem) -> Self {
        if problem.usage { Self::Usage(problem.text) } else { Self::Unable(problem.text) }
    }
}

/// Writes it.
pub fn run(options: &Options) -> ExitCode {
    match write(options) {
        Ok(text) => {
            // Nobody reads it: it is written all the same.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "mvpnet: {error}");
            let is_usage = matches!(error, SeedError::Usage(_) | SeedError::Rank(_));
            ExitCode::from(if is_usage { USAGE_EXIT_CODE } else { 1 })
        }
    }
}

fn write(options: &Options) -> Result<String, SeedError> {
    let Options { rank, world, out, dir, .. } = options;
    let world = World::new(*world).map_err(|error| SeedError::Usage(error.to_string()))?;
    let rank = world.rank(*rank)?;
    let told = options.told(&HostDefaults::read()).map_err(|error| SeedError::Usage(error.to_string()))?;
    only_directories(&told)?;
    let recipe = Recipe::of(&told, rank, world)?;
    let (briefing, notes) =
        Briefing::find(told.shared.user.as_deref(), &told.shared.guests, home().as_deref())?;
    let volume = recipe.volume(&briefing).map_err(SeedError::Usage)?;
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(io::stderr(), "mvpnet: {note}");
    }
    if told.shared.guests.keys.is_none() {
        text += "its keys are new, and in no other seed: give all of them the same --keys FILE\n";
    }
    if let Some(dir) = dir {
        text += &write_files(&volume, dir)?;
    }
    if let Some(out) = out {
        let image = volume.image().map_err(|error| SeedError::Unable(error.to_string()))?;
        write_secret(out, &image).map_err(|error| SeedError::Io { path: out.clone(), error })?;
        let list: Vec<&str> = volume.files.iter().map(|(path, _)| path.as_str()).collect();
        text += &format!("{}: {} KiB with {}\n", out.display(), image.len() >> 10, list.join(", "));
    }
    Ok(text)
}

/// An image of the user's own is not made here.
fn only_directories(told: &RankOptions) -> Result<(), SeedError> {
    match &told.cloud_init {
        Some(CloudInit::Path(path)) if path.is_file() => Err(SeedError::Usage(format!(
            "--cloud-init {}: an image is used as it is, there is nothing to be made",
            path.display()
        ))),
        Some(CloudInit::Nothing) => {
            Err(SeedError::Usage("--cloud-init none: there is nothing to be made".to_owned()))
        }
        _ => Ok(()),
    }
}

fn write_files(volume: &Volume, dir: &Path) -> Result<String, SeedError> {
    let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| SeedError::Io { path, error }
    };
    private(dir).map_err(failed(dir))?;
    let mut text = String::new();
    for (name, content) in &volume.files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            private(parent).map_err(failed(parent))?;
        }
        write_secret(&path, content).map_err(failed(&path))?;
        text += &format!("{}: {} bytes\n", path.display(), content.len());
    }
    Ok(text)
}
