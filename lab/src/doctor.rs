//! What a lab trips over, and how to mend it.
//!
//! Looking and judging are apart: [`Readings`] is what was found on a host, and each check of the [table] is a
//! small function from it to a [`Verdict`]: well or not, what was seen, and the command that mends it. So every fault
//! can be planted without breaking a host. Readings come from /proc, /sys and programs of the [`System`], below a
//! prefix if a test wants one.
//!
//! What is between hosts takes both ends: [`examine`] starts this same program on the others over ssh, has each look at
//! itself, and lets them send datagrams to each other ([`reach`]).
//!
//! Nothing in here changes a host.

pub mod answer;
mod examination;
pub mod finding;
pub mod firewall;
pub mod holders;
pub mod hosts;
pub mod image;
pub mod kvm;
pub mod machine;
pub mod mpi;
pub mod names;
pub mod ports;
pub mod qemu;
pub mod reach;
mod readings;
pub mod room;
pub mod route;
pub mod session;
pub mod ssh;
pub mod sysctls;
mod system;
pub mod table;
mod wanted;

pub use answer::answer;
pub use examination::{Examination, Member};
pub use finding::{Finding, Status, Verdict};
pub use hosts::examine;
pub use readings::{PeerReadings, Readings};
pub use system::System;
pub use wanted::{Peer, PeerError, Wanted};
