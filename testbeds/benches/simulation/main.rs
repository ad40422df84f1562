//! Speed and size of the simulation: frames through its switches, many hosts that boot, and the same work on turmoil.
//!
//! `cargo bench -p mvpnet-testbeds --bench simulation [-- --quick] [--write PAGE]`, or `ci/bench` for all benchmarks. A target that is
//! missed is said and is no error: machines differ.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod boot;
mod echo;
mod raw;

use std::time::Instant;

use mvpnet_testbeds::bench::page;

/// How often each value is measured; the median is reported.
const REPETITIONS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let repetitions = if quick { 1 } else { REPETITIONS };
    let tables = [
        raw::measure(repetitions)?,
        boot::measure(if quick { 1000 } else { 10_000 })?,
        echo::measure(repetitions)?,
    ];
    tables.iter().for_each(|table| print!("{}", table.text()));
    if let Some(file) = std::env::args().skip_while(|argument| argument != "--write").nth(1) {
        page::write(file.as_ref(), &tables)?;
    }
    Ok(())
}

/// How many seconds of real time something takes.
fn seconds<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(f64, T), E> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed().as_secs_f64(), value))
}
