//! What must hold in every world, whatever happens in it: random ranks, links, faults and traffic.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod frames;
mod hosts;
mod search;
