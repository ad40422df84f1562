//! The flags of `mvpnet exec`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Run a command in guests of a running job, without sshd and without a network in them.

It goes over a channel of the guest's machine to an agent in the guest: ours, which guests have that the job configures, \
or else the qemu guest agent (package qemu-guest-agent). It works from every host of the job, for guests of all its hosts. \
A job that was started with --no-exec refuses.";

/// How it is called.
pub const USAGE: &str = "mvpnet exec [-j JOB] [-u USER] [--timeout TIME] [FLAGS] NODES [--] COMMAND…";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Nodes, output, examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
NODES
  3            one, by its rank             n0003        by its host name
  0,3,7-9      several                      n[0-3,7]     by their host names; quote it, for shells know brackets
  all          all guests of the job

COMMAND
  One word is read by the guest's /bin/sh, as with ssh: 'ls /tmp | wc -l'. Several are the program and its arguments as
  they are, with no shell between.

OUTPUT
  Of one node: just as it comes, errors to standard error. Of several: line by line, each line with its node's name in
  front of it, in the order in which lines come; --in-order shows a node's lines together, nodes in their order.
  Nodes that failed are named at the end, on standard error.
  --json prints one object for each node: rank, name, code, signal, error, timed_out, stdout, stderr, seconds.

STANDARD INPUT
  Goes to the command if that runs on one node and it is not a terminal; -i sends it in any case, to all nodes.

EXAMPLES
  mvpnet exec 0 -- hostname
  mvpnet exec all -- uptime
  mvpnet exec 'n[0-3]' -- 'df -h / | tail -n 1'
  mvpnet exec -u alice 0 -- mpirun --hostfile /etc/hosts.openmpi -n 4 ./ring
  mvpnet exec -i all -- sh <setup.sh
  mvpnet exec --timeout 10s --json all -- systemctl is-system-running

EXIT STATUS
  One node: the command's, 128 + N if signal N killed it. Several: the highest of theirs.
  124  the time was over and the command was killed
  130  interrupted by Ctrl-C, which the commands got too
  255  the command could not be run, or nobody knows what became of it
  2    wrong usage: nodes that the job has not, several jobs and no --job";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Who runs it in the guest [default: root]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,

    /// Kill it after so long: 90s, 5m, 1h
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,

    /// Standard input goes to the command, on all nodes
    #[arg(short = 'i', long)]
    pub stdin: bool,

    /// Standard input stays here
    #[arg(short = 'n', long, conflicts_with = "stdin")]
    pub no_stdin: bool,

    /// How many nodes at a time
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub parallel: usize,

    /// Lines without the names of their nodes
    #[arg(long)]
    pub no_label: bool,

    /// Show a node's output when it is complete, nodes in their order
    #[arg(long)]
    pub in_order: bool,

    /// Say everything as JSON, a line for each node
    #[arg(long)]
    pub json: bool,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// On which guests
    #[arg(value_name = "NODES", required = true)]
    pub nodes: String,

    /// What
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true, num_args = 1..)]
    pub command: Vec<String>,
}
