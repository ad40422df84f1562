//! The flags of `mvpnet sim`, read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mvpnet_transports::link::parse_duration;

use super::Flags;
use crate::args::{Usage, ValueError};

/// What to simulate, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The scenario file.
    pub file: PathBuf,
    /// The seed, in place of the scenario's.
    pub seed: Option<u64>,
    /// The end, in place of the scenario's.
    pub until: Option<Duration>,
    /// The capture.
    pub capture: Option<PathBuf>,
    /// The results as JSON; `-` is standard output.
    pub json: Option<PathBuf>,
    /// The page.
    pub html: Option<PathBuf>,
    /// Say nothing while it runs.
    pub no_progress: bool,
}

impl Options {
    /// Reads the values of flags.
    ///
    /// # Errors
    ///
    /// The first that is none.
    pub fn read(flags: Flags) -> Result<Options, Usage> {
        let Some(file) = path("SCENARIO.toml", flags.scenario)? else {
            let text = "mvpnet sim needs a scenario: mvpnet sim SCENARIO.toml\n`mvpnet sim --help` shows a whole one";
            return Err(Usage::Scenario(text.to_owned()));
        };
        let options = Options {
            file,
            seed: value("--seed", flags.seed, "a whole number", |text| text.parse().ok())?,
            until: value("--until", flags.until, "simulated time like 5s or 250ms", |text| {
                parse_duration(text).ok().filter(|until| !until.is_zero())
            })?,
            capture: path("--capture", flags.capture)?,
            json: path("--json", flags.json)?,
            html: path("--html", flags.html)?,
            no_progress: flags.no_progress,
        };
        options.check_files()?;
        Ok(options)
    }

    /// No file is written twice, or written over the scenario.
    fn check_files(&self) -> Result<(), Usage> {
        let mut files: Vec<(&str, &Path)> = vec![("the scenario", &self.file)];
        for (flag, file) in [("--capture", &self.capture), ("--json", &self.json), ("--html", &self.html)] {
            let Some(file) = file else { continue };
            if let Some((other, _)) = files.iter().find(|(_, known)| known == file) {
                let text = format!("{flag} {} is {other} too: name another file", file.display());
                return Err(Usage::Scenario(text));
            }
            files.push((flag, file));
        }
        Ok(())
    }
}

fn value<T>(
    flag: &'static str,
    given: Option<OsString>,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Usage> {
    let read = |given: OsString| {
        let value = given.to_string_lossy().into_owned();
        let problem = ValueError::Expected(expected);
        given.to_str().and_then(&read).ok_or(Usage::Value { flag, value, problem })
    };
    given.map(read).transpose()
}

fn path(flag: &'static str, given: Option<OsString>) -> Result<Option<PathBuf>, Usage> {
    match given {
        Some(path) if path.is_empty() => {
            Err(Usage::Value { flag, value: String::new(), problem: ValueError::Empty })
        }
        path => Ok(path.map(PathBuf::from)),
    }
}
