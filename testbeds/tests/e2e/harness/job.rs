//! A job before it runs: how it is launched, its flags, its guests, its application.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::home::Home;
use super::leftovers::Before;
use super::processes::MARK;
use super::running::{Ended, Running};
use super::setting::{Launcher, debian, loadgen, slurm, tiny, tiny_cmdline, two_hosts};

/// The application that keeps a job running until the test says how it is to end: with this exit code, or by this
/// signal where the code is given as `-N`.
const STAYS_UP: &str = r#"#!/bin/sh
until [ -s "$E2E_HOME/end" ]; do sleep 0.1; done
code=$(cat "$E2E_HOME/end")
case $code in
-*) kill "$code" $$ ;;
esac
exit "$code"
"#;

/// A job that is put together.
#[derive(Debug)]
pub struct Job {
    pub(super) launcher: Launcher,
    pub(super) ranks: u32,
    /// The number of its first guest.
    pub(super) first_rank: u32,
    pub(super) home: Home,
    pub(super) ranks_per_host: Option<u32>,
    /// Where its logs are, in its directory.
    pub(super) logs: &'static str,
    /// How long its guests may take to boot: emulated, several on a busy machine.
    pub(super) boot: Duration,
    /// Directories in its own that it makes and that stay, empty.
    pub(super) made: Vec<&'static str>,
    /// Whose program is started.
    program: Launcher,
    /// Words in front of the launcher, as `unshare -m`.
    prefix: Vec<OsString>,
    /// Whether these enter a host with a network of its own.
    is_elsewhere: bool,
    /// Options of srun, which takes mpirun's place.
    srun: Option<Vec<String>>,
    /// What stands in place of launcher, program and flags.
    command: Option<Vec<OsString>>,
    flags: Vec<OsString>,
    application: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Stdin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdin {
    Null,
    Open,
}

impl Job {
    /// A job with no flags at all: what it has to be told is the test's matter.
    pub fn bare(launcher: Launcher, ranks: u32) -> Self {
        Self {
            launcher,
            ranks,
            first_rank: 0,
            home: Home::new(),
            ranks_per_host: None,
            logs: "log",
            boot: Duration::from_secs(180),
            made: Vec::new(),
            program: launcher,
            prefix: Vec::new(),
            is_elsewhere: false,
            srun: None,
            command: None,
            flags: Vec::new(),
            application: Vec::new(),
            environment: Vec::new(),
            stdin: Stdin::Null,
        }
    }

    /// A job with a name of its own, that logs everything to its own directory.
    pub fn new(launcher: Launcher, ranks: u32) -> Self {
        let job = Self::bare(launcher, ranks);
        let (log, name) = (job.home.text("log"), job.home.name.clone());
        job.flags(["-j", &name, "-l", &log, "-C", "1", "-L", "1", "-D", "DBG", "-w", "1", "-S", "WARN"])
    }

    /// Guests: the tiny guest, booted directly.
    pub fn tiny(self) -> Self {
        self.tiny_told("")
    }

    /// The same with a few more words on the kernel's command line.
    pub fn tiny_told(self, words: &str) -> Self {
        self.tiny_of_any_size(words).flags(["-m", "256"])
    }

    /// The same, with the memory that somebody else decides on.
    pub fn tiny_of_any_size(self, words: &str) -> Self {
        let append = format!("{} {words}", tiny_cmdline());
        let job = self.flag("--kernel").flag(tiny("kernel")).flag("--initrd").flag(tiny("initrd"));
        job.flags(["--append", append.trim()])
    }

    /// Guests: the Debian guest, from its disk alone, which is only read.
    pub fn debian(self) -> Self {
        let job = self.flag("-i").flag(debian()).flags(["--overlay", "-m", "1024", "-T", "900"]);
        Self { boot: Duration::from_secs(940), ..job }
    }

    /// Load generators in place of guests, with their script. The kernel is never looked at.
    pub fn generators(self, script: &str) -> Self {
        let out = self.home.at("out");
        self.flag("-q")
            .flag(loadgen())
            .flags(["--kernel", "/dev/null", "--ready", "none"])
            .env("MVPNET_LOADGEN", script)
            .env("MVPNET_LOADGEN_OUT", out)
    }

    /// One more word among the flags.
    pub fn flag(mut self, word: impl AsRef<OsStr>) -> Self {
        self.flags.push(word.as_ref().to_owned());
        self
    }

    /// More words among the flags.
    pub fn flags<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.flags.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// The application that lives until [`Running::end_with`].
    pub fn stays_up(self) -> Self {
        self.script(STAYS_UP)
    }

    /// An application that is this shell script.
    pub fn script(mut self, text: &str) -> Self {
        let path = self.home.at("application");
        fs::write(&path, text).expect("the directory is ours");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("the file is ours");
        self.application = vec![path.into_os_string()];
        self
    }

    /// An application and its arguments, as they stand on the command line.
    pub fn application<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.application = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// A variable of the launcher's environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Standard input stays open until [`Running::close_stdin`].
    pub fn with_stdin(mut self) -> Self {
        self.stdin = Stdin::Open;
        self
    }

    /// A command in front of the launcher, which becomes the launcher.
    pub fn under<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.prefix = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Its guests are some of more, which other servers run.
    pub fn of_more(self, first_rank: u32, world: u32) -> Self {
        let words = [first_rank, world].map(|number| number.to_string());
        let job = self.flags(["--first-rank", &words[0], "--world-size", &words[1]]);
        Self { first_rank, ..job }
    }

