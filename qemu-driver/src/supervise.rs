//! Starting a guest so that nothing of it outlives the job, however the job ends.
//!
//! ```text
//! rank ── control socket ──► keeper ── PR_SET_PDEATHSIG ──► qemu
//!      ◄─ console, stderr ──────────────────────────────────┘
//! ```
//!
//! The rank starts a *keeper*, its own program under another name, in a session of its own, so that signals to
//! the rank's process group do not reach it. Rank and keeper are joined by a socket. The rank tells the keeper
//! which files have to go at the end, *before* it makes them, and what to start. When the socket closes, for
//! whatever reason, `kill -9` of the rank included, the keeper stops the guest and removes the files.
//!
//! The keeper has one thread, because the parent-death signal of its child follows the thread that made it
//! (prctl(2), PR_SET_PDEATHSIG): qemu dies with the keeper. It starts qemu through one more image of the
//! program, [`exec_main`], which sets that signal, undoes the CPU binding that some mpiruns leave on a rank, and
//! becomes qemu.
//!
//! A keeper that is killed is noticed by the rank, which then does what is left of its work. Against both being
//! killed at the same instant there is no remedy for the files; qemu goes even then.
//!
//! [`Keeper`] and [`Guest`] are the rank's side, [`keeper_main`] and [`exec_main`] the other one.

use std::ffi::OsString;
use std::process::ExitCode;

mod descriptors;
mod end;
mod exec;
mod guest;
mod keeper;
mod ladder;
mod leftovers;
mod link;
mod orphans;
mod protocol;
mod wrap_log;

pub use end::GuestEnd;
pub use exec::exec_main;
pub use guest::{Guest, GuestFds, Launch};
pub use keeper::keeper_main;
pub use ladder::{StopLadder, StopReport, StopStep};
pub use leftovers::Leftover;
pub use link::{Keeper, KeeperSpec, SuperviseError};
pub use orphans::keepers_of;
pub use protocol::ProcessEnd;

/// The hidden subcommand that is the keeper.
pub const KEEPER: &str = "__keeper";
/// The hidden subcommand that becomes the guest.
pub const EXEC: &str = "__exec";
/// Its second word: whether the guest hears SIGTERM.
const DEAF: &str = "deaf";
const HEARS: &str = "hears";

/// In a keeper's environment, the [process](crate::process::Process) that it serves.
const KEEPER_OF: &str = "MVPNET_KEEPER_OF";

/// Runs the hidden subcommand that a program's arguments ask for, if they do. To be called first in `main`,
/// while the program has one thread.
pub fn run_hidden(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    args.next();
    match args.next()?.to_str() {
        Some(KEEPER) => Some(keeper_main()),
        Some(EXEC) => Some(exec_main(args)),
        _ => None,
    }
}
