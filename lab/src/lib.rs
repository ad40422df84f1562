//! The two-server VXLAN lab: guests on one host, the switch between them on another.
//!
//! - [`kernel`] is the Linux way: a kernel bridge with a vxlan interface per guest, made, mended and removed over
//!   netlink, or printed as `ip` commands.
//! - [`doctor`] looks for what such a network trips over, and says how to mend it.
//! - [`plan`] is the lab as one description: servers, guests, VNIs.
//! - [`run`] starts what the plan says on its hosts, asks how it is, and ends it.
//!
//! Nothing in here carries a frame: that is the kernel's, the switch's or the transports' work.

#![forbid(unsafe_code)]

pub mod doctor;
pub mod kernel;
pub mod plan;
pub mod run;
