//! The flags of `mvpnet gc`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Remove what jobs that are dead have left on this host.

Jobs tidy up behind themselves, even if they are killed: this is for what is left when their keepers were killed with \
them, or the machine lost its power. Living jobs are not touched, nor is anything of other users, or anything that is \
not known to be a job's.";

/// How it is called.
pub const USAGE: &str = "mvpnet gc [--dry-run] [--json]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "What is removed, and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
WHAT IS REMOVED
  In $XDG_RUNTIME_DIR/mvpnet and /tmp/mvpnet-UID, if they are yours alone:
      control sockets on which nobody listens, job directories (PID.job) and records (PID.RANK.job.json) whose process
      is dead: it is known by its number and the time at which it began, so that another one with its number is not
      taken for it
  What the record of a dead rank names, and no living rank's:
      sockets with names (-s), copied images (-r) that nobody has locked, files in shared memory that an MPI library has
      left, network interfaces

  What a lab has left is `mvpnet lab down`'s.

EXAMPLES
      mvpnet gc --dry-run
      mvpnet gc

EXIT STATUS
  0    nothing is left
  1    something could not be removed
  2    wrong usage";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Say everything as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Show this: -h in short, --help with all that is removed
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
