//! Keepers as others see them, in /proc (proc(5)): for who ends a job that does not end itself.

use std::fs;

use super::{KEEPER, KEEPER_OF};
use crate::process::Process;

/// The living keepers of a process, which may be dead. What runs under a keeper dies with it.
pub fn keepers_of(process: Process) -> Vec<Process> {
    let mark = format!("{KEEPER_OF}={process}");
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // Whoever gets the number in between began later than what was read.
    let keepers = numbers.filter_map(|number| {
        let found = Process::of(number)?;
        is_keeper(number, &mark).then_some(found)
    });
    keepers.filter(|keeper| keeper.lives()).collect()
}

/// What a keeper starts inherits the mark, and may be anything; the keeper itself shows what it is.
fn is_keeper(number: u32, mark: &str) -> bool {
    let words = |file: &str| fs::read(format!("/proc/{number}/{file}")).unwrap_or_default();
    let has =
        |words: &[u8], wanted: &str| words.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes());
    let line = words("cmdline");
    line.split(|byte| *byte == 0).nth(1) == Some(KEEPER.as_bytes()) && has(&words("environ"), mark)
}
