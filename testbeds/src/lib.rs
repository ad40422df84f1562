//! Real things to run mvpnet against.
//!
//! * [`loadgen`]: what stands behind `mvpnet-loadgen`, a program that takes qemu's place: it speaks qemu's
//!   stream and dgram netdevs and sends, counts and answers frames as a script tells it, good ones and bad ones.
//! * [`relay`]: what stands behind `mvpnet-bare-relay`, which moves bytes between two such generators over the switch's own
//!   rings and looks at nothing: the mark that the switch is measured against.
//! * `frame_path` (feature `mpi`): what stands behind `mvpnet-frame-path`, a rank's frame loop alone, for profilers.
//! * [`cluster`]: real guests behind the trait that simulated clusters have, so that one test runs on both.
//! * [`pps`] and [`cable`]: what stands behind `mvpnet-pps`, which sends short frames through an interface as fast as it
//!   can, and `mvpnet-cable`, a cable with the faults of the link model, for the servers of `two-servers/`.
//! * [`two_servers`]: two servers made of namespaces, and the bridges that mvpnet's is compared with.
//! * [`mod@bench`]: what stands behind `mvpnet-bench` (`ci/bench`): runs all of it in one run and prints ratios.
//!
//! None of this is part of the product; nothing here is needed to run guests.

pub mod bench;
pub mod cable;
pub mod cluster;
#[cfg(feature = "mpi")]
pub mod frame_path;
pub mod loadgen;
pub mod pps;
pub mod relay;
pub mod two_servers;
pub mod wall;
pub mod wire;
