//! `mvpnet-bench`: speed and size of mvpnet, measured with load generators in qemu's place.
//!
//! Everything is compared within one run: the generators joined directly by one socketpair, the bare relay over
//! the same rings between them, and mvpnet under MPICH, under OpenMPI and as `up` take turns in every repetition, so that what else
//! the machine does falls on all of them; medians are reported. The ratios, not the numbers, say how good the switch
//! is. A target that is missed is said and is no error: machines differ. The exit status is 1 if something could
//! not be measured, a job that hangs or leaves processes behind included.
//!
//! All files are in one temporary directory, and whatever jobs leave behind is killed, Ctrl-C included.

mod carrier;
mod interrupt;
mod job;
mod options;
pub mod page;
mod processes;
mod sections;
pub mod table;

use std::{fmt::Display, fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use self::{
    carrier::{Carrier, Over, Programs},
    interrupt::Interrupt,
    job::{Job, Spec},
    options::{Options, Section},
    table::{Row, Table},
};
use crate::wall::now;

/// The program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match Bench::new(options).and_then(Bench::run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mvpnet-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One run.
pub struct Bench {
    options: Options,
    programs: Programs,
    interrupt: Interrupt,
    /// Where all jobs have their files.
    scratch: TempDir,
    /// Where OpenMPI has its shared memory; it leaves it behind when it is killed.
    segments: TempDir,
    jobs: u32,
}

impl Bench {
    fn new(options: Options) -> anyhow::Result<Bench> {
        let interrupt = Interrupt::on_signals()?;
        let programs = Programs::find(&options.target)?;
        let mut scratch = tempfile::Builder::new().prefix("mvpnet-bench-").tempdir()?;
        scratch.disable_cleanup(options.keep);
        let shm = PathBuf::from("/dev/shm");
        let base = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let segments = tempfile::Builder::new().prefix("mvpnet-bench-").tempdir_in(base)?;
        Ok(Bench { options, programs, interrupt, scratch, segments, jobs: 0 })
    }

    /// Measures and prints; whether everything could be measured.
    fn run(mut self) -> anyhow::Result<bool> {
        let start = now();
        self.say_what_is_missing();
        say_what_disturbs();
        let mut tables = Vec::new();
        for section in Section::ALL {
            if !self.options.wants(section) {
                continue;
            }
            if section.needs_root() && self.options.only.is_empty() && !geteuid().is_root() {
                eprintln!("without {section:?}: only root can make network namespaces");
                continue;
            }
            for table in sections::run(&mut self, section)?.into_iter().filter(|table| !table.rows.is_empty())
            {
                print!("{}", table.text());
                tables.push(table);
            }
        }
        self.sum_up(&tables, start.elapsed().as_secs());
        if let Some(path) = &self.options.json {
            let text = serde_json::to_string_pretty(&tables)?;
            fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(page) = &self.options.write {
            page::write(page, &tables)?;
        }
        if self.options.keep {
            eprintln!("logs and results of all jobs: {}", self.scratch.path().display());
        }
        Ok(tables.iter().flat_map(|table| &table.rows).all(|row| row.failure.is_none()))
    }

    fn say_what_is_missing(&self) {
        for carrier in self.all_carriers() {
            if !self.programs.built(carrier) {
                let program = self.programs.of(carrier).unwrap_or_default();
                eprintln!("without {carrier}: there is no {}", program.display());
            }
        }
    }

    fn sum_up(&self, tables: &[Table], seconds: u64) {
        let rows = || tables.iter().flat_map(|table| &table.rows);
        let count = |met| rows().filter(|row| row.met() == Some(met)).count();
        println!(
            "\n{} targets met, {} missed, {} rows failed; {} jobs in {seconds} s, {} CPUs",
            count(true),
            count(false),
            rows().filter(|row| row.failure.is_some()).count(),
            self.jobs,
            std::thread::available_parallelism().map_or(0, usize::from),
        );
    }

    fn all_carriers(&self) -> Vec<Carrier> {
        let libraries = self.options.libraries();
        let mut carriers = vec![Carrier::Direct];
        for library in libraries {
            carriers.extend([Carrier::Relay(Over::Mpi(library)), Carrier::Mpi(library)]);
        }
        carriers.extend([Carrier::Relay(Over::Up), Carrier::Up]);
        carriers
    }

    /// The carriers that are wanted and built.
    fn carriers(&self, pick: impl Fn(Carrier) -> bool) -> Vec<Carrier> {
        let all = self.all_carriers().into_iter();
        all.filter(|&carrier| pick(carrier) && self.programs.built(carrier)).collect()
    }

    /// Starts a job, lets `measure` do what it wants with it, and ends it.
    fn with_job<T>(
        &mut self,
        spec: Spec,
        measure: impl FnOnce(&mut Job) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.jobs += 1;
        let directory = self.scratch.path().join(self.jobs.to_string());
        let segments = self.segments.path();
        let mut job = Job::start(spec, &self.programs, directory, segments, &self.interrupt)?;
        let measured = measure(&mut job)?;
        job.end()?;
        Ok(measured)
    }

    /// Runs a job for the results of these ranks.
    fn results_of(&mut self, spec: Spec, ranks: &[u32]) -> anyhow::Result<Vec<Value>> {
        self.with_job(spec, |job| job.results(ranks))
    }

    /// Measures every carrier in turn, repetition by repetition.
    fn rounds<C: Copy + Display>(
        &mut self,
        what: &str,
        carriers: &[C],
        mut measure: impl FnMut(&mut Bench, C) -> anyhow::Result<Vec<f64>>,
    ) -> anyhow::Result<Vec<Series<C>>> {
        let start = |&carrier| Series { carrier, runs: Vec::new(), failure: None };
        let mut all: Vec<Series<C>> = carriers.iter().map(start).collect();
        for round in 1..=self.options.repetitions() {
            for series in &mut all {
                // What failed once is not tried again: a job that hangs takes its time.
                if series.failure.is_some() {
                    continue;
                }
                self.interrupt.check()?;
                match measure(self, series.carrier) {
                    Ok(values) => {
                        let texts: Vec<String> = values.iter().map(|&value| table::short(value)).collect();
                        eprintln!("{what}: {}, round {round}: {}", series.carrier, texts.join(", "));
                        series.runs.push(values);
                    }
                    Err(error) => {
                        self.interrupt.check()?;
                        eprintln!("{what}: {}, round {round}: {error:#}", series.carrier);
                        series.failure = Some(format!("{error:#}"));
                    }
                }
            }
        }
        Ok(all)
    }
}

/// Other programs' load falls on baselines and candidates alike, but not evenly.
fn say_what_disturbs() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let recent: Option<f64> = load.split_whitespace().next().and_then(|first| first.parse().ok());
    if let Some(recent) = recent.filter(|&recent| recent > 0.5) {
        eprintln!("the machine has a load of {recent} already: the numbers will say little");
    }
}

/// What one carrier gave, repetition by repetition.
#[derive(Debug)]
struct Series<C = Carrier> {
    carrier: C,
    runs: Vec<Vec<f64>>,
    failure: Option<String>,
}

impl<C: Copy + Display> Series<C> {
    /// The values of one column.
    fn column(&self, at: usize) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.get(at).copied()).collect()
    }

    /// A line of one column's values.
    fn row(&self, case: &str, at: usize) -> Row {
        let mut row = Row::new(case, self.carrier, self.column(at));
        row.failure = self.failure.clone();
        row
    }

    /// A line of the first column's values, with the medians of so many columns behind it.
    fn row_with_notes(&self, case: &str, columns: usize) -> Row {
        let mut row = self.row(case, 0);
        row.notes = (1..=columns).map(|at| self.note(at)).collect();
        row
    }

    /// A column's median, written out.
    fn note(&self, at: usize) -> String {
        table::median(&self.column(at)).map(table::short).unwrap_or_default()
    }
}
