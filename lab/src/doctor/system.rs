//! Where readings come from: files of /proc, /sys and /dev under a prefix, and programs that get a limited time.
//!
//! With the prefix a test plants a host that is not this one.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take that only looks at this host.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A host as it can be read.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// There is no such program.
    Absent,
    /// It did not start, or did not end in time.
    Stuck(String),
    /// It ended.
    Ended {
        /// Its exit code; none if a signal ended it.
        code: Option<i32>,
        /// What it wrote to standard output.
        out: String,
        /// What it wrote to standard error.
        err: String,
    },
}

impl System {
    /// This host.
    pub fn here() -> Self {
        Self::below("/")
    }

    /// A host whose files are those below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a file of the host is.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text, if it can be read. At most a MiB: the files of /proc know no length.
    pub fn text(&self, absolute: impl AsRef<Path>) -> Option<String> {
        const MOST: u64 = 1 << 20;
        let mut text = Vec::new();
        std::fs::File::open(self.path(absolute)).ok()?.take(MOST).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// A file that holds a number.
    pub fn number(&self, absolute: impl AsRef<Path>) -> Option<u64> {
        self.text(absolute)?.trim().parse().ok()
    }

    /// The names in a directory, sorted; none if there is no such directory.
    pub fn names(&self, absolute: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(absolute)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Runs a program without input.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
        run_for(Command::new(program).args(arguments), PATIENCE)
    }
}

impl Ran {
    /// What it wrote, if it succeeded.
    pub fn out(&self) -> Option<&str> {
        match self {
            Self::Ended { code: Some(0), out, .. } => Some(out),
            _ => None,
        }
    }
}

/// Runs a command without input until it ends, or kills it when its time is over.
pub fn run_for(command: &mut Command, time: Duration) -> Ran {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What people set for themselves changes what programs say, and doctor reads that.
    let mut child = match command.env("LC_ALL", "C").spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ran::Absent,
        Err(error) => return Ran::Stuck(format!("does not start: {error}")),
    };
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    // Both are closed when it has ended, unless a process that it started holds on to them.
    let (Ok(out), Ok(err)) = (out.recv_timeout(time), err.recv_timeout(time)) else {
        end(&mut child);
        return Ran::Stuck(format!("did not end within {} s", time.as_secs()));
    };
    match child.wait() {
        Ok(status) => Ran::Ended { code: status.code(), out, err },
        Err(error) => Ran::Stuck(error.to_string()),
    }
}

/// Kills it and waits for its end.
pub(super) fn end(child: &mut Child) {
    // It has ended already: so much the better.
    let _ = child.kill();
    let _ = child.wait();
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is still worth something.
            let _ = pipe.read_to_end(&mut text);
        }
        // Nobody waits any more: the time was over.
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    receiver
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_below_the_prefix() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/sys")).unwrap();
        std::fs::write(root.path().join("proc/sys/a"), "42\n").unwrap();
        let system = System::below(root.path());
        assert_eq!(system.number("/proc/sys/a"), Some(42));
        assert_eq!(system.text("/proc/sys/b"), None);
        assert_eq!(system.names("/proc/sys"), ["a"]);
        assert!(system.names("/proc/none").is_empty());
    }

    #[test]
    fn programs_say_how_they_ended() {
        let system = System::here();
        let ran = system.run("sh", &["-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!(ran, Ran::Ended { code: Some(3), out: "out\n".into(), err: "err\n".into() });
        assert_eq!(ran.out(), None);
        assert_eq!(system.run("no-such-program-here", &[]), Ran::Absent);
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let ran = run_for(Command::new("sleep").arg("600"), Duration::from_millis(50));
        assert_eq!(ran, Ran::Stuck("did not end within 0 s".into()));
    }

    #[test]
    fn words_survive_the_shell() {
        for word in ["plain-1.2/x", "", "it's", "a b", "$(rm)", "new\nline", "~"] {
            let echo = format!("printf %s {}", quoted(word));
            assert_eq!(System::here().run("sh", &["-c", &echo]).out(), Some(word));
        }
        assert_eq!(quoted("eth0"), "eth0");
    }
}
