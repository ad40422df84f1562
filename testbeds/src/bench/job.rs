//! One job: starting it, waiting for its generators' results, ending it, and leaving nothing behind.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    carrier::{Carrier, Lines, Net, Programs},
    interrupt::Interrupt,
    processes,
};
use crate::loadgen;
use crate::wall::{nap, now};

/// How long a job may take to end once it is told to.
const ENDING: Duration = Duration::from_secs(20);
/// How long what is left of a job that was told to end by SIGTERM may take.
const GRACE: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What carries the frames.
    pub carrier: Carrier,
    /// The kind of links.
    pub net: Net,
    /// How many ranks.
    pub ranks: u32,
    /// What their generators do.
    pub script: String,
    /// How long until its results must be there.
    pub limit: Duration,
    /// Further flags of mvpnet's.
    pub extra: Vec<&'static str>,
    /// How many ranks are on each of two hosts; without it all are here.
    pub per_host: Option<u32>,
    /// What the guests are.
    pub guests: Guests,
}

/// What is in the guests' place.
#[derive(Debug, Clone)]
pub enum Guests {
    /// Load generators.
    Generators,
    /// Tiny guests under qemu, with this MTU.
    Tiny {
        /// Where `testbeds/tiny/build` has put them.
        directory: PathBuf,
        /// Of their network.
        mtu: u32,
    },
}

impl Spec {
    /// A job on this host, without further flags.
    pub fn new(carrier: Carrier, net: Net, ranks: u32, script: impl Into<String>, limit: Duration) -> Spec {
        let guests = Guests::Generators;
        Spec { carrier, net, ranks, script: script.into(), limit, extra: Vec::new(), per_host: None, guests }
    }

    /// With flags of mvpnet's.
    pub fn with(self, extra: &[&'static str]) -> Spec {
        Spec { extra: extra.to_vec(), ..self }
    }

    /// With tiny guests under qemu.
    pub fn with_guests(self, directory: PathBuf, mtu: u32) -> Spec {
        Spec { guests: Guests::Tiny { directory, mtu }, ..self }
    }

    /// On two hosts, half of the ranks on each.
    pub fn on_two_hosts(self) -> Spec {
        Spec { per_host: Some(self.ranks / 2), ..self }
    }
}

/// A job that runs.
#[derive(Debug)]
pub struct Job {
    spec: Spec,
    children: Vec<Child>,
    directory: PathBuf,
    interrupt: Interrupt,
    program: Option<PathBuf>,
}

impl Job {
    /// Starts a job whose files are all in `directory`, which it makes.
    pub fn start(
        spec: Spec,
        programs: &Programs,
        directory: PathBuf,
        segments: &Path,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Job> {
        for part in ["out", "log", "tmp"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let lines = Lines {
            programs,
            ranks: spec.ranks,
            net: spec.net,
            extra: &spec.extra,
            per_host: spec.per_host,
            guests: &spec.guests,
            name: &name_of(&directory),
            end: &directory.join("end"),
            logs: &directory.join("log"),
            limit: (spec.limit + ENDING).as_secs(),
        };
        let commands = lines.of(spec.carrier)?;
        let program = programs.of(spec.carrier).and_then(|program| program.canonicalize().ok());
        let interrupt = interrupt.clone();
        let mut job = Job { spec, children: Vec::new(), directory, interrupt, program };
        for mut command in commands {
            let log = File::options().create(true).append(true).open(job.log())?;
            command
                .env(loadgen::SCRIPT, &job.spec.script)
                .env(loadgen::OUT, job.out())
                .env("TMPDIR", job.directory.join("tmp"))
                .env("OMPI_MCA_btl_vader_backing_directory", segments)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0);
            let program = command.get_program().to_owned();
            let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
            job.children.push(child);
        }
        Ok(job)
    }

    /// Waits until the generators of all ranks have their links.
    pub fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let files: Vec<PathBuf> =
            (0..self.spec.ranks).map(|rank| loadgen::up_file(&self.out(), rank)).collect();
        self.watch("all generators up", |_| Ok(files.iter().all(|file| file.exists()).then_some(())))
    }

    /// Waits until the job has said something.
    pub fn wait_until_said(&mut self, what: &str) -> anyhow::Result<()> {
        self.watch(what, |job| {
            let log = fs::read_to_string(job.log()).unwrap_or_default();
            Ok(log.contains(what).then_some(()))
        })
    }

    /// Runs a shell command in a tiny guest: what it prints.
    pub fn in_guest(&self, rank: u32, command: &str) -> anyhow::Result<String> {
        let Guests::Tiny { directory, .. } = &self.spec.guests else { bail!("there are no guests") };
        let port = self.status()?["ranks"][rank as usize]["ssh_port"].as_u64();
        let port = port.with_context(|| format!("the guest of rank {rank} has no ssh port"))?.to_string();
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(directory.join("ssh_config")).args(["-p", &port, "tiny", command]);
        said(&mut ssh)
    }

    /// Frames that the ranks have dropped so far.
    pub fn dropped(&self) -> anyhow::Result<f64> {
        let status = self.status()?;
        let ranks = status["ranks"].as_array().context("mvpnet status names no ranks")?;
        Ok(ranks.iter().filter_map(|rank| rank["drops"].as_f64()).sum())
    }

