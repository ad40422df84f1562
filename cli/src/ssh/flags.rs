//! The flags of `mvpnet ssh`, `mvpnet cp` and `mvpnet ssh-config`, and their manuals.

use std::ffi::OsString;

use clap::{ArgAction, Args};

/// `mvpnet ssh --help`.
pub const SSH_LONG_ABOUT: &str = "\
Log in to a guest of a running job, or run a command there, by this host's ssh.

Nothing asks and nothing is blindly trusted: the job has made a key for its users, and the keys of its guests' sshd, and \
its ssh_config names them all. It works on every host of the job; guests of other hosts are reached through it. Guests \
that were not configured by the job (-c none, -c IMAGE, no disk) have their own users and keys: what they show first is \
believed, and your own ssh keys have to open them.";

/// How it is called.
pub const SSH_USAGE: &str = "mvpnet ssh [--job NAME|PID] [-l USER] GUEST [SSH OPTIONS…] [COMMAND…]";

/// Below `--help`.
pub const SSH_AFTER_LONG: &str = "\
GUEST
  A rank (3), a host name (n0003) or an address (10.0.0.4), USER@ in front of it if you like. What follows is ssh's.

EXAMPLES
  A shell in the guest of rank 0, a command in that of rank 3, a forwarded port:
      mvpnet ssh 0
      mvpnet ssh 3 uname -r
      mvpnet ssh n0000 -L 8888:localhost:8888 -N
  As root:
      mvpnet ssh -l root 0
  The same with ssh itself, and whatever else takes an ssh_config(5):
      ssh -F $(mvpnet ssh-config --path) n0003
      rsync -e \"ssh -F $(mvpnet ssh-config --path)\" -a data n0003:
  In an application of the job the file is $MVPNET_SSHCONFIG.

EXIT STATUS
  That of the command; 255 if there is no way in, 2 if the job has no such guest";

/// `mvpnet cp --help`.
pub const CP_LONG_ABOUT: &str = "\
Copy files to and from guests of a running job, by this host's scp.

A path in a guest is GUEST:PATH, a guest being called as for `mvpnet ssh`. The destination may be in several guests at \
once: `all:`, `0,3,7-9:`.";

/// How it is called.
pub const CP_USAGE: &str = "\
mvpnet cp [--job NAME|PID] [-r] [-p] SOURCE… GUEST:PATH
       mvpnet cp [--job NAME|PID] [-r] [-p] GUEST:PATH… DESTINATION";

/// Below `--help`.
pub const CP_AFTER_LONG: &str = "\
EXAMPLES
  A program to the home directories of all guests, and a directory of results back:
      mvpnet cp solver all:
      mvpnet cp -r 0:results .
  A file of this host whose name has a colon:
      mvpnet cp ./12:30.log 1:/tmp

EXIT STATUS
  0    everything was copied
  1    something was not
  2    wrong usage: the job has no such guest";

/// `mvpnet ssh-config --help`.
pub const CONFIG_LONG_ABOUT: &str = "\
Print the ssh_config(5) by which this host's ssh reaches the guests of a running job by name.

It is the job's, and gone with it; so are the key and the known hosts that it names.";

/// How it is called.
pub const CONFIG_USAGE: &str = "mvpnet ssh-config [--job NAME|PID] [--path]";

/// `mvpnet ssh`, as typed.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SshFlags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// As this user [default: the job's --user]
    #[arg(short, long, value_name = "USER")]
    pub login: Option<OsString>,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// The guest: its rank, host name or address
    #[arg(value_name = "GUEST")]
    pub target: OsString,

    /// Options of ssh, and a command
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub rest: Vec<OsString>,
}

/// `mvpnet cp`, as typed.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct CpFlags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Directories with all that is in them
    #[arg(short, long)]
    pub recursive: bool,

    /// Keep times and permissions
    #[arg(short, long)]
    pub preserve: bool,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// What is to be copied, and where to
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<OsString>,
}

/// `mvpnet ssh-config`, as typed.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ConfigFlags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Print where the file is instead
    #[arg(long)]
    pub path: bool,

    /// Show this
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
