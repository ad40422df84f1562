//! What the user is told while a job lives, on standard error, by the process of rank 0.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mvpnet_node::job::{self, Failure, Notice, Numbers, Problem};
use mvpnet_switch::World;
use tokio::sync::mpsc;
use tokio::time::interval;

use super::ready_file::ReadyFile;
use super::ssh_files::SshFiles;
use super::statistics;
use crate::args::RankOptions;
use crate::logs::file_in;
use crate::progress::{Phase, Printer, Status};

/// How often the elapsed time is brought up to date.
const TICK: Duration = Duration::from_secs(1);

/// Guests whose ssh ports are listed when all are up.
const LISTED: usize = 16;

/// Tells the user of a job's progress and troubles.
pub struct Teller {
    printer: Printer<std::io::Stderr>,
    status: Status,
    ssh_ports: Vec<u16>,
    begun: Instant,
    shows_progress: bool,
    /// Whether any guest is on its way: before that there is only what may be wrong.
    has_begun: bool,
    has_application: bool,
    user: Option<String>,
    statistics: Option<PathBuf>,
    numbers: Numbers,
    ready_file: Option<ReadyFile>,
    ssh_files: Option<SshFiles>,
    /// Whether something is known since that the files do not say.
    ssh_files_are_old: bool,
    /// Where the ranks are, by their place in the job.
    hosts: Vec<String>,
    job: Option<String>,
    /// To be said when it is known that nothing is wrong.
    notes: Vec<String>,
}

impl Teller {
    /// For a job of `world` ranks, with the options of its rank 0.
    #[allow(clippy::disallowed_methods, reason = "people want to know how long it takes in their time")]
    pub fn new(world: World, numbers: Numbers, options: &RankOptions) -> Self {
        let shared = &options.shared;
        let size = world.size() as usize;
        Self {
            printer: Printer::stderr(),
            status: Status::new(size),
            ssh_ports: vec![0; size],
            begun: Instant::now(),
            shows_progress: shared.progress,
            has_begun: false,
            has_application: !shared.application.is_empty(),
            user: shared.user.clone(),
            statistics: shared
                .global_stats
                .then(|| file_in(&shared.log_dir, "gstats", shared.job.as_deref(), numbers.first(), "log")),
            numbers,
            ready_file: None,
            ssh_files: None,
            ssh_files_are_old: true,
            hosts: Vec::new(),
            job: shared.job.clone(),
            notes: Vec::new(),
        }
    }

    /// Says this when the guests are started.
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// Keeps the files by which ssh knows the guests up to date.
    pub fn with_ssh_files(self, ssh_files: SshFiles) -> Self {
        Self { ssh_files: Some(ssh_files), ..self }
    }

    /// Describes the guests in this file too, if there is one, when all are up.
    pub fn with_ready_file(self, ready_file: Option<ReadyFile>) -> Self {
        Self { ready_file, ..self }
    }