    /// What `mvpnet status` says of the job.
    fn status(&self) -> anyhow::Result<Value> {
        let program = self.program.as_ref().context("nobody to ask")?;
        let mut status = Command::new(program);
        let text = said(status.args(["status", "--json", "--job", &name_of(&self.directory)]))?;
        serde_json::from_str(&text).with_context(|| format!("mvpnet status: {text:?}"))
    }

    /// Waits for the results of these ranks. A generator that reports an error is an error.
    pub fn results(&mut self, ranks: &[u32]) -> anyhow::Result<Vec<Value>> {
        let out = self.out();
        self.watch("results of the generators", |_| {
            let mut results = Vec::new();
            for &rank in ranks {
                let Some(result) = read_result(&out, rank)? else { return Ok(None) };
                results.push(result);
            }
            Ok(Some(results))
        })
    }

    /// Waits for a condition while the job lives.
    fn watch<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Job) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let interrupt = self.interrupt.clone();
        let limit = self.spec.limit;
        let found = interrupt.wait_for(what, limit, || {
            if let Some(found) = look(self)? {
                return Ok(Some(found));
            }
            let ended = self.ended()?;
            // What a generator wrote just before it ended counts.
            match look(self)? {
                None if ended => bail!("the job ended before: {what}"),
                found => Ok(found),
            }
        });
        found.with_context(|| self.story())
    }

    /// Tells the job to end, waits for that, and looks whether anything is left. The error says what went wrong.
    pub fn end(mut self) -> anyhow::Result<()> {
        fs::write(self.directory.join("end"), b"")?;
        if self.spec.carrier == Carrier::Direct {
            self.signal_children(Signal::SIGTERM);
        }
        let start = now();
        while !self.ended()? && start.elapsed() < ENDING && !self.interrupt.raised() {
            nap(Duration::from_millis(10));
        }
        let ended = self.ended()?;
        let failed = self.failed_child()?;
        let left = self.wait_for_the_last();
        if !ended {
            bail!("the job did not end within {ENDING:?}; {}", self.story());
        }
        if !left.is_empty() {
            bail!("the job left processes behind: {}; {}", left.join(", "), self.story());
        }
        if let Some(status) = failed {
            bail!("the job ended with {status}; {}", self.story());
        }
        Ok(())
    }

    /// The processes of the job that run mvpnet itself: ranks and what watches over their guests.
    pub fn own_processes(&self) -> Vec<Pid> {
        let all = processes::with_out(&self.out()).into_iter();
        // The application is a generator, and so are the guests.
        all.filter(|&pid| self.program.is_some() && processes::program(pid) == self.program).collect()
    }

    fn out(&self) -> PathBuf {
        self.directory.join("out")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("job.log")
    }

    fn ended(&mut self) -> anyhow::Result<bool> {
        for child in &mut self.children {
            if child.try_wait()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn failed_child(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()?.filter(|status| !status.success()) {
                return Ok(Some(status));
            }
        }
        Ok(None)
    }

    fn signal_children(&mut self, signal: Signal) {
        for child in &mut self.children {
            if matches!(child.try_wait(), Ok(None)) {
                // It may end at this moment; its number is not reused before we have waited for it.
                let _ = kill(Pid::from_raw(child.id() as i32), signal);
            }
        }
    }

    /// Gives processes that are about to end a moment; who is still there after it, by command line.
    fn wait_for_the_last(&self) -> Vec<String> {
        let start = now();
        loop {
            let left = processes::with_out(&self.out());
            let left: Vec<Pid> = left.into_iter().filter(|&pid| !processes::is_zombie(pid)).collect();
            if left.is_empty() || start.elapsed() >= Duration::from_secs(2) {
                return left.into_iter().map(processes::command_line).collect();
            }
            nap(Duration::from_millis(20));
        }
    }

    /// What the job was and the last lines that it wrote.
    fn story(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n    ");
        let Spec { carrier, net, ranks, script, .. } = &self.spec;
        format!("{carrier}, {}, {ranks} ranks, {script:?}; its last lines:\n    {tail}\n", net.name())
    }
}

impl Drop for Job {
    /// Whatever is left of the job goes: asked first, then not.
    fn drop(&mut self) {
        self.signal_children(Signal::SIGTERM);
        let start = now();
        while !matches!(self.ended(), Ok(true)) && start.elapsed() < GRACE {
            nap(Duration::from_millis(10));
        }
        for pid in processes::with_out(&self.out()) {
            // Found by our own directory in its environment: one of ours.
            let _ = kill(pid, Signal::SIGKILL);
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// What mvpnet calls a job that has its files there: other benchmarks may run on this machine.
fn name_of(directory: &Path) -> String {
    let number = directory.file_name().unwrap_or_default().to_string_lossy();
    format!("bench-{}-{number}", std::process::id())
}

/// What a program prints that has to succeed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let said = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let program = command.get_program().to_string_lossy();
    ensure!(said.status.success(), "{program}: {}", text(&said.stderr).trim());
    Ok(text(&said.stdout))
}

/// A rank's first result, once its line is whole.
fn read_result(out: &Path, rank: u32) -> anyhow::Result<Option<Value>> {
    let Ok(text) = fs::read_to_string(loadgen::result_file(out, rank)) else { return Ok(None) };
    let Some((line, _)) = text.split_once('\n') else { return Ok(None) };
    let result: Value = serde_json::from_str(line).with_context(|| format!("rank {rank} wrote {line:?}"))?;
    if let Some(error) = result["error"].as_str() {
        bail!("the generator of rank {rank}: {error}");
    }
    Ok(Some(result))
}
