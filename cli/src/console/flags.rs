//! The flags of `mvpnet console`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Show the console of a guest of a running job, and type at it.

What is kept of it comes first (64 KiB), then what the guest writes. On a terminal what you type goes to the guest key by \
key; Ctrl-] leaves, and the guest goes on. Several may look on, and all of them type at the same console.";

/// How it is called.
pub const USAGE: &str = "mvpnet console [-j JOB] [--log] NODE";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
EXAMPLES
  Look on while a guest boots, and log in at its console:
      mvpnet console 0
  What it said so far:
      mvpnet console --log n0003 | tail -n 20
  Type a line from a script, and look on until the guest is off:
      echo poweroff | mvpnet console 3
  All of what it ever writes goes to a file with the flag --console-log of the job.

EXIT STATUS
  0    left, or the guest is off
  255  there is no such job, its guest does not run, or the job ended
  2    wrong usage: a node that the job has not, several jobs and no --job";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Print what is kept, and end
    #[arg(short, long)]
    pub log: bool,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// Whose console: a rank (3) or a host name (n0003)
    #[arg(value_name = "NODE")]
    pub node: String,
}
