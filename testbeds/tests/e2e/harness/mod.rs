//! What the tests are written with: a job is described ([`Job`]), runs ([`Running`]), and has ended ([`Ended`]),
//! which includes that nothing is left of it.

pub mod guest;
pub mod home;
pub mod job;
pub mod lab;
pub mod leftovers;
pub mod processes;
pub mod running;
pub mod setting;
pub mod two_hosts;
pub mod wait;
pub mod watch;

pub use guest::Guest;
pub use job::Job;
pub use lab::{Lab, LabGuest, Whose};
pub use processes::Kind;
pub use running::{Ended, Running};
pub use setting::{Launcher, Need, begin, launchers};
pub use wait::wait_for;
pub use watch::Watch;
