//! A bridge over real sockets: peers made by hand on loopback addresses, whose datagrams are VXLAN byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, in its helpers too, and what it waits for takes real time"
)]

mod capture;
mod forwarding;
mod lab;
mod refusals;
mod reload;
mod status;
