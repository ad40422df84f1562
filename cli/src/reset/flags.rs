//! The flags of `mvpnet reset`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Press the reset buttons of guests in a running job.

The machine begins anew, as by the button on a computer's front: what the guest had in memory is gone, its disks, its \
address and its ssh port stay. The job goes on meanwhile, and the other guests see a neighbour that is away for the \
time of a boot. To shut a guest down in an orderly way first, do so in the guest.";

/// How it is called.
pub const USAGE: &str = "mvpnet reset [--job NAME|PID] [--wait] NODES";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
NODES
  One, as 3 or n0003, or several, as 0,3,7-9 or n[0-3], or all.

EXAMPLES
  Reset the guest of rank 2 and wait until it is up again, by the condition that --ready had for the job:
      mvpnet reset --wait 2
  A guest that hangs even so is killed and started anew, by a new qemu, with
      mvpnet fault 'restart 2'

EXIT STATUS
  0    they were reset; with --wait: all are up again
  1    there is no such job, it ended, or a guest could not be reset or did not come up in time
  2    wrong usage: a node that the job has not, several jobs and no --job";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Wait until the guests are up again
    #[arg(short, long)]
    pub wait: bool,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// Which guests
    #[arg(value_name = "NODES")]
    pub nodes: String,
}
