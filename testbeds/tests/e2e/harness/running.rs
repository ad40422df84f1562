//! A job that runs, and one that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guest::Guest;
use super::home::Home;
use super::job::Job;
use super::leftovers::{Before, Places};
use super::processes::{self, Kind, Process, kill_now};
use super::wait::{Stopwatch, wait_for};

/// How long a job may take to end, once it is to.
const END: Duration = Duration::from_secs(60);

/// What a guest's console shows when it was shut down and not cut off.
const HALTED: &str = "tiny: system halted cleanly";

/// A job that runs. If the test fails meanwhile, all its processes are killed.
#[derive(Debug)]
pub struct Running {
    /// None, once it is [`Ended`]'s.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    job: Job,
    child: Child,
    stdin: Option<ChildStdin>,
    before: Before,
    ports: BTreeSet<u16>,
    watch: Stopwatch,
}

/// A job that has ended and left nothing.
#[derive(Debug)]
pub struct Ended {
    home: Home,
    ranks: u32,
    status: ExitStatus,
    /// From its start, or from when it was asked to end.
    pub took: Duration,
}

impl Running {
    pub(super) fn new(job: Job, child: Child, stdin: Option<ChildStdin>, before: Before) -> Self {
        let watch = Stopwatch::start();
        Self { parts: Some(Parts { job, child, stdin, before, ports: BTreeSet::new(), watch }) }
    }

    fn parts(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("taken at the end only")
    }

    /// The job's directory.
    pub fn home(&self) -> &Home {
        &self.parts.as_ref().expect("taken at the end only").job.home
    }

    /// Waits until the job says that all guests are up.
    pub fn wait_until_up(&mut self) {
        let up = if self.parts().job.ranks == 1 { "guest is up" } else { "guests are up" };
        self.wait_until_it_says(up);
        self.guests();
    }

    /// How long it runs.
    pub fn age(&mut self) -> Duration {
        self.parts().watch.elapsed()
    }

    /// Waits for a text on the job's standard error.
    pub fn wait_until_it_says(&mut self, text: &str) {
        let Parts { child, job, .. } = self.parts();
        let limit = job.boot;
        let ended = wait_for(limit, || {
            if job.home.read("stderr").contains(text) {
                return Some(None);
            }
            child.try_wait().expect("it is our child").map(Some)
        });
        match ended {
            // What it said last counts.
            Some(Some(_)) if self.home().read("stderr").contains(text) => {}
            Some(Some(status)) => panic!("the job ended ({status}) before it said: {text}"),
            Some(None) => {}
            None => panic!("within {limit:?} the job did not say: {text}"),
        }
    }

    /// Waits until every rank has started its qemu.
    pub fn wait_until_guests_run(&mut self) {
        let Job { ranks, boot, .. } = self.parts().job;
        let all = wait_for(boot, || {
            let processes = self.processes();
            (0..ranks).all(|rank| processes::the(&processes, Kind::Guest, rank).is_some()).then_some(())
        });
        assert!(all.is_some(), "not all guests were started");
    }

    /// All its processes.
    pub fn processes(&self) -> Vec<Process> {
        processes::of_job(&self.home().name)
    }

    /// The process of this kind and rank.
    pub fn process(&self, kind: Kind, rank: u32) -> Process {
        let found =
            wait_for(Duration::from_secs(10), || processes::the(&self.processes(), kind, rank).cloned());
        found.unwrap_or_else(|| panic!("there is no {kind:?} of rank {rank}: {:#?}", self.processes()))
    }

    /// Ways into the guests, in the order of their ranks.
    pub fn guests(&mut self) -> Vec<Guest> {
        let ranks = self.parts().job.first_rank..self.parts().job.first_rank + self.parts().job.ranks;
        let guests: Vec<Process> = ranks.clone().map(|rank| self.process(Kind::Guest, rank)).collect();
        let parts = self.parts();
        let ports = guests.iter().filter_map(|guest| guest.ssh_port);
        parts.ports.extend(ports);
        let way = |(rank, guest): (u32, &Process)| {
            let port = guest.ssh_port.expect("every guest is told its port");
            Guest { rank, port, entry: parts.job.entry(rank) }
        };
        ranks.zip(&guests).map(way).collect()
    }

    /// Waits until the generators of these ranks have written what they measured.
    pub fn wait_for_results(&mut self, ranks: std::ops::RangeInclusive<u32>) {
        let Parts { child, job, .. } = self.parts();
        let limit = job.boot;
        let all = wait_for(limit, || {
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the job ended ({ended:?}) before the generators had results");
            let has_result = |rank| job.home.read(&format!("out/rank-{rank}.jsonl")).contains('\n');
            ranks.clone().all(has_result).then_some(())
        });
        assert!(all.is_some(), "not all generators had results within {limit:?}");
    }