    /// Tells until nothing more can come.
    pub async fn tell(mut self, mut notices: mpsc::UnboundedReceiver<Notice>) {
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.take(notice),
                    None => break,
                },
                _ = tick.tick() => {
                    self.update();
                    self.write_ssh_files();
                }
            }
        }
        self.printer.finish();
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Progress { rank, phase } => self.progress(rank as usize, &phase),
            Notice::Problem { ranks, problem } => self.problem(&ranks, &problem),
            Notice::Failure { rank, failure } => self.failure(rank as usize, &failure),
            Notice::Hosts(hosts) => self.begin(hosts),
            Notice::AllReady => self.all_ready(),
            Notice::Stopping { reason } => {
                self.shows_progress = false;
                self.say(&format!("stopping: {reason}"));
            }
            Notice::Counters(counters) => self.counters(&counters),
        }
    }

    fn begin(&mut self, hosts: Vec<String>) {
        self.hosts = hosts;
        if self.shows_progress {
            std::mem::take(&mut self.notes).iter().for_each(|note| self.say(note));
        }
    }

    fn progress(&mut self, rank: usize, phase: &job::Phase) {
        self.has_begun = true;
        if let (job::Phase::Ready { ssh_port }, Some(port)) = (phase, self.ssh_ports.get_mut(rank)) {
            *port = *ssh_port;
            self.ssh_files_are_old = true;
        }
        if let Some(shown) = self.status.ranks.get_mut(rank) {
            *shown = match phase {
                job::Phase::Preparing => Phase::Preparing,
                job::Phase::Copying { done, total } => Phase::CopyingImage { done: *done, total: *total },
                job::Phase::Booting => Phase::Booting,
                job::Phase::Ready { .. } => Phase::Ready,
                // A guest that failed is off too, but that is not what people want to know of it.
                job::Phase::Stopping | job::Phase::Off if *shown == Phase::Failed => Phase::Failed,
                job::Phase::Stopping => *shown,
                job::Phase::Off => Phase::Off,
            };
        }
        self.update();
    }

    fn update(&mut self) {
        if self.shows_progress && self.has_begun {
            self.status.elapsed = self.begun.elapsed();
            self.printer.update(&self.status);
        }
    }

    fn problem(&mut self, ranks: &[u32], problem: &Problem) {
        let of_job = problem.of_job || ranks.len() == self.status.ranks.len();
        let who = if of_job { String::new() } else { self.named(ranks) };
        self.say(&format!("{who}{}", problem.text));
    }

    fn failure(&mut self, rank: usize, failure: &Failure) {
        if let Some(shown) = self.status.ranks.get_mut(rank) {
            *shown = Phase::Failed;
        }
        let rank = self.number(rank);
        self.say(&format!("rank {rank}: {}", failure.why));
        if failure.console.is_empty() {
            return;
        }
        self.say(&format!("rank {rank}: the last lines of its console:"));
        for line in &failure.console {
            self.printer.message(&format!("    | {line}"));
        }
    }

    /// Writes down how ssh gets into the guests: straight into those of this host, and through the job into all others
    /// and those that are not up.
    fn write_ssh_files(&mut self) {
        let Some(files) = self.ssh_files.as_ref().filter(|_| self.ssh_files_are_old && self.has_begun) else {
            return;
        };
        let here = self.hosts.first();
        let port = |(place, port): (usize, &u16)| {
            (*port != 0 && here.is_some() && self.hosts.get(place) == here).then_some(*port)
        };
        let ports: Vec<Option<u16>> = self.ssh_ports.iter().enumerate().map(port).collect();
        if let Err(error) = files.write(&ports) {
            tracing::warn!("`mvpnet ssh` will not work: {error}");
        }
        self.ssh_files_are_old = false;
    }

    fn all_ready(&mut self) {
        self.update();
        self.write_ssh_files();
        let shows_progress = std::mem::take(&mut self.shows_progress);
        self.printer.finish();
        let guests = if self.status.ranks.len() == 1 { "guest is" } else { "guests are" };
        let seconds = self.begun.elapsed().as_secs();
        self.say(&format!("{} {guests} up after {seconds} s", self.status.ranks.len()));
        if let Some(file) = &self.ready_file
            && let Err(error) = file.write(self.numbers, &self.ssh_ports, self.user.as_deref())
        {
            self.say(&error);
        }
        if shows_progress && self.ssh_files.is_some() {
            let job = self.job.as_ref().map(|job| format!("-j {job} ")).unwrap_or_default();
            self.say(&format!("log in by `mvpnet ssh {job}{}`", self.numbers.first()));
        }
        if self.has_application {
            return;
        }
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let ports: Vec<(usize, u16)> = self.ssh_ports.iter().copied().enumerate().take(LISTED).collect();
        for (rank, port) in ports {
            if port != 0 {
                let number = self.number(rank);
                self.say(&format!("n{number:04}: ssh -p {port} {user}127.0.0.1"));
            }
        }
        self.say("there is no application to wait for: the guests stay up until the job is stopped (Ctrl-C)");
    }

    fn counters(&mut self, counters: &[job::CounterList]) {
        let Some(path) = &self.statistics else { return };
        let text = statistics::render(self.numbers.first(), counters);
        match std::fs::write(path, text) {
            Ok(()) => {
                let text = format!("counters of all ranks are in {}", path.display());
                self.say(&text);
            }
            Err(error) => {
                let text = format!("cannot write {}: {error}", path.display());
                self.say(&text);
            }
        }
    }

    /// `rank 3: ` or `ranks 1, 4, 5: `.
    fn named(&self, ranks: &[u32]) -> String {
        let list: Vec<String> = ranks.iter().map(|rank| self.numbers.shown(*rank).to_string()).collect();
        let noun = if list.len() == 1 { "rank" } else { "ranks" };
        format!("{noun} {}: ", list.join(", "))
    }

    /// What people call the rank with this index in the job.
    fn number(&self, rank: usize) -> u32 {
        self.numbers.shown(u32::try_from(rank).expect("a job has at most 2^24 ranks"))
    }

    fn say(&mut self, text: &str) {
        self.printer.message(&format!("mvpnet: {text}"));
    }
}
