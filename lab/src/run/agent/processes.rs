//! The processes of a part of a lab, as /proc shows them (proc(5)). Each has inherited a mark in its environment, so
//! that none can be lost, whatever died before it, and none is taken for another whose number it has.

use std::fs;
use std::io;

use mvpnet_qemu_driver::process;
use nix::sys::signal::Signal;

use super::super::protocol::MARK;

/// A process of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) number: u32,
    /// What it is and stays, whoever gets its number.
    identity: process::Process,
    /// Its command line, the program first.
    pub(super) words: Vec<String>,
}

/// All processes of this user that have the mark of the part `name`, but for this one.
pub(super) fn marked(name: &str) -> Vec<Process> {
    let mark = format!("{MARK}={name}");
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = numbers.filter(|number| *number != std::process::id());
    others.filter_map(|number| Process::read(number, &mark)).collect()
}

impl Process {
    /// The process, if it lives and has this in its environment. That of a zombie is empty.
    fn read(number: u32, mark: &str) -> Option<Process> {
        let place = format!("/proc/{number}");
        let identity = process::Process::of(number)?;
        let environment = fs::read(format!("{place}/environ")).ok()?;
        if !environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            return None;
        }
        let line = fs::read(format!("{place}/cmdline")).ok()?;
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        Some(Process { number, identity, words: words.collect() })
    }

    /// Whether it lives.
    pub(super) fn lives(&self) -> bool {
        self.identity.lives()
    }

    /// Sends it a signal. One that has ended gets none.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.identity.signal(signal)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_marked_process_is_found_until_it_ends_and_is_never_mixed_up() {
        let name = format!("test-{}", std::process::id());
        let child = Command::new("sleep").arg("100").env(MARK, &name).stdin(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let found = loop {
            match marked(&name).pop() {
                // The mark comes with the new program.
                Some(process) if process.words.first().is_some_and(|word| word == "sleep") => break process,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!((found.number, found.words.len()), (child.id(), 2));
        assert_eq!(marked(&name[1..]), []);
        let before = process::Process { born: found.identity.born - 1, ..found.identity };
        let other = Process { identity: before, ..found.clone() };
        other.signal(Signal::SIGKILL).unwrap();
        assert!(found.lives() && !other.lives());
        found.signal(Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(!found.lives());
        found.signal(Signal::SIGKILL).unwrap();
        assert_eq!(marked(&name), []);
    }
}
