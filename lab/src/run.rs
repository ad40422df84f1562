//! A lab that runs: how the parts of a [`LabPlan`](crate::plan::LabPlan) are started on their hosts, asked how they
//! are, and ended.
//!
//! - [`up()`] starts the bridge, then the guests of all servers, [`status()`] asks every part, [`down()`] ends them and
//!   leaves nothing. They return what is to be known of each [`Part`]: its [`State`].
//! - A [`Caller`] reaches the hosts, and has people told how that goes and what fails, by the function that it was
//!   given. Nothing here writes to a terminal.
//! - [`agent()`] is the other end: this same program on each host, over ssh or as a child of this one. It takes one
//!   request, for one part, and trusts no file alone: a process is known by its id and the time at which it began.
//!
//! All but the agent, which is a program of its own, want a tokio runtime around them. No frame is moved here.

mod agent;
mod call;
mod down;
mod parts;
mod protocol;
mod status;
mod up;

pub use agent::agent;
pub use call::Caller;
pub use down::down;
pub use parts::Part;
pub use protocol::{Condition, State};
pub use status::{Status, status};
pub use up::up;

/// It was not done, or not all of it. Why, has been said to whoever there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("something failed, and what it was has been said")]
pub struct Failed;
