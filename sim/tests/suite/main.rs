//! The simulation as its users see it.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod determinism;
mod faults;
mod guests;
mod hosts;
