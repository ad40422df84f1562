//! The flags of `mvpnet fault`, and its manual.

use clap::{ArgAction, Args};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Break the network of a running job on purpose, and mend it.

Changes take effect at once, at all ranks, and this returns when they have. They are written in the words that \
scenarios of `mvpnet sim` use. Frames that are on their way are not touched. A job is found on every host that \
it has a rank on, by the user who started it; guests need not know anything of this.";

/// How it is called.
pub const USAGE: &str = "\
mvpnet fault [--job NAME|PID] CHANGE…
       mvpnet fault [--job NAME|PID] --show
       mvpnet fault --list";

/// Below `-h`.
pub const AFTER_SHORT: &str = "Changes, settings, examples and exit status: --help";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
CHANGES
  Quote each: shells have their own ideas of | and >.
  'partition 0,1 | 2,3'          nothing passes between the groups; replaces the partition before it
  heal                           ends the partition; links stay as they are set
  'link 0<->1 SETTINGS'          the link between two ranks, both ways; 0->1 for one direction,
                                 2 for all links of rank 2, all for all; replaces what was set before
  'access 2 SETTINGS'            the last hop to the guest of rank 2, which all senders share
  'pause 2'  'resume 2'          the guest stands still, and goes on
  'crash 2'                      the guest is killed, as by a power cut; the job goes on without it
  'restart 2'                    it boots anew, with its disks, address and ssh port; waits until it is up
  Where one rank stands, a list may: 0,2-5.

SETTINGS
  A preset, then what differs from it: ideal, same-host, cluster-10g, cluster-100g, campus, lossy-wan
  latency=10ms  jitter=1ms  rate=100Mbit/s  queue=256KiB  loss=1%  burst=0.1%/25%  duplicate=0.1%
  reorder=1%  reorder-by=5ms  corrupt=0.01%  mtu=1400
  `link all ideal` undoes all of them but access links.

EXAMPLES
  Part four guests two by two, look, and join them again:
      mvpnet fault 'partition 0,1 | 2,3'
      mvpnet fault --show
      mvpnet fault heal
  A slow and lossy way between two guests of the job that was started with --job lab:
      mvpnet fault --job lab 'link 0<->1 latency=40ms rate=10Mbit/s loss=1%'
  Several at once, in this order:
      mvpnet fault heal 'link all ideal' 'restart 2'

EXIT STATUS
  0    it is done, at all ranks
  1    there is no such job, it ended, or a rank could not do it
  2    wrong usage: words that are no change, a rank that the job has not, several jobs and no --job";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Show the jobs that can be changed from here
    #[arg(long)]
    pub list: bool,

    /// Show what is set now, as changes that would set it
    #[arg(long)]
    pub show: bool,

    /// Say everything as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Show this: -h in short, --help with all changes and examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// What is to happen
    #[arg(value_name = "CHANGE")]
    pub changes: Vec<String>,
}