    /// Has the application end with this exit code, or by this signal if it is negative.
    pub fn end_with(&mut self, code: i32) {
        self.parts().watch = Stopwatch::start();
        fs::write(self.home().at("end"), code.to_string()).expect("the directory is ours");
    }

    /// Sends a signal to what was started: mpirun, or `mvpnet up`.
    pub fn signal(&mut self, signal: Signal) {
        let parts = self.parts();
        parts.watch = Stopwatch::start();
        let pid = Pid::from_raw(i32::try_from(parts.child.id()).expect("numbers of processes are positive"));
        kill(pid, signal).expect("it is our child and not waited for");
    }

    /// Sends a signal to one of its processes.
    pub fn signal_to(&mut self, kind: Kind, rank: u32, signal: Signal) {
        self.signal_to_each(kind, &[rank], signal);
    }

    /// Sends a signal to the processes of these ranks, all at once.
    pub fn signal_to_each(&mut self, kind: Kind, ranks: &[u32], signal: Signal) {
        let pids: Vec<Pid> = ranks.iter().map(|rank| self.process(kind, *rank).pid).collect();
        self.parts().watch = Stopwatch::start();
        for (place, pid) in pids.into_iter().enumerate() {
            let sent = kill(pid, signal);
            // The death of the first may have been the end of the others already.
            assert!(sent.is_ok() || place > 0, "{pid} is gone before it was sent {signal}");
        }
    }

    /// End of file on its standard input.
    pub fn close_stdin(&mut self) {
        let parts = self.parts();
        parts.watch = Stopwatch::start();
        drop(parts.stdin.take().expect("the job was started with an open standard input"));
    }

    /// Waits for its end, and that nothing is left of it.
    pub fn ended(self) -> Ended {
        self.ended_within(END)
    }

    /// The same, with another limit.
    pub fn ended_within(mut self, limit: Duration) -> Ended {
        let parts = self.parts();
        let child = &mut parts.child;
        let status = wait_for(limit, || child.try_wait().expect("it is our child"));
        let status = status.unwrap_or_else(|| panic!("the job did not end within {limit:?}"));
        let took = parts.watch.elapsed();
        let home = &parts.job.home;
        let emptied = ["run", "sock", "tmp", "cwd"].into_iter().chain(parts.job.made.iter().copied());
        let places = Places {
            mark: &home.name,
            home: home.path(),
            emptied: &emptied.map(|part| home.at(part)).collect::<Vec<_>>(),
            logs: &home.at(parts.job.logs),
            stays: &parts.job.made.iter().map(|part| home.at(part)).collect::<Vec<_>>(),
            ports: &parts.ports,
        };
        let left = parts.before.left(&places);
        assert!(left.is_empty(), "this is left of the job: {left:#?}");
        let parts = self.parts.take().expect("taken here only");
        Ended { ranks: parts.job.ranks, home: parts.job.home, status, took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(parts) = &mut self.parts else { return };
        if std::thread::panicking() {
            super::setting::say(&parts.job.home.story());
        }
        let _ = parts.child.kill();
        let _ = parts.child.wait();
        wait_for(END, || {
            // Found by our own mark: all of them are this job's.
            let left = self.processes();
            left.iter().for_each(|process| kill_now(process.pid));
            left.is_empty().then_some(())
        });
    }
}

impl Ended {
    /// The job's directory.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its exit code, as a shell shows it.
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| Some(128 + self.status.signal()?)).expect("one of both")
    }

    /// Checks the exit code.
    pub fn assert_code(&self, expected: i32) {
        assert_eq!(self.code(), expected, "the job's exit code");
    }

    /// What it wrote to standard error.
    pub fn stderr(&self) -> String {
        self.home.read("stderr")
    }

    /// What it wrote to standard output.
    pub fn stdout(&self) -> String {
        self.home.read("stdout")
    }

    /// Checks that it said this on standard error.
    pub fn assert_said(&self, text: &str) {
        assert!(self.stderr().contains(text), "the job did not say: {text}");
    }

    /// A rank's console.
    pub fn console(&self, rank: u32) -> String {
        self.home.read(&format!("log/con.{}.{rank}.log", self.home.name))
    }

    /// Checks that the guests were shut down and not cut off.
    pub fn assert_all_halted(&self) {
        for rank in 0..self.ranks {
            assert!(self.console(rank).contains(HALTED), "the guest of rank {rank} was cut off");
        }
    }

    /// The counters that rank 0 gathered: `RANK.NAME` to value.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let text = self.home.read(&format!("log/gstats.{}.0.log", self.home.name));
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// A generator's result.
    pub fn result(&self, rank: u32) -> serde_json::Value {
        let text = self.home.read(&format!("out/rank-{rank}.jsonl"));
        let line =
            text.lines().next().unwrap_or_else(|| panic!("the generator of rank {rank} has no result"));
        serde_json::from_str(line).expect("results are lines of JSON")
    }
}
