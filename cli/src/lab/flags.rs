//! The flags of `mvpnet lab`, and its manual.

use std::ffi::OsString;

use clap::{ArgAction, Args, Subcommand};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Guests on some servers, the switch between them on another: all of it from one file.

`up` starts the bridge, then the guests of each server, and returns when all are up; what runs already stays as it is, \
so that a second `up` starts only what is missing. What it started is taken down again if something fails. `status` \
asks every part how it is. `down` shuts the guests down, ends the bridge and leaves nothing, however the lab came to \
its end. Other hosts are reached by ssh, without a password, and need this same program.";

/// How it is called.
pub const USAGE: &str = "\
mvpnet lab up LAB.toml [--json] [--ssh COMMAND]
       mvpnet lab status LAB.toml [--json] [--ssh COMMAND]
       mvpnet lab down LAB.toml [--force] [--json] [--ssh COMMAND]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "What LAB.toml says, examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
LAB.toml
  name = \"demo\"                # part of the names of jobs, bridges and interfaces

  [bridge]                     # the switch
  host = \"server2\"             # what ssh calls it; localhost is this host
  address = \"192.0.2.2\"        # what the servers call it, unless as ssh does
  listen = \"192.0.2.2\"         # the address of its own that VXLAN comes to; all if left out
  vxlan-port = 4789
  kernel = false               # true: its kernel switches; needs root there
  mvpnet = \"/opt/mvpnet\"       # where this program is there, unless on its PATH
  flags = [\"--ageing\", \"60s\"]  # more flags of `mvpnet bridge`

  [[server]]                   # repeat for more; ranks go on from one to the next
  host = \"server1\"
  guests = 4
  vni = 40                     # the first guest's; the next that is free if left out, from 40 on
  name = \"server1\"             # unless as the host
  tap = false                  # true: its kernel encapsulates; needs root there
  # address, listen, mvpnet as above; image, memory and cpus of its own

  [guest]
  image = \"debian.qcow2\"       # as -i takes it; guests write to snapshots unless mvpctl= says otherwise
  memory = \"1G\"
  cpus = 1
  cloud-init = \"seed\"          # a configuration of your own, or names and users:
  names = \"node\"               # host names are node0000, node0001 and so on
  user = \"ann\"                 # the name to log in with
  ready = \"ssh\"                # or \"console:TEXT\" or \"none\": when a guest is up
  flags = [\"--kvm\", \"1\"]       # more flags of `mvpnet up`
  # kernel, initrd, append: boot without a boot loader

  [[user]]                     # repeat for more
  name = \"ann\"
  keys = [\"ssh-ed25519 AAAA… ann\"]
  sudo = true

  Paths are those on the server: absolute, in the home directory there (~/…), or where LAB.toml is.

EXAMPLES
  Start it, look at it, log in to a guest, end it:
      mvpnet lab up lab.toml
      mvpnet lab status lab.toml
      ssh -J server1 -p 2200 ann@127.0.0.1
      mvpnet lab down lab.toml
  What may be in the way, on all its hosts:
      mvpnet doctor lab.toml
  Another way to other hosts than ssh:
      mvpnet lab up lab.toml --ssh \"ssh -F cluster.conf -o BatchMode=yes\"

EXIT STATUS
  0    up: all is up; status: the same; down: nothing is left
  1    something failed, or is not up; standard error says what, on which host
  2    wrong usage: a flag, or the file, with its line; nothing was done";

/// `mvpnet lab`.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Flags {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Verb>,

    /// Show this: -h in short, --help with all that LAB.toml says
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start what is missing, and wait until all is up
    #[command(disable_help_flag = true)]
    Up(Lab),

    /// Show how all parts are
    #[command(disable_help_flag = true)]
    Status(Lab),

    /// Shut the guests down and leave nothing
    #[command(disable_help_flag = true)]
    Down(Down),

    /// What this program is on each host
    #[command(hide = true, disable_help_flag = true)]
    Agent,
}

/// Which lab.
#[derive(Debug, Args)]
pub struct Lab {
    /// The lab: a TOML file
    #[arg(value_name = "LAB.toml")]
    pub file: OsString,

    /// Say it as JSON
    #[arg(long)]
    pub json: bool,

    /// How other hosts are reached: a command that takes a host and a command there
    /// [default: ssh -o BatchMode=yes -o ConnectTimeout=10]
    #[arg(long, value_name = "COMMAND")]
    pub ssh: Option<String>,

    /// Show this
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}

/// `mvpnet lab down`.
#[derive(Debug, Args)]
pub struct Down {
    #[command(flatten)]
    pub lab: Lab,

    /// Kill what runs; guests lose what they have not written yet
    #[arg(long)]
    pub force: bool,
}
