//! The conformance suite over `mpi`, under every MPI that there is, and what a program built for another MPI
//! says.
//!
//! The programs are built beforehand, one target directory per MPI, and their directories come by
//! MVPNET_MPICH_BIN_DIR and MVPNET_OPENMPI_BIN_DIR:
//!
//! ```text
//! MPICC=mpicc.mpich cargo build -p mvpnet-transports --features mpi --target-dir target/mpich
//! MVPNET_MPICH_BIN_DIR=target/mpich/debug cargo test -p mvpnet-transports --test mpi
//! ```
//!
//! A test that misses what it needs prints `skipped: …`, and fails with MVPNET_REQUIRE=all.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds that one run may take.
const LIMIT: &str = "150";

/// One job at a time: each has more ranks than a small machine has cores.
static JOBS: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy)]
enum Mpi {
    Mpich,
    OpenMpi,
}

impl Mpi {
    /// Where the programs built for this MPI are; `None` with a word to the reader where they are not.
    fn program(self) -> Option<PathBuf> {
        let (variable, mpirun) = match self {
            Mpi::Mpich => ("MVPNET_MPICH_BIN_DIR", "mpirun.mpich"),
            Mpi::OpenMpi => ("MVPNET_OPENMPI_BIN_DIR", "mpirun.openmpi"),
        };
        let program =
            std::env::var_os(variable).map(|directory| root().join(directory).join("mpi-conformance"));
        let missing = match &program {
            None => format!("{variable} is not set"),
            Some(program) if !program.is_file() => format!("there is no {}", program.display()),
            Some(_) if Command::new(mpirun).arg("--version").output().is_err() => {
                format!("there is no {mpirun}")
            }
            Some(_) => return program,
        };
        println!("skipped: {missing}");
        assert!(std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all"), "{missing}, and MVPNET_REQUIRE=all");
        None
    }

    /// `mpirun -n RANKS`, under a time limit.
    fn run(self, ranks: u32) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", LIMIT]);
        match self {
            Mpi::Mpich => command.arg("mpirun.mpich"),
            Mpi::OpenMpi => command.args(["mpirun.openmpi", "--oversubscribe", "--bind-to", "none"]),
        };
        command.args(["-n", &ranks.to_string()]);
        command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
        command
    }
}

/// Cargo runs tests in the package's directory; paths in the environment count from the workspace's.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn output(command: &mut Command) -> Output {
    let _one_at_a_time = JOBS.lock().unwrap_or_else(PoisonError::into_inner);
    command.output().expect("timeout(1) is part of every Debian")
}

fn conforms(mpi: Mpi, ranks: u32, bells: &str) {
    let Some(program) = mpi.program() else { return };
    let output = output(mpi.run(ranks).arg(program).arg(bells));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let conforms = out.contains(&format!("{ranks} ranks conform over"));
    assert!(output.status.success() && conforms, "{}\n{out}\n{err}", output.status);
}

macro_rules! conforms {
    ($($name:ident: $mpi:ident, $ranks:expr, $bells:expr;)*) => {
        $(
            #[test]
            fn $name() {
                conforms(Mpi::$mpi, $ranks, $bells);
            }
        )*
    };
}

conforms! {
    one_rank_conforms_over_mpich: Mpich, 1, "shm";
    two_ranks_conform_over_mpich: Mpich, 2, "shm";
    three_ranks_conform_over_mpich: Mpich, 3, "shm";
    five_ranks_conform_over_mpich: Mpich, 5, "shm";
    two_ranks_that_share_nothing_conform_over_mpich: Mpich, 2, "auto";
    five_ranks_that_share_nothing_conform_over_mpich: Mpich, 5, "auto";
    three_ranks_that_ring_by_datagram_conform_over_mpich: Mpich, 3, "datagram";
    three_ranks_that_never_ring_conform_over_mpich: Mpich, 3, "none";
    one_rank_conforms_over_openmpi: OpenMpi, 1, "shm";
    two_ranks_conform_over_openmpi: OpenMpi, 2, "shm";
    three_ranks_conform_over_openmpi: OpenMpi, 3, "shm";
    five_ranks_conform_over_openmpi: OpenMpi, 5, "shm";
    two_ranks_that_share_nothing_conform_over_openmpi: OpenMpi, 2, "auto";
    five_ranks_that_share_nothing_conform_over_openmpi: OpenMpi, 5, "auto";
    three_ranks_that_ring_by_datagram_conform_over_openmpi: OpenMpi, 3, "datagram";
    three_ranks_that_never_ring_conform_over_openmpi: OpenMpi, 3, "none";
}

