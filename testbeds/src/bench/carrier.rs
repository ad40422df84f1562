//! What carries frames between generators: nothing but a socketpair, the bare relay, or mvpnet.

use std::{
    fmt,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use clap::ValueEnum;
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::options::Library;

/// The kind of the guests' links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Net {
    /// A length and a frame, over and over.
    Stream,
    /// One frame per datagram.
    Dgram,
}

impl Net {
    /// As mvpnet's `--net` and qemu's `-netdev` have it.
    pub fn name(self) -> &'static str {
        match self {
            Net::Stream => "stream",
            Net::Dgram => "dgram",
        }
    }
}

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// One socketpair; two generators.
    Direct,
    /// The bare relay over MPI; two generators, stream only.
    Relay(Library),
    /// mvpnet under mpirun.
    Mpi(Library),
    /// `mvpnet up`.
    Up,
}

impl fmt::Display for Carrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Carrier::Direct => "direct".to_owned(),
            Carrier::Relay(library) => format!("relay {}", library.name()),
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

    /// The program that carries, none for [`Carrier::Direct`].
    pub fn of(&self, carrier: Carrier) -> Option<PathBuf> {
        match carrier {
            Carrier::Direct => None,
            Carrier::Relay(library) => {
                Some(self.target.join(library.name()).join("release/mvpnet-bare-relay"))
            }
            Carrier::Mpi(library) => Some(self.target.join(library.name()).join("release/mvpnet")),
            Carrier::Up => Some(self.target.join("release/mvpnet")),
        }
    }

    /// Whether a carrier's program has been built.
    pub fn built(&self, carrier: Carrier) -> bool {
        self.of(carrier).is_none_or(|program| program.exists())
    }
}

/// What the command lines of a job need to know.
#[derive(Debug)]
pub struct Lines<'a> {
    /// Where the programs are.
    pub programs: &'a Programs,
    /// How many ranks.
    pub ranks: u32,
    /// The kind of their links.
    pub net: Net,
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
        Ok(match carrier {
            Carrier::Direct => self.direct()?,
            Carrier::Relay(library) => {
                ensure!(self.net == Net::Stream && self.ranks == 2, "the relay joins two stream links");
                let mut command = mpirun(library, 2);
                command.arg(program).arg(&self.programs.loadgen);
                vec![command]
            }
            Carrier::Mpi(library) => {
                let mut command = mpirun(library, self.ranks);
                command.arg(program);
                self.flags(&mut command);
                vec![command]
            }
            Carrier::Up => {
                let mut command = Command::new(program);
                command.arg("up").args(["-N", &self.ranks.to_string()]);
                self.flags(&mut command);
                vec![command]
            }
        })
    }

    fn flags(&self, command: &mut Command) {
        command
            .arg("-q")
            .arg(&self.programs.loadgen)
            .args(["--kvm", "0", "--kernel", "/dev/null", "--ready", "none", "--mtu", "9000"])
            .args(["--net", self.net.name()])
            .arg("--log-dir")
            .arg(self.logs)
            .args(["--log", "1", "--stderr-level", "WARN"])
            .arg(&self.programs.loadgen)
            .arg("--await-file")
            .arg(self.end)
            .arg(self.limit.to_string());
    }

    fn direct(&self) -> anyhow::Result<Vec<Command>> {
        ensure!(self.ranks == 2, "one socketpair joins two generators");
        let kind = match self.net {
            Net::Stream => SockType::Stream,
            Net::Dgram => SockType::Datagram,
        };
        let (first, second) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        Ok(vec![self.generator(0, first)?, self.generator(1, second)?])
    }

    /// A generator with the arguments that mvpnet gives to a guest, as far as it reads them.
    fn generator(&self, rank: u32, link: OwnedFd) -> anyhow::Result<Command> {
        const LINK: i32 = 3;
        let netdev = match self.net {
            Net::Stream => format!("stream,id=mvp,addr.type=fd,addr.str={LINK}"),
            Net::Dgram => format!("dgram,id=mvp,local.type=fd,local.str={LINK}"),
        };
        let mut command = Command::new(&self.programs.loadgen);
        command
            .args(["-netdev", &netdev])
            .args(["-device", &format!("virtio-net-pci,netdev=mvp,mac=52:55:00:00:00:{rank:02x}")])
            .args(["-device", "virtio-net-pci,netdev=user,mac=52:56:00:00:00:02"])
            .fd_mappings(vec![FdMapping { parent_fd: link, child_fd: LINK }])?;
        Ok(command)
    }
}

fn mpirun(library: Library, ranks: u32) -> Command {
    let mut command = Command::new(format!("mpirun.{}", library.name()));
    if library == Library::Openmpi {
        command.args(["--oversubscribe", "--bind-to", "none"]);
        // Root is asked twice; others are not harmed.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    command.args(["-n", &ranks.to_string()]);
    command
}
