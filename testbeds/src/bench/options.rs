//! The benchmark's command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Frames per second on stream links: 60, 1514 and 9014 bytes, one way and both ways.
    Stream,
    /// The same on dgram links.
    Dgram,
    /// The same on vhost-user links, and packets of 64 KiB that are not cut into segments.
    VhostUser,
    /// Round trips, back to back and after 2 ms of silence.
    Roundtrip,
    /// CPU of idle ranks, 2, 16 and 128 of them.
    Idle,
    /// Throughput between two ranks with 14 idle ones beside them.
    Crowd,
    /// Unicast between two ranks while others broadcast, 16, 64 and 128 of them.
    Storm,
    /// Resident memory of ranks under flood.
    Memory,
    /// Memory of a rank by the number of its peers.
    Peers,
    /// 32, 64 and 128 ranks start, ping all pairs, stop.
    Start,
    /// Time of one decision of the switch.
    Decide,
    /// Instructions per forwarded frame, by callgrind.
    Instructions,
    /// TCP between two emulated guests.
    Guests,
    /// Two ranks on two hosts that are namespaces; needs root.
    Hosts,
    /// Round trips and CPU with each `--progress`, on one host and two; needs root.
    Progress,
    /// `mvpnet bridge` beside the kernel's bridge, Open vSwitch and VDE, between namespaces; needs root.
    Vxlan,
}

/// An MPI library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Library {
    /// MPICH.
    Mpich,
    /// OpenMPI.
    Openmpi,
}

impl Section {
    /// In the order of the page.
    pub const ALL: [Section; 16] = [
        Section::Decide,
        Section::Instructions,
        Section::Stream,
        Section::Dgram,
        Section::VhostUser,
        Section::Roundtrip,
        Section::Progress,
        Section::Hosts,
        Section::Guests,
        Section::Idle,
        Section::Crowd,
        Section::Storm,
        Section::Memory,
        Section::Peers,
        Section::Start,
        Section::Vxlan,
    ];

    /// Whether it makes network namespaces.
    pub fn needs_root(self) -> bool {
        matches!(self, Section::Hosts | Section::Progress | Section::Vxlan)
    }
}

impl Library {
    /// Its name, which is also that of its target directory and the end of its mpirun's.
    pub fn name(self) -> &'static str {
        match self {
            Library::Mpich => "mpich",
            Library::Openmpi => "openmpi",
        }
    }
}

/// Measures mvpnet with load generators in qemu's place and prints ratios against baselines of the same run.
#[derive(Debug, Parser)]
#[command(name = "mvpnet-bench", version)]
pub struct Options {
    /// One short repetition of everything, to see that it works; numbers are rough
    #[arg(long)]
    pub quick: bool,
    /// Only these parts (repeat or separate by commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<Section>,
    /// Only these MPI libraries; `mvpnet up` is measured in any case
    #[arg(long, value_name = "LIBRARY", value_delimiter = ',')]
    pub mpi: Vec<Library>,
    /// Write all values to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Put the tables into this page, between its markers (docs/PERFORMANCE.md)
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Repetitions, baselines and candidates in turn; medians are reported [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: Option<u32>,
    /// Length of each measurement, after 0.3 s of warm-up [default: 2, with --quick 0.7]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub seconds: Option<f64>,
    /// Frames per system call of the generators, at most (and at most 64 KiB)
    #[arg(long, value_name = "FRAMES", default_value_t = 64)]
    pub burst: usize,
    /// Only these frame sizes, bytes
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [60, 1514, 9014])]
    pub size: Vec<usize>,
    /// Cargo's target directory, with the builds for MPI in its folders mpich and openmpi
    #[arg(long, value_name = "DIR", default_value = "target")]
    pub target: PathBuf,
    /// Keep logs and results of all jobs, and say where
    #[arg(long)]
    pub keep: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("more than 0 and at most 3600 seconds".to_owned()),
    }
}

impl Options {
    /// Whether a part is wanted.
    pub fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    /// The MPI libraries that are wanted.
    pub fn libraries(&self) -> Vec<Library> {
        let all = [Library::Mpich, Library::Openmpi];
        all.into_iter().filter(|library| self.mpi.is_empty() || self.mpi.contains(library)).collect()
    }

    /// Repetitions.
    pub fn repetitions(&self) -> u32 {
        self.repeat.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Length of a measurement.
    pub fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(if self.quick { 0.7 } else { 2.0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        let options =
            Options::parse_from(["mvpnet-bench", "--only", "stream,idle", "--mpi", "mpich", "--quick"]);
        assert!(options.wants(Section::Idle) && !options.wants(Section::Decide));
        assert_eq!(options.libraries(), [Library::Mpich]);
        assert_eq!((options.repetitions(), options.window()), (1, Duration::from_millis(700)));
    }
}
