//! The flags of `mvpnet doctor`, and its manual.

use std::ffi::OsString;

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Find what would be in the way of guests and of the network between them, and say how to mend it.

Looks at this host, and at the others that are named or that LAB.toml has, over ssh: this same program looks there. \
Hosts also send each other datagrams to the tunnels' port, both ways and as long as the network promises to take \
them. Nothing is changed. Each line is ok, a warning or a failure; what mends it stands below, as a command to be \
typed on the host that the line is about. As an ordinary user it cannot read firewall rules, nor see whose a taken \
port is.";

/// How it is called.
pub const USAGE: &str = "mvpnet doctor [FLAGS] [LAB.toml | HOST…]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "All checks, examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
CHECKS, by the names that --json has
  Of each host:
  kvm         /dev/kvm opens read-write, and the CPU has vmx or svm; which group is missing
  qemu        there is a qemu, of version 7.2 at least
  mpirun      there is an mpirun, and which MPI's
  memory      the guests fit into memory
  shm         /dev/shm has room for MPI
  nofile      enough files may be open
  image       the image can be read, and what it is
  run-dir     the run directory has room for copies of the image
  ssh-ports   the ports for ssh to guests, 2200 and up, are free
  ssh-keys    there is a key to be let in by
  own-name    the host's own name resolves
  vxlan-port  the tunnels' UDP port is free, or who has it
  firewall    no rule of nftables or iptables drops the tunnels' datagrams
  bridge-nf   frames in kernel bridges do not meet rules for packets
  ip-forward  a host that is a gateway forwards
  rp-filter   no strict reverse path filter stands between several interfaces
  rmem-max    receive buffers may be as large as tunnels want them
  From each host to each other that it has to do with:
  name        its name resolves, and to that host
  ssh         ssh gets there without a password
  program     this same program is there
  same-mpi    mpirun is that of the same MPI and version there
  mtu         the MTU of the interface towards it
  probe       datagrams to its tunnels' port arrive, and answers come back
  path-mtu    packets as long as the interface takes arrive there
  Where LAB.toml says what a host is for, what it does not need is left out.

JSON
  --json prints one list of objects, whose keys stay the same: check, host, peer (null, or the other host), status
  (ok, warning or failure), seen, and mend (null where there is nothing to mend, or no command that does).

EXAMPLES
  This host:
      mvpnet doctor
  This host and two more, for jobs of four guests on each from one image that is copied:
      mvpnet doctor -N 4 -i /images/debian.qcow2 -r /scratch/run server1 server2
  All hosts of a lab, each for its part:
      mvpnet doctor lab.toml
  What is wrong, and nothing else:
      mvpnet doctor --json lab.toml | jq '.[] | select(.status != \"ok\")'

EXIT STATUS
  0    all is well, or there are only warnings
  1    at least one failure
  2    wrong usage: a flag, a host's name, or LAB.toml, with its line; nothing was looked at";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Say everything as JSON
    #[arg(long)]
    pub json: bool,

    /// UDP port of the tunnels, at all ends [default: 4789, or as in LAB.toml]
    #[arg(long, value_name = "N")]
    pub vxlan_port: Option<OsString>,

    /// Address of this host that tunnels are to end at [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<OsString>,

    /// Directory that images are to be copied to
    #[arg(short, long, value_name = "DIR")]
    pub run_dir: Option<OsString>,

    /// Disk image that guests are to boot from
    #[arg(short, long, value_name = "FILE")]
    pub image: Option<OsString>,

    /// How many guests each host is to have; 0: none, it only switches
    #[arg(short = 'N', long, value_name = "N")]
    pub ranks: Option<OsString>,

    /// Memory of each guest, in MiB or like 512M or 4G [default: 4096]
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<OsString>,

    /// How other hosts are reached: a command that takes a host and a command there
    /// [default: ssh -o BatchMode=yes -o ConnectTimeout=10]
    #[arg(long, value_name = "COMMAND")]
    pub ssh: Option<String>,

    /// What this program is called on other hosts [default: mvpnet, or as in LAB.toml]
    #[arg(long, value_name = "PROGRAM")]
    pub mvpnet: Option<String>,

    /// What this program is on each other host
    #[arg(long, hide = true)]
    pub answer: bool,

    /// Show this: -h in short, --help with all checks and examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// A lab's file, or hosts as ssh calls them; HOST=ADDRESS tells the others where it is
    #[arg(value_name = "LAB.toml|HOST")]
    pub subjects: Vec<OsString>,
}
