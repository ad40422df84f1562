//! The flags of `mvpnet check`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Check that the guests of a running job are a cluster: names, ssh, packets of full length, clocks, MPI.

Everything is looked at from within the guests, by commands that run there as `mvpnet exec` runs them: they need \
python3 and mvpnet's agent or qemu's, and no sshd. Each line is ok, a warning, FAILED or not checked; what to do about \
it stands below. Nothing is changed; a program that MPI runs is in /tmp of the guests for that time. Emulated guests \
take minutes.";

/// How it is called.
pub const USAGE: &str = "mvpnet check [--job NAME|PID] [FLAGS]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "All checks, examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
CHECKS, by the names that --json has
  exec        every guest runs commands
  names       every guest finds all by name, IPv4 and IPv6, and is called by its own
  cloud-init  it is done; if not, what it says
  clocks      guests have the same time
  mtu         packets as long as the MTU pass between guests, and longer ones do not leave
  ssh-user    the job's user gets from guest to guest without a question or a warning
  ssh-root    root does
  mpi         messages of growing sizes go round a ring of all guests and to and fro between two, with each MPI
              that the first guest has, Open MPI and MPICH; a size that does not arrive is named
  Up to 16 guests all look at all others, of more each at some: those 1, 2, 4, … ranks further.

JSON
  --json prints one list of objects, whose keys stay the same: check, guest and peer (null, or a name), status (ok,
  not-checked, warning or failed), seen, and mend (null where there is nothing to say).

EXAMPLES
  The only job:
      mvpnet check
  Guests without sshd, larger messages:
      mvpnet check --no-ssh --sizes 1,64K,64M
  In a script, before the experiment:
      mvpnet check --job lab --json >check.json || exit

EXIT STATUS
  0    nothing FAILED
  1    something did, there is no such job, or it does not answer
  2    wrong usage: a flag, several jobs and no --job";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Say everything as JSON
    #[arg(long)]
    pub json: bool,

    /// The user for ssh and MPI in the guests [default: the job's]
    #[arg(short, long, value_name = "NAME")]
    pub user: Option<String>,

    /// Do not look at ssh [default: where an sshd runs]
    #[arg(long)]
    pub no_ssh: bool,

    /// Guests without sshd are a failure
    #[arg(long, conflicts_with = "no_ssh")]
    pub ssh: bool,

    /// Do not look at MPI
    #[arg(long)]
    pub no_mpi: bool,

    /// All guests look at all others, however many there are
    #[arg(long)]
    pub all_pairs: bool,

    /// Sizes of messages over MPI, like 1,1K,4M [default: 1 B to 4 MiB]
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    pub sizes: Vec<String>,

    /// No progress lines on standard error
    #[arg(long)]
    pub no_progress: bool,

    /// Show this: -h in short, --help with all checks and examples
    #[arg(long, short, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
