//! The flags of `mvpnet status`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Show how each rank of a running job is.

Every rank is asked, on all hosts. One that does not answer within some seconds is shown as silent, and keeps nobody \
waiting longer.";

/// How it is called.
pub const USAGE: &str = "mvpnet status [--job NAME|PID] [--watch] [--json]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Columns, states and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
COLUMNS
  STATE     preparing, copying (images), booting, ready, paused and crashed (by `mvpnet fault`), stopping, off;
            silent: the rank does not answer
  SSH       the port of 127.0.0.1 on HOST that leads to the guest's sshd
  QEMU      process of the guest's qemu, KEEPER that of its keeper, on HOST
  CPUS      as qemu's -smp has them
  UP        since qemu was started; BOOT: from then until the guest was ready
  RESTARTS  how often it was reset or started anew
  IN, OUT   frames from and to the guest; DROPS: frames that were dropped at this rank (-g says why)
  AGENT     whether the agent in the guest can be reached; - without a way to one
  CONSOLE   the last line of it

EXAMPLES
  The only job, every two seconds until it ends:
      mvpnet status --watch
  The port of rank 2's sshd, for a script:
      mvpnet status --job lab --json | jq '.ranks[2].ssh_port'

EXIT STATUS
  0    shown; with --watch: the job has ended
  1    there is no such job, or it does not answer
  2    wrong usage: several jobs and no --job";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Show it again every two seconds until the job ends
    #[arg(short, long)]
    pub watch: bool,

    /// Say everything as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Show this: -h in short, --help with all columns and states
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
