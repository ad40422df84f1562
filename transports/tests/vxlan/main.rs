//! VXLAN over real sockets: on loopback addresses, and where a test needs networks of its own in network
//! namespaces. Those take root and iproute2: what cannot run is skipped with a line `SKIPPED name: why`, and
//! with `MVPNET_REQUIRE=all` a failure.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod ends;
mod errors;
mod kernel;
mod mesh;
mod namespaces;
mod path;
mod probes;
mod tunnels;
mod vtep;
