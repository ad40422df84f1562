//! What a test needs and where it is found: programs, the tiny guest, the machine itself. What is missing
//! is a skip that is said aloud, or a failure with `MVPNET_REQUIRE=all`.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::wait::Stopwatch;

/// What starts the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `mvpnet up`: all ranks in one process.
    Up,
    /// MPICH's mpirun.
    Mpich,
    /// OpenMPI's mpirun.
    OpenMpi,
}

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The program, built for this launcher, and the launcher.
    Launcher(Launcher),
    /// qemu, the tiny guest's kernel and a way into it.
    Guests,
    /// What runs the guests' agent on this host.
    Agent,
    /// The tiny guest as this disk image.
    Disk(&'static str),
    /// The Debian guest's disk, and qemu.
    Debian,
    /// Programs that run commands on many hosts over ssh.
    ManyHosts,
    /// Wireshark's tools.
    Wireshark,
    /// Being root.
    Root,
    /// What the two servers are made with, and what runs on them besides mvpnet.
    Servers,
    /// A real sshd.
    Sshd,
    /// Slurm.
    Slurm,
}

/// Every launcher.
pub const LAUNCHERS: [Launcher; 3] = [Launcher::Up, Launcher::Mpich, Launcher::OpenMpi];

impl Launcher {
    /// The mpirun that Debian installs under this name.
    pub fn mpirun(self) -> Option<&'static str> {
        match self {
            Self::Up => None,
            Self::Mpich => Some("mpirun.mpich"),
            Self::OpenMpi => Some("mpirun.openmpi"),
        }
    }

    /// The plug-in of srun by which this MPI's ranks find each other.
    pub fn pmi(self) -> &'static str {
        match self {
            Self::Up => "none",
            Self::Mpich => "pmi2",
            Self::OpenMpi => "pmix",
        }
    }

    /// The program under test.
    pub fn program(self) -> PathBuf {
        let (variable, default) = match self {
            Self::Up => ("MVPNET_BIN_DIR", "target/debug"),
            Self::Mpich => ("MVPNET_MPICH_BIN_DIR", "target/mpich/debug"),
            Self::OpenMpi => ("MVPNET_OPENMPI_BIN_DIR", "target/openmpi/debug"),
        };
        directory(variable, default).join("mvpnet")
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.mpirun().unwrap_or("mvpnet up"))
    }
}

/// A file of the tiny guest.
pub fn tiny(file: &str) -> PathBuf {
    directory("MVPNET_TINY", "target/tiny").join(file)
}

/// The kernel command line that the tiny guest wants.
pub fn tiny_cmdline() -> String {
    std::fs::read_to_string(tiny("cmdline")).expect("the tiny guest was looked for").trim().to_owned()
}

/// The Debian guest's disk.
pub fn debian() -> PathBuf {
    directory("MVPNET_DEBIAN", "target/debian").join("debian.qcow2")
}

/// The load generator, which cargo builds for these tests.
pub fn loadgen() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mvpnet-loadgen"))
}

/// What takes qemu's place and has the guests' agent.
pub fn stand_in() -> PathBuf {
    checkout().join("testbeds/stand-in/guest")
}

/// The guests' agent.
pub fn agent() -> PathBuf {
    checkout().join("seed/src/agent/mvpnet-agent")
}

/// A file of the two hosts that are made of namespaces.
pub fn two_hosts(script: &str) -> PathBuf {
    checkout().join("testbeds/mpi-two-hosts").join(script)
}

/// A file of the Slurm cluster that is made of namespaces.
pub fn slurm(script: &str) -> PathBuf {
    checkout().join("testbeds/slurm").join(script)
}

/// A file of the documentation.
pub fn docs(file: &str) -> PathBuf {
    checkout().join("docs").join(file)
}

