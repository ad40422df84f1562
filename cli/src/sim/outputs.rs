//! Where results go. Files are made before anything is simulated, so that a wrong name costs no time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use mvpnet_sim::scenario::{Report, Scenario};

use super::Options;

/// How much of a capture is written at once.
const CAPTURE_BUFFER: usize = 1 << 20;

/// The files that were asked for.
pub(super) struct Outputs {
    capture: Option<File>,
    json: Option<Output>,
    html: Option<Output>,
}

/// A file, or standard output.
struct Output {
    path: PathBuf,
    file: Option<File>,
}

impl Outputs {
    pub(super) fn create(options: &Options) -> Result<Outputs, String> {
        let output =
            |flag, path: &Option<PathBuf>| path.as_deref().map(|path| Output::create(flag, path)).transpose();
        Ok(Outputs {
            capture: options.capture.as_deref().map(|path| create("--capture", path)).transpose()?,
            json: output("--json", &options.json)?,
            html: options.html.as_deref().map(|path| Output::file("--html", path)).transpose()?,
        })
    }

    pub(super) fn take_capture(&mut self) -> Option<Box<dyn Write>> {
        let file = self.capture.take()?;
        Some(Box::new(BufWriter::with_capacity(CAPTURE_BUFFER, file)))
    }

    /// Whether it matters what happens when.
    pub(super) fn wants_history(&self) -> bool {
        self.html.is_some()
    }

    /// Writes everything, and the table unless standard output has the JSON.
    pub(super) fn write(self, scenario: &Scenario, report: &Report) -> Result<(), String> {
        if let Some(html) = self.html {
            html.write(&report.to_html(scenario))?;
        }
        let has_standard_output = self.json.as_ref().is_some_and(|json| json.file.is_none());
        if let Some(json) = self.json {
            json.write(&report.to_json())?;
        }
        if has_standard_output { Ok(()) } else { write_out(&report.to_string()) }
    }
}

impl Output {
    fn create(flag: &str, path: &Path) -> Result<Output, String> {
        if path == Path::new("-") {
            return Ok(Output { path: path.to_owned(), file: None });
        }
        Output::file(flag, path)
    }

    fn file(flag: &str, path: &Path) -> Result<Output, String> {
        Ok(Output { path: path.to_owned(), file: Some(create(flag, path)?) })
    }

    fn write(self, text: &str) -> Result<(), String> {
        match self.file {
            Some(mut file) => {
                file.write_all(text.as_bytes()).map_err(|error| format!("{}: {error}", self.path.display()))
            }
            None => write_out(text),
        }
    }
}

fn create(flag: &str, path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{flag} {}: its directory is not there: make it, or name another place", path.display())
        }
        _ => format!("{flag} {}: {error}", path.display()),
    })
}

fn write_out(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads no further has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| format!("standard output: {error}")),
    }
}
