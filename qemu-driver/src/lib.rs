//! Start, watch and stop the qemu guest of one rank.
//!
//! From top to bottom:
//!
//! - [`spec`] is a description of a guest, [`argv()`] makes qemu's command line of it: a pure function.
//! - [`image`] reads `-i` image specifications, copies images into the run directory and says what has to be
//!   removed at exit; [`accel`] chooses between KVM and software emulation; [`ports`] reserves the forwarded ssh
//!   port; [`names`] makes socket paths.
//! - [`supervise`] starts qemu under a keeper, a small process of its own that outlives the rank: whatever
//!   becomes of the rank, the guest is stopped and the files are removed.
//! - [`links`] are the sockets that carry the guest's frames.
//! - [`qmp`] talks to qemu's monitor, [`console`] keeps what the guest writes, [`readiness`] decides when it
//!   has booted.
//!
//! Nothing in here knows of MPI, of
//! other ranks or of the job: that is the node's.

// The vhost-user link allows it in two of its files.
#![deny(unsafe_code)]

pub mod accel;
pub mod agent;
pub mod argv;
pub mod console;
pub mod image;
pub mod links;
pub mod names;
pub mod ports;
pub mod process;
pub mod qmp;
pub mod readiness;
pub mod spec;
pub mod supervise;

pub use accel::{Accel, AccelRequest};
pub use argv::argv;
pub use console::Console;
pub use qmp::Qmp;
pub use spec::VmSpec;
pub use supervise::{Guest, Keeper, Leftover};
