//! End-to-end tests: the real program, real guests under qemu, MPICH's mpirun, OpenMPI's, and `mvpnet up`.
//!
//! ```text
//! cargo test -p mvpnet-testbeds --test e2e -- --test-threads=1
//! ```
//!
//! They need the program built for each launcher and the tiny guest (`testbeds/tiny/build --disk`), and look for
//! them where cargo and that script put them, or where these variables say:
//!
//! | variable | default |
//! | --- | --- |
//! | `MVPNET_BIN_DIR` | `target/debug`: `mvpnet` without MPI |
//! | `MVPNET_MPICH_BIN_DIR`, `MVPNET_OPENMPI_BIN_DIR` | `target/mpich/debug`, `target/openmpi/debug`: `mvpnet` for each MPI |
//! | `MVPNET_TINY` | `target/tiny`: the tiny guest |
//! | `MVPNET_DEBIAN` | `target/debian`: the Debian guest (`testbeds/debian/build`), which `debian::…` boot |
//! | `MVPNET_E2E_NET` | none: `--net` of every job that has none of its own |
//! | `MVPNET_E2E_SOAK` | `10`: for how many seconds guests reboot under load |
//! | `MVPNET_REQUIRE` | `all`: what cannot be tested here is a failure, not a skip |
//!
//! What is missing is skipped with a line `SKIPPED name: why` on standard error; every test that ran has a line
//! `TIMED name: seconds`. One job runs at a time, in all test processes of a machine. Every job is checked for what
//! it leaves behind. A test that fails shows the ends of what its job wrote and keeps the job's directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in what tests share too")]

mod bad_input;
mod booting;
mod captures;
mod clusters;
mod command_lines;
mod consoles;
mod crowd;
mod debian;
mod endings;
mod exec;
mod exit_codes;
mod faults;
mod guest_config;
mod harness;
mod hostile;
mod images;
mod kills;
mod lab;
mod lab_file;
mod lab_hostile;
mod lab_kills;
mod lab_tap;
mod lab_wire;
mod network;
mod operations;
mod slurm;
mod soak;
mod two_hosts;
