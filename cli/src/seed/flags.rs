//! The flags of `mvpnet seed`, and its manual.

use std::ffi::OsString;

use clap::{ArgAction, Args};

use crate::args::GuestFlags;

/// `--help`.
pub const LONG_ABOUT: &str = "\
Write what a guest would be told by cloud-init, without booting it.

The same NoCloud volume as a job with these flags would make for the guest of this rank: an image of a small file system \
labelled CIDATA, or its files. Use it to look at what guests are told, to check it with `cloud-init schema`, or to give it \
to a machine that was not started by mvpnet.";

/// How it is called.
pub const USAGE: &str = "mvpnet seed --rank R --wsize N [--out FILE] [--dir DIR] [FLAGS]";

/// Below `--help`.
pub const AFTER_LONG: &str = "\
EXAMPLES
  The image for rank 3 of 8, with keys that the others have too:
      mvpnet seed --rank 3 --wsize 8 --keys lab.keys --out seed.img
  Its files, merged with a directory of your own, and what cloud-init says of them:
      mvpnet seed --rank 0 --wsize 2 -c my-seed/ --dir made
      cloud-init schema --config-file made/user-data

EXIT STATUS
  0    it is written
  1    it cannot be written
  2    wrong usage: a flag, a broken user-data (with its line), a rank that there is not

What is written has private keys in it: only you can read it.";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Whose it is
    #[arg(long, value_name = "R")]
    pub rank: Option<OsString>,

    /// How many ranks there are
    #[arg(long, value_name = "N")]
    pub wsize: Option<OsString>,

    /// Write the image to this file
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<OsString>,

    /// Write the files to this directory, which is made if absent
    #[arg(long, value_name = "DIR")]
    pub dir: Option<OsString>,

    /// The job's name
    #[arg(short, long, value_name = "NAME")]
    pub job: Option<OsString>,

    /// * CPUs of the guests, for MPI's host files [default: 1]
    #[arg(short = 'v', long, value_name = "N", allow_hyphen_values = true)]
    pub smp: Vec<OsString>,

    /// MTU of the guests' network [default: 1500]
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<OsString>,

    /// DNS search domain; repeat for more [default: from /etc/resolv.conf]
    #[arg(short, long, value_name = "DOMAIN")]
    pub domain: Vec<OsString>,

    /// * A directory with a configuration of your own, to be merged
    #[arg(short, long, value_name = "DIR", allow_hyphen_values = true)]
    pub cloud_init: Vec<OsString>,

    /// Login name in the guests [default: your own]
    #[arg(short, long, value_name = "NAME")]
    pub user: Option<OsString>,

    /// What else guests are told.
    #[command(flatten)]
    pub guests: GuestFlags,

    /// Show this: -h in short, --help with examples
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,
}
