//! What carries frames between generators: nothing but a socketpair or a copy from ring to ring, the bare relay, or mvpnet.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use clap::ValueEnum;
use mvpnet_qemu_driver::links::LinkKind;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::{job::Guests, options::Library};
use crate::loadgen::stand_in;

/// The kind of the guests' links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Net {
    /// A length and a frame, over and over.
    Stream,
    /// One frame per datagram.
    Dgram,
    /// Rings in the guest's memory.
    VhostUser,
}

impl Net {
    /// All kinds.
    pub const ALL: [Net; 3] = [Net::Stream, Net::Dgram, Net::VhostUser];

    /// As mvpnet's `--net` and qemu's `-netdev` have it.
    pub fn name(self) -> &'static str {
        match self {
            Net::Stream => "stream",
            Net::Dgram => "dgram",
            Net::VhostUser => "vhost-user",
        }
    }
}

/// What joins ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Processes under mpirun.
    Mpi(Library),
    /// Threads of one process.
    Up,
}

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// One socketpair, or one thread that copies from ring to ring; two generators.
    Direct,
    /// Two threads that sleep until there are bytes; two generators, on stream links.
    Sleepers,
    /// The bare relay over the same rings; two generators.
    Relay(Over),
    /// mvpnet under mpirun.
    Mpi(Library),
    /// `mvpnet up`.
    Up,
}

impl Carrier {
    /// What joins the ranks, where there are any.
    pub fn over(self) -> Option<Over> {
        match self {
            Carrier::Direct | Carrier::Sleepers => None,
            Carrier::Relay(over) => Some(over),
            Carrier::Mpi(library) => Some(Over::Mpi(library)),
            Carrier::Up => Some(Over::Up),
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Carrier::Direct => "direct".to_owned(),
            Carrier::Sleepers => "sleepers".to_owned(),
            Carrier::Relay(Over::Mpi(library)) => format!("relay {}", library.name()),
            Carrier::Relay(Over::Up) => "relay threads".to_owned(),
            Carrier::Mpi(library) => format!("mvpnet {}", library.name()),
            Carrier::Up => "mvpnet up".to_owned(),
        };
        formatter.pad(&text)
    }
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The generator, the same for every carrier.
    pub loadgen: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

impl Programs {
    /// The generator beside this program, and the rest in `target`.
    pub fn find(target: &Path) -> anyhow::Result<Programs> {
        let own = std::env::current_exe()?;
        let loadgen = own.with_file_name("mvpnet-loadgen");
        ensure!(
            loadgen.exists(),
            "{} is not there: build mvpnet-testbeds, or call ci/bench",
            loadgen.display()
        );
        Ok(Programs { loadgen, target: std::path::absolute(target)? })
    }

    /// The program that carries, where it was built in a directory of its own.
    pub fn of(&self, carrier: Carrier) -> Option<PathBuf> {
        let name = if matches!(carrier, Carrier::Relay(_)) { RELAY } else { "mvpnet" };
        Some(match carrier.over()? {
            Over::Mpi(library) => self.built_for(library, name),
            Over::Up => self.target.join("release").join(name),
        })
    }

    /// A program that was built for an MPI.
    pub fn built_for(&self, library: Library, name: &str) -> PathBuf {
        self.target.join(library.name()).join("release").join(name)
    }

    /// Whether a carrier's program has been built.
    pub fn built(&self, carrier: Carrier) -> bool {
        self.of(carrier).is_none_or(|program| program.exists())
    }
}

/// The bare relay.
const RELAY: &str = "mvpnet-bare-relay";

/// What the command lines of a job need to know.
#[derive(Debug)]
pub struct Lines<'a> {
    /// Where the programs are.
    pub programs: &'a Programs,
    /// How many ranks.
    pub ranks: u32,
    /// The kind of their links.
    pub net: Net,
    /// Further flags of mvpnet's.
    pub extra: &'a [&'static str],
    /// How many ranks are on each of the two hosts, if there are two.
    pub per_host: Option<u32>,
    /// What the guests are.
    pub guests: &'a Guests,
    /// What mvpnet calls the job.
    pub name: &'a str,
    /// A file whose appearance ends mvpnet's application and so the job.
    pub end: &'a Path,
    /// Where mvpnet logs.
    pub logs: &'a Path,
    /// When the application gives up by itself, seconds.
    pub limit: u64,
}

