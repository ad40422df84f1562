//! Running a job, once the command line is understood: from options to plans, the threads of a rank, what
//! the user is told, and the exit code. What a rank does is the node crate's.

mod digests;
pub(crate) mod keys;
mod link;
#[cfg(feature = "mpi")]
pub mod mpi;
mod plan;
mod problem;
mod rank;
mod ready_file;
mod room;
pub(crate) mod seed;
mod share;
#[cfg(feature = "mpi")]
mod siblings;
mod slurm;
mod ssh_files;
mod statistics;
mod tap;
mod tell;
mod tunnel;
pub mod up;
mod writers;

pub(crate) use ssh_files::SSH_CONFIG;

use std::process::ExitCode;

/// Exit code of a failure that is not the command line's.
const FAILURE: i32 = 1;

/// An exit code as a process has it: the low eight bits.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}

/// Says on standard error why there is no job.
fn complain(text: &str) {
    use std::io::Write;
    // Nobody left to tell: the exit code still does.
    let _ = writeln!(std::io::stderr(), "mvpnet: {text}");
}

#[cfg(not(feature = "mpi"))]
pub mod mpi {
    //! `mpirun … mvpnet`, with a program that was built without MPI.

    use std::process::ExitCode;

    use crate::args::Options;

    /// Says so.
    pub fn run(_options: &Options) -> ExitCode {
        let me = mvpnet_transports::launcher::launcher_env().map(|launcher| launcher.rank);
        if me.is_some_and(|rank| rank > 0) {
            return ExitCode::SUCCESS; // rank 0 speaks
        }
        super::complain(
            "this program was built without MPI; build it with `--features mpi` and MPICC set to the mpicc of \
             your mpirun, or start guests on this machine with `mvpnet up -N RANKS …`",
        );
        super::exit_code(crate::args::USAGE_EXIT_CODE.into())
    }
}
