//! The flags of `mvpnet down`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
End a running job, and wait until it is gone.

All guests are shut down, as when the application ends: by the power button, and by force when the job's grace time is \
over. The job can be ended from every host that it has a rank on. This returns when nothing of it is left on this host.";

/// How it is called.
pub const USAGE: &str = "\
mvpnet down [--job NAME|PID] [--force] [--timeout SECONDS]
       mvpnet down --all [--force] [--timeout SECONDS]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "What --force does, examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
FORCE
  With --force guests get no time: what they have not written to their disks is lost, as by a power cut. It works on a
  job that does not answer, and on one that has lost its control socket: processes of the job on this host are killed
  then, each known by its number and the time at which it began, so that none is taken for another. What they have
  left is removed: sockets, copied images, the job's directory. On other hosts the job's ranks end with mpirun, or
  when they find that the others are gone.

EXAMPLES
  The only job that runs:
      mvpnet down
  One of several, which may take a minute and a half:
      mvpnet down --job lab --timeout 90 || mvpnet down --job lab --force

EXIT STATUS
  0    nothing of the job is left here; with --all also if there was none
  1    there is no such job, it does not answer, or something of it could not be ended or removed
  2    wrong usage: several jobs, and neither --job nor --all
  124  it was still there after --timeout";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// All jobs of yours that have a rank on this host
    #[arg(short, long)]
    pub all: bool,

    /// Give guests no time, and kill what does not end
    #[arg(short, long)]
    pub force: bool,

    /// How long to wait for the end, in seconds [default: as long as it takes]
    #[arg(short, long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub timeout: Option<String>,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