/// Whether guests can run under KVM here, as mvpnet sees it.
pub fn kvm_is_usable() -> bool {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flag = cpu.split_whitespace().any(|word| word == "vmx" || word == "svm");
    flag && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// The path of an executable on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// A test that runs: it has the machine for itself, and says at its end how long it took.
#[derive(Debug)]
pub struct Turn {
    name: String,
    watch: Stopwatch,
    _lock: File,
}

/// Begins a test, unless something that it needs is missing. One at a time, in all processes: two guests
/// already fill a small machine under emulation.
pub fn begin(needs: &[Need]) -> Option<Turn> {
    let name = test_name();
    if let Some(why) = needs.iter().find_map(|need| need.missing()) {
        skip(&why);
        return None;
    }
    // The same for everybody on this machine, whatever TMPDIR says.
    let path = Path::new("/tmp/mvpnet-e2e.lock");
    // Another user's is good enough for a lock.
    let made = File::options().create(true).append(true).open(path);
    let lock = made.or_else(|_| File::open(path)).expect("the lock file opens");
    lock.lock().expect("locks work on the temporary directory");
    Some(Turn { name, watch: Stopwatch::start(), _lock: lock })
}

/// Those of the launchers that are there; the others are skipped aloud.
pub fn launchers() -> impl Iterator<Item = Launcher> {
    LAUNCHERS.into_iter().filter(|launcher| match Need::Launcher(*launcher).missing() {
        Some(why) => {
            skip(&why);
            false
        }
        None => true,
    })
}

/// Says what of a test cannot be done here, or fails if everything must be.
pub fn skip(why: &str) {
    let name = test_name();
    let may_skip = std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all");
    assert!(may_skip, "{name} cannot run: {why}");
    say(&format!("SKIPPED {name}: {why}"));
}

/// Past libtest, which shows what a test prints only when it fails.
pub fn say(line: &str) {
    // Nobody reads it: the results still count.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// libtest names a test's thread after the test.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

impl Need {
    /// What of it is not there.
    pub fn missing(self) -> Option<String> {
        let program = |name: &str| find_program(name).is_none().then(|| format!("{name} is not installed"));
        let file = |path: PathBuf, remedy: &str| {
            let absent = !path.exists();
            absent.then(|| format!("{} is not there ({remedy})", path.display()))
        };
        match self {
            Self::Launcher(launcher) => launcher
                .mpirun()
                .and_then(program)
                .or_else(|| file(launcher.program(), "cargo build -p mvpnet-cli, see README.md")),
            Self::Guests => program("qemu-system-x86_64")
                .or_else(|| program("ssh"))
                .or_else(|| file(tiny("kernel"), "testbeds/tiny/build")),
            Self::Agent => program("python3"),
            Self::Disk(name) => file(tiny(name), "testbeds/tiny/build --disk"),
            Self::Debian => program("qemu-system-x86_64").or_else(|| file(debian(), "testbeds/debian/build")),
            Self::ManyHosts => ["pdsh", "parallel-ssh"].into_iter().find_map(program),
            Self::Wireshark => program("tshark").or_else(|| program("capinfos")),
            Self::Servers => {
                let tools = ["ip", "unshare", "ethtool", "iperf3", "ping"];
                tools.into_iter().find_map(program).or_else(|| Self::Root.missing())
            }
            Self::Sshd => {
                file("/usr/sbin/sshd".into(), "Debian: openssh-server").or_else(|| program("ssh-keygen"))
            }
            Self::Slurm => ["munged", "slurmctld", "slurmd"]
                .into_iter()
                .find_map(|daemon| file(Path::new("/usr/sbin").join(daemon), "testbeds/slurm/README.md"))
                .or_else(|| program("srun"))
                .or_else(|| Self::Root.missing()),
            Self::Root => (!nix::unistd::geteuid().is_root()).then(|| "it needs root".to_owned()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let verdict = if std::thread::panicking() { "failed" } else { "passed" };
        say(&format!("TIMED {}: {:.1} s, {verdict}", self.name, self.watch.elapsed().as_secs_f64()));
    }
}

fn directory(variable: &str, default: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => std::path::absolute(path).expect("there is a current directory"),
        None => checkout().join(default),
    }
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testbeds is a folder of the checkout")
}
