//! The flags of `mvpnet bridge` as clap sees them, and its manual; `options` reads their values.

use std::ffi::OsString;

use clap::{ArgAction, Args, Subcommand};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Be the switch between guests on other servers.

Each guest has a VXLAN network of its own (RFC 7348): a tunnel from its server to this one, told from the others by \
its number, the VNI. All of them are ports of one learning bridge here, so that every frame between two guests \
crosses the wire twice and passes this program in between. It needs no privilege, and the far ends may be mvpnet's \
or the kernel's. It runs until it is stopped, by Ctrl-C, SIGTERM or `mvpnet bridge down`.";

/// How it is called.
pub const USAGE: &str = "\
mvpnet bridge --vni 40-43 --peer HOST [FLAGS]
       mvpnet bridge status [--name NAME] [--json]
       mvpnet bridge down [--name NAME]
       mvpnet bridge --kernel [--print] --vni 40-43 --peer HOST [FLAGS]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Peers, signals, a whole lab, exit status and all details: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
PEERS
  [VNIS:]HOST[:PORT], with --peer or on a line of the file of --peers, where # begins a comment:
      server1                all VNIs of --vni that no other peer is named for
      60:server3             VNI 60
      40-43,50:192.0.2.1     five of them
      44:[2001:db8::1]       an IPv6 address stands in brackets
      45:server4:14789       another UDP port than that of --vxlan-port
  Each VNI has one peer. Datagrams of anybody else are refused and counted, and so is a VNI that its
  sender was not named for.

A LAB ON TWO SERVERS
  On server2, the switch:
      mvpnet bridge --vni 40-43 --peer server1
  On server1, four guests, whose every frame goes there and back:
      mvpnet up -N 4 --remote server2 --vni 40 -i debian.qcow2,mvpctl=s -c seed/
  What goes through it, by VNI, with the addresses that were learned:
      mvpnet bridge status
  A third server brings guests of its own, on VNIs of its own; the bridge goes on meanwhile:
      echo 60-63:server3 >>peers
      kill -HUP PID          # of `mvpnet bridge --peers peers`, which status shows
  Something does not come through: the hosts, the path and the firewalls, looked at from both ends
      mvpnet doctor server1 server2

SIGNALS
  INT, TERM    it ends, with a summary on standard error; nothing is left
  HUP          it reads the file of --peers again and looks up all names anew; what has become wrong
               is said, and the peers stay as they were

STATUS
  A table for people, or with --json one line for programs: name, pid, uptime_s, listen, mtu,
  ports [{vni, peer, path_mtu, received {frames, bytes}, sent {frames, bytes}, drops {REASON: N},
  last_seen_s}], fdb [{mac, vni, age_s}], refusals {REASON: N}, unreachable, kernel_drops,
  books_balance. For a bridge of the kernel its interfaces.

EXIT STATUS
  0    it was stopped; `status` found it; `down` found nothing left to do
  1    something failed: the port is taken, no bridge runs
  2    wrong usage: a flag, a peer, a name that nobody knows; nothing was started";

/// `mvpnet bridge`.
#[derive(Debug, Default, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Flags {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<Word>,

    /// The VNIs: one for each guest
    ///
    /// 4096 at most. Not needed where every peer is named with its own.
    #[arg(long, value_name = "40-43,60", allow_hyphen_values = true)]
    pub vni: Option<OsString>,

    /// The host at the other end of these VNIs; repeat for more
    #[arg(long, value_name = "[VNIS:]HOST[:PORT]", allow_hyphen_values = true)]
    pub peer: Vec<OsString>,

    /// A file of peers, one a line; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    pub peers: Option<OsString>,

    /// The address of this host that VXLAN comes to [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<OsString>,

    /// UDP port of VXLAN, here and at the peers [default: 4789]
    #[arg(long, value_name = "PORT")]
    pub vxlan_port: Option<OsString>,

    /// MTU of the guests' network, or auto: what the paths to all peers carry [default: auto]
    ///
    /// VXLAN takes 50 bytes of a path over IPv4 and 70 over IPv6: 1450 are left on a usual network. A larger
    /// packet is dropped and counted, and its sender is told by ICMP.
    #[arg(long, value_name = "BYTES|auto")]
    pub mtu: Option<OsString>,

    /// Most flooded frames a second from one VNI, or off [default: 10000]
    ///
    /// Broadcast, multicast, and frames to addresses that nobody has been heard from.
    #[arg(long, value_name = "N|off")]
    pub storm_limit: Option<OsString>,

    /// How long an address is remembered that has become silent [default: 300s]
    #[arg(long, value_name = "TIME")]
    pub ageing: Option<OsString>,

    /// Write a pcapng of every frame of every VNI: a file, a directory, or - for standard output
    ///
    /// Each VNI is an interface of the file. A name that ends in .pcapng or .pcap, or that is there and not a
    /// directory, is a file; any other is a directory, made if absent, that takes capture.NAME.bridge.pcapng.
    #[arg(long, value_name = "PATH")]
    pub capture: Option<OsString>,

    /// What the bridge is called: several may run on one host [default: cluster]
    #[arg(long, value_name = "NAME")]
    pub name: Option<OsString>,

    /// At the end, write the status as one line of JSON to standard output
    #[arg(long)]
    pub json: bool,

    /// Let the kernel do it: a Linux bridge br-NAME with a vxlan interface for each VNI, until `bridge down`
    ///
    /// It needs root, or CAP_NET_ADMIN. What is there already stays; what differs is mended.
    #[arg(long)]
    pub kernel: bool,

    /// Do nothing, write the `ip` commands that --kernel stands for
    #[arg(long)]
    pub print: bool,

    /// Show this: -h in short, --help with a whole lab
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}

/// The words that may stand first.
#[derive(Debug, Subcommand)]
pub enum Word {
    /// Show how a running bridge does: traffic, drops and learned addresses
    #[command(disable_help_flag = true)]
    Status(Which),

    /// Stop a running bridge, or take down one of --kernel: whatever has this name
    #[command(disable_help_flag = true)]
    Down(Which),
}

/// Which bridge.
#[derive(Debug, Default, Args)]
pub struct Which {
    /// Its name (not needed where only one is there)
    #[arg(long, value_name = "NAME")]
    pub name: Option<OsString>,

    /// Say it as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Show this
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
