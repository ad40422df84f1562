//! The flags of `mvpnet sim` as clap sees them; `options` reads their values.

use std::ffi::OsString;

use clap::{ArgAction, Args};

/// What it does.
pub const LONG_ABOUT: &str = "\
Simulate a whole job, and break its network on purpose.

A scenario file says how many ranks there are, how their links are, who sends what to whom, and what changes when. It \
runs on virtual time, in one thread, with the same switches that real jobs have; hosts are real TCP/IP stacks. The same \
scenario and seed give the same result, bit for bit.";

/// How it is called.
pub const USAGE: &str = "mvpnet sim SCENARIO.toml [--seed N] [--until TIME] [FLAGS]";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Scenario files, examples, exit status and all details: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
SCENARIO FILES
  TOML. Text stands in quotes; times are like \"250us\", \"10ms\", \"1.5s\", sizes like \"64KiB\". This is a whole one:

      seed = 1
      ranks = 4
      duration = \"10s\"
      links = \"cluster-10g loss=1%\"       # a preset, if any, then settings

      [[traffic]]                         # as many as you like
      kind = \"ping\"
      from = \"0\"                          # \"0\", \"1-3\", \"0,2-\"; all if left out
      to = \"all\"                          # the same, or \"next\": to the rank after the sender
      count = 50
      every = \"100ms\"

      [[at]]                              # what changes
      time = \"2s\"
      change = \"partition 0,1 | 2,3\"

      [[at]]
      time = \"4s\"
      change = \"heal\"

  name, about, mtu      may be said too
  kind = \"ping\"         ICMP echo; timeout = \"1s\"
  kind = \"tcp\"          a connection that carries bytes = \"1MiB\", which must arrive intact
  kind = \"udp\"          datagrams with a payload of len = 1000 bytes
  kind = \"frames\"       raw Ethernet frames of len = 1000 bytes
  kind = \"broadcast\"    the same to all ranks at once
  kind = \"boot\"         hosts that get their address by DHCP; all that ping do so too
  start, count, every   of any of these; without `every` frames go at once, and pings and
                        connections one after the other

  presets               ideal, same-host, cluster-10g, cluster-100g, campus, lossy-wan
  settings of links     latency=10ms jitter=1ms rate=10Gbit/s queue=256KiB loss=1%
                        burst=0.1%/25% duplicate=0.1% reorder=1% reorder-by=5ms corrupt=0.01%
                        mtu=1400
  changes               link 0<->1 loss=5%, link 2 campus, link all ideal, access 0 rate=1Mbit/s,
                        partition 0,1 | 2,3, heal, crash 2, restart 2, pause 2, resume 2

EXAMPLES
  Run a scenario, with the seed that it has:
      mvpnet sim testbeds/scenarios/partition-heal-tcp.toml
  The same with another seed, and all frames for Wireshark:
      mvpnet sim lossy.toml --seed 7 --capture lossy.pcapng
  Its beginning, with drawings of who sends what when, and what is dropped:
      mvpnet sim lossy.toml --until 2s --html lossy.html
  Find a seed with which a connection fails:
      for seed in $(seq 100); do
          mvpnet sim lossy.toml --seed $seed --json - | jq -e '.rows[0].failed == 0' || break
      done

EXIT STATUS
  0    it ran to its end, whatever its faults did to its traffic
  1    the simulation failed: a defect of mvpnet, or a file that cannot be written; the seed and the
       command that shows the same again are on standard error
  2    wrong usage: a flag, or the scenario, with its line; nothing was simulated";

/// `mvpnet sim`.
#[derive(Debug, Args)]
pub struct Flags {
    /// The scenario: a TOML file
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: Option<OsString>,

    /// The seed, in place of the scenario's own
    ///
    /// All chances follow from it: losses, jitter, the ports that hosts choose.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<OsString>,

    /// End after so much simulated time, like 5s or 250ms
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub until: Option<OsString>,

    /// Write a pcapng of every frame at every port of every rank
    ///
    /// What is dropped is in it too, with the reason as a comment.
    #[arg(long, value_name = "FILE")]
    pub capture: Option<OsString>,

    /// Write the results as JSON; - is standard output, in place of the table
    ///
    /// Times are in nanoseconds.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<OsString>,

    /// Write a page with drawings: who talks to whom, rates and drops over time, the results
    ///
    /// It needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    pub html: Option<OsString>,

    /// No progress on standard error
    #[arg(long)]
    pub no_progress: bool,

    /// Show this: -h in short, --help with all there is to know
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