    /// The ranks are spread over the hosts h0 and h1, so many on each.
    pub fn on_two_hosts(mut self, ranks_per_host: u32) -> Self {
        self.ranks_per_host = Some(ranks_per_host);
        self.under([two_hosts("enter").as_os_str(), OsStr::new("h0")])
    }

    /// The whole job is in a host that these words enter.
    pub fn inside<W: AsRef<OsStr>>(self, words: impl IntoIterator<Item = W>) -> Self {
        let job = self.under(words);
        Self { is_elsewhere: true, ..job }
    }

    /// Its ranks are tasks of the Slurm cluster, started by srun with these options besides.
    pub fn under_srun(self, options: &[&str]) -> Self {
        let job = self.inside([slurm("enter")]);
        Self { srun: Some(options.iter().map(|option| option.to_string()).collect()), ..job }
    }

    /// These words start it, in place of launcher, program and flags.
    pub fn by<W: AsRef<OsStr>>(self, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Self { command: Some(words), ..self }
    }

    /// The words that enter the host of a rank's guest, none for this one.
    pub(super) fn entry(&self, rank: u32) -> Vec<OsString> {
        match self.ranks_per_host {
            Some(count) => {
                vec![two_hosts("enter").into(), if rank < count { "h0".into() } else { "h1".into() }]
            }
            None if self.is_elsewhere => self.prefix.clone(),
            None => Vec::new(),
        }
    }

    /// The program that was built for another launcher.
    pub fn program_of(mut self, other: Launcher) -> Self {
        self.program = other;
        self
    }

    /// Says that its logs are there and not in `log`.
    pub fn keeps_logs_in(mut self, part: &'static str) -> Self {
        self.logs = part;
        self
    }

    /// Says that it makes this directory, which stays.
    pub fn makes(mut self, part: &'static str) -> Self {
        self.made.push(part);
        self
    }

    /// Its name, as `--job` says.
    pub fn home_name(&self) -> &str {
        &self.home.name
    }

    /// A directory or file of the job's own.
    pub fn place(&self, part: &str) -> String {
        self.home.text(part)
    }

    /// Its command line as a shell takes it.
    pub fn as_shell(&self) -> String {
        let quoted = |word: &OsString| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
        self.words().iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Writes a file into its directory; its path.
    pub fn home_file(&self, name: &str, text: &str) -> String {
        fs::write(self.home.at(name), text).expect("the directory is ours");
        self.place(name)
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let before = Before::look();
        let output = |name| File::create(self.home.at(name)).expect("the directory is ours");
        let mut words = self.words().into_iter();
        let mut command = Command::new(words.next().expect("there is a program at least"));
        let mut child = command
            .args(words)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(MARK, &self.home.name)
            .env("E2E_HOME", self.home.path())
            .env("TMPDIR", self.home.at("tmp"))
            // Root is asked twice; others are not harmed.
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .current_dir(self.home.at("cwd"))
            .stdin(if self.stdin == Stdin::Open { Stdio::piped() } else { Stdio::null() })
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdin = child.stdin.take();
        Running::new(self, child, stdin, before)
    }

    /// Starts it and waits for its end, which it comes to by itself.
    pub fn run(self) -> Ended {
        self.start().ended()
    }

    /// The kind of links that `MVPNET_E2E_NET` asks for, where the test has no wish of its own.
    fn net(&self) -> Vec<OsString> {
        let own = self.flags.iter().any(|flag| flag == "-n" || flag == "--net");
        match std::env::var_os("MVPNET_E2E_NET") {
            Some(net) if !own => vec!["--net".into(), net],
            _ => Vec::new(),
        }
    }

    /// The whole command line.
    fn words(&self) -> Vec<OsString> {
        let mut words = self.prefix.clone();
        if let Some(command) = &self.command {
            words.extend(command.iter().cloned());
            return words;
        }
        let mut say = |text: &[&str]| words.extend(text.iter().map(OsString::from));
        let ranks = self.ranks.to_string();
        let per_host = self.ranks_per_host.map(|count| count.to_string());
        match self.launcher {
            Launcher::Up => {}
            launcher if let Some(options) = &self.srun => {
                let mpi = format!("--mpi={}", launcher.pmi());
                say(&["srun", "-n", &ranks, "-J", &self.home.name, &mpi]);
                options.iter().for_each(|option| say(&[option]));
            }
            Launcher::Mpich => {
                say(&["mpirun.mpich", "-n", &ranks]);
                if let Some(count) = &per_host {
                    say(&["-host", "h0,h1", "-ppn", count]);
                }
            }
            Launcher::OpenMpi => {
                say(&["mpirun.openmpi", "-n", &ranks, "--bind-to", "none"]);
                match &per_host {
                    Some(count) => say(&["--host", &format!("h0:{count},h1:{count}")]),
                    None => say(&["--oversubscribe"]),
                }
            }
        }
        words.push(self.program.program().into_os_string());
        if self.launcher == Launcher::Up {
            words.extend(["up".into(), "-N".into(), ranks.into()]);
        }
        words.extend(self.net());
        words.extend(self.flags.iter().chain(&self.application).cloned());
        words
    }
}
