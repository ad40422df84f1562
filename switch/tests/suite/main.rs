//! What the switch does, seen from outside: only [`mvpnet_switch`]'s public interface is used.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arp;
mod books;
mod bridge;
mod bridge_model;
mod cluster;
mod delivery;
mod dhcp;
mod forwarding;
mod frames;
mod hostile;
mod learning;
mod neighbors;
mod sources;
mod too_big;
mod tunnel;