impl Lines<'_> {
    /// The commands that make up the job.
    pub fn of(&self, carrier: Carrier) -> anyhow::Result<Vec<Command>> {
        let program = self.programs.of(carrier);
        let program = program.as_deref().unwrap_or(Path::new(""));
        let mut command = match carrier.over() {
            None if carrier == Carrier::Sleepers => return Ok(vec![self.between_generators("sleepers")]),
            None => return self.direct(),
            Some(Over::Mpi(library)) => {
                let mut command = mpirun(library, self.ranks, self.per_host);
                command.arg(program);
                command
            }
            Some(Over::Up) => Command::new(program),
        };
        match carrier {
            Carrier::Relay(over) => {
                ensure!(self.ranks == 2, "the relay joins two links");
                command.args([if over == Over::Up { "threads" } else { "mpi" }, self.net.name()]);
                command.arg(&self.programs.loadgen);
            }
            Carrier::Up => {
                command.arg("up").args(["-N", &self.ranks.to_string()]);
                self.flags(&mut command)?;
            }
            _ => self.flags(&mut command)?,
        }
        Ok(vec![command])
    }

    fn flags(&self, command: &mut Command) -> anyhow::Result<()> {
        match self.guests {
            Guests::Generators => {
                command.arg("-q").arg(&self.programs.loadgen);
                command.args(["--kernel", "/dev/null", "--ready", "none", "--mtu", "9000"]);
                command.args(["--stderr-level", "WARN"]);
            }
            Guests::Tiny { directory, mtu } => {
                let cmdline = fs::read_to_string(directory.join("cmdline"))?;
                command.arg("--kernel").arg(directory.join("kernel"));
                command.arg("--initrd").arg(directory.join("initrd"));
                command.args(["--append", cmdline.trim(), "--memory", "256", "--mtu", &mtu.to_string()]);
            }
        }
        command
            .args(["--kvm", "0", "--net", self.net.name(), "--job", self.name])
            .args(self.extra)
            .arg("--log-dir")
            .arg(self.logs)
            .args(["--log", "1"])
            .arg(&self.programs.loadgen)
            .arg("--await-file")
            .arg(self.end)
            .arg(self.limit.to_string());
        Ok(())
    }

    /// The relay's program without ranks, which starts both generators.
    fn between_generators(&self, way: &str) -> Command {
        let mut command = Command::new(self.programs.loadgen.with_file_name(RELAY));
        command.arg(way).arg(&self.programs.loadgen);
        command
    }

    fn direct(&self) -> anyhow::Result<Vec<Command>> {
        ensure!(self.ranks == 2, "one socketpair joins two generators");
        let (kind, socket) = match self.net {
            Net::Stream => (LinkKind::Stream, SockType::Stream),
            Net::Dgram => (LinkKind::Dgram, SockType::Datagram),
            Net::VhostUser => return Ok(vec![self.between_generators("copy")]),
        };
        let (first, second) = socketpair(AddressFamily::Unix, socket, None, SockFlag::SOCK_CLOEXEC)?;
        let generator = |rank, link| stand_in::command(&self.programs.loadgen, kind, rank, link);
        Ok(vec![generator(0, first)?, generator(1, second)?])
    }
}

/// `mpirun` for so many ranks; with two hosts, started on the first of them.
pub fn mpirun(library: Library, ranks: u32, per_host: Option<u32>) -> Command {
    let name = format!("mpirun.{}", library.name());
    let mut command = match per_host {
        Some(_) => {
            let mut enter = Command::new(two_hosts("enter"));
            enter.arg("h0").arg(name);
            enter
        }
        None => Command::new(name),
    };
    match (library, per_host) {
        (Library::Mpich, Some(count)) => {
            command.args(["-host", "h0,h1", "-ppn", &count.to_string()]);
        }
        (Library::Openmpi, Some(count)) => {
            command.args(["--host", &format!("h0:{count},h1:{count}")]);
        }
        _ => {}
    }
    if library == Library::Openmpi {
        command.args(["--oversubscribe", "--bind-to", "none"]);
        // Root is asked twice; others are not harmed.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    command.args(["-n", &ranks.to_string()]);
    command
}

/// A program of the two hosts that are made of namespaces.
pub fn two_hosts(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mpi-two-hosts").join(program)
}
