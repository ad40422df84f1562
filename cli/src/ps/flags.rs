//! The flags of `mvpnet ps`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Show your jobs that have a rank on this host.

Each job is asked by its control socket, whichever of its ranks runs here, so that this says the same on every host of \
a job. A job that does not answer is shown by what its ranks have noted down.";

/// How it is called.
pub const USAGE: &str = "mvpnet ps [--all] [--json]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Columns, states, files and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
COLUMNS
  NAME   what was given with --job; other subcommands call the job so
  PID    the process of its rank 0, on whatever host: the other way to name a job
  RANKS  how many guests it has, and on how many HOSTS
  STATE  how far it is, see below
  AGE    since it was started
  IMAGE  what its first guest boots; --json has the whole path and the command line

STATES
  starting  ranks look for each other    running   all guests were up
  booting   guests boot                  stopping  guests are being shut down
  silent    its processes live and do not answer: `mvpnet down --force` ends it
  dead      its processes are gone and left files, shown with --all: `mvpnet gc` removes them

EXAMPLES
  Which jobs are there, and which of their ranks is behind?
      mvpnet ps
      mvpnet status --job lab
  The names of all jobs that run, for a script:
      mvpnet ps --json | jq -r '.[] | select(.state == \"running\") | .name'

FILES
  $XDG_RUNTIME_DIR/mvpnet, or /tmp/mvpnet-UID without such a directory:
  PID.sock            control socket of rank 0's process, PID.rank.sock that of any other
  PID.RANK.job.json   what a rank has noted down of itself

EXIT STATUS
  0    shown, if only that there is none
  2    wrong usage";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Also jobs that are dead and have left files
    #[arg(short, long)]
    pub all: bool,

    /// Say everything as one line of JSON: an array of jobs
    #[arg(long)]
    pub json: bool,

    /// Show this: -h in short, --help with all columns and states
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
