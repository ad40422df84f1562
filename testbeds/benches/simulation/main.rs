//! Speed and size of the simulation: frames through its switches, many hosts that boot, and the same work on turmoil.
//!
//! `cargo bench -p mvpnet-testbeds --bench simulation [-- --quick]`, or `ci/bench` for all benchmarks. A target that is
//! missed is said and is no error: machines differ.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod boot;
mod echo;
mod raw;

use std::time::Instant;

/// How often each value is measured; the median is reported.
const REPETITIONS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let repetitions = if quick { 1 } else { REPETITIONS };
    print!("{}", raw::measure(repetitions)?.text());
    print!("{}", boot::measure(if quick { 1000 } else { 10_000 })?.text());
    print!("{}", echo::measure(repetitions)?.text());
    Ok(())
}

/// How many seconds of real time something takes.
fn seconds<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(f64, T), E> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed().as_secs_f64(), value))
}
