//! The directory of one job, in which everything that it writes has its place, and the story that it tells when
//! a test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::processes;
use super::setting::say;

/// Lines of each file that a failure shows, and characters of each line.
const TAIL: usize = 25;
const WIDTH: usize = 250;

/// A job's directory, and its name.
#[derive(Debug)]
pub struct Home {
    directory: tempfile::TempDir,
    /// For `--job`, and to find the job's processes by.
    pub name: String,
}

impl Home {
    /// A new one, with all its parts.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix("e2e-").tempdir().expect("a directory can be made");
        let home = Self { directory, name };
        for part in ["log", "run", "sock", "tmp", "cwd", "out"] {
            fs::create_dir(home.at(part)).expect("the directory is ours");
        }
        home
    }

    /// A path in it.
    pub fn at(&self, part: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(part)
    }

    /// The same as text.
    pub fn text(&self, part: &str) -> String {
        self.at(part).to_str().expect("temporary directories have plain names").to_owned()
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What a file in it says, as far as it says anything.
    pub fn read(&self, part: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.at(part)).unwrap_or_default()).into_owned()
    }

    /// The ends of everything that the job wrote.
    pub fn story(&self) -> String {
        let mut files: Vec<PathBuf> = vec![self.at("stderr"), self.at("stdout")];
        for directory in ["log", "run"] {
            let entries = fs::read_dir(self.at(directory)).into_iter().flatten();
            let logs = entries.filter_map(|entry| Some(entry.ok()?.path()));
            files.extend(logs.filter(|path| path.extension().is_some_and(|end| end == "log")));
        }
        files.sort();
        let mut story = format!("the job {} in {}:\n", self.name, self.path().display());
        for file in files {
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).into_owned();
            if file.to_string_lossy().contains("/gstats.") || text.is_empty() {
                continue;
            }
            story.push_str(&format!("--- {}\n", file.display()));
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                let line: String = line.chars().filter(|c| !c.is_control()).take(WIDTH).collect();
                story.push_str(&format!("    {line}\n"));
            }
        }
        for process in processes::of_job(&self.name) {
            story.push_str(&format!("--- still runs: {} {}\n", process.pid, process.command));
        }
        story
    }
}

impl Drop for Home {
    /// A failed test shows what there is to see, and keeps it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.story());
            self.directory.disable_cleanup(true);
        }
    }
}