/// Under launchers that are told not to end a job because one of its processes has ended.
fn comes_to_an_end_although_deserted(mpi: Mpi, keep_going: &str) {
    let Some(program) = mpi.program() else { return };
    for way in ["deserted", "deserted-messages"] {
        let output = output(mpi.run(3).arg(keep_going).arg(&program).arg(way));
        // timeout(1) says 124 where it had to end the job.
        assert_ne!(output.status.code(), Some(124), "{way}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn ranks_that_are_deserted_come_to_an_end_over_mpich() {
    comes_to_an_end_although_deserted(Mpi::Mpich, "-disable-auto-cleanup");
}

#[test]
fn ranks_that_are_deserted_come_to_an_end_over_openmpi() {
    comes_to_an_end_although_deserted(Mpi::OpenMpi, "--enable-recovery");
}

/// Waits until no process is left that was told of this directory: ranks may outlive their mpirun.
#[allow(clippy::disallowed_methods, reason = "other processes take real time")]
fn wait_for_all_told_of(directory: &Path) {
    let mark = directory.to_string_lossy().into_owned();
    let is_told = |process: &Path| {
        let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&mark)
    };
    let is_anybody_left = || {
        let processes = std::fs::read_dir("/proc").expect("proc(5)").flatten();
        processes.map(|entry| entry.path()).any(|process| is_told(&process))
    };
    let since = Instant::now();
    while is_anybody_left() {
        assert!(since.elapsed() < Duration::from_secs(60), "a rank does not come to an end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `kill -9` of a rank in traffic, at moments that lie all over it. Where the launcher kills others as well, which Hydra
/// does now and then although it is told not to, who is left has to find out.
fn the_others_go_on_without_a_rank_that_is_killed(mpi: Mpi, keep_going: &str, launcher_kills: bool) {
    let Some(program) = mpi.program() else { return };
    for micros in [0, 200, 2000, 20_000, 100_000] {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let moment = micros.to_string();
        let words = [OsStr::new("killed"), OsStr::new(&moment), directory.path().as_os_str()];
        let output = output(mpi.run(3).arg(keep_going).arg(&program).args(words));
        wait_for_all_told_of(directory.path());
        let said = |rank: usize| std::fs::read_to_string(directory.path().join(format!("rank-{rank}"))).ok();
        for (rank, other) in [(0, 1), (1, 0)] {
            let is_well = match said(rank).as_deref() {
                Some("went on") => true,
                None => launcher_kills,
                Some(what) => {
                    what == format!("to rank {other}: rank {other} is gone")
                        && launcher_kills
                        && said(other).is_none()
                }
            };
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(is_well, "killed after {micros} µs, rank {rank}: {:?}\n{error}", said(rank));
        }
    }
}

#[test]
fn the_others_go_on_without_a_rank_that_is_killed_over_mpich() {
    the_others_go_on_without_a_rank_that_is_killed(Mpi::Mpich, "-disable-auto-cleanup", true);
}

#[test]
fn the_others_go_on_without_a_rank_that_is_killed_over_openmpi() {
    the_others_go_on_without_a_rank_that_is_killed(Mpi::OpenMpi, "--enable-recovery", false);
}

fn names_both(started_by: Mpi, launcher: &str, built_for: Mpi, library: &str) {
    let (Some(_), Some(program)) = (started_by.program(), built_for.program()) else { return };
    let output = output(started_by.run(2).arg(program));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{err}");
    assert!(err.contains(&format!("{launcher} started 2 ranks, but MPI joined 1 of them")), "{err}");
    assert!(err.contains(&format!("built for {library}")), "{err}");
}

#[test]
fn a_program_for_mpich_started_by_openmpi_says_so() {
    names_both(Mpi::OpenMpi, "the mpirun of OpenMPI", Mpi::Mpich, "MPICH");
}

#[test]
fn a_program_for_openmpi_started_by_mpich_says_so() {
    names_both(Mpi::Mpich, "the mpirun of MPICH (Hydra)", Mpi::OpenMpi, "Open MPI");
}
