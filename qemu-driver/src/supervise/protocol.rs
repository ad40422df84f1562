//! What rank and keeper say to each other: one JSON value a line, on a stream socket which is the keeper's
//! standard input. Descriptors for the guest travel with the line that launches it.

use std::ffi::OsString;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::leftovers::Leftover;

/// From the rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// The first line.
    Configure {
        /// The log of the supervision.
        wrap_log: Option<OsString>,
    },
    /// Things to be removed at the end. Answered by [`Event::Guarding`].
    Guard {
        /// The things.
        leftovers: Vec<Leftover>,
    },
    /// Start the guest.
    Launch {
        /// The program and its arguments.
        argv: Vec<OsString>,
        /// Environment variables to be set.
        env: Vec<(OsString, OsString)>,
        /// How many descriptors come with this line; they become 3, 4, …
        fds: u32,
        /// Whether the last of them, a pipe, becomes its standard input instead.
        has_input: bool,
        /// Whether it is not to hear SIGTERM; SIGINT takes its place.
        deaf: bool,
    },
    /// The power button was pressed: if the rank dies now, the guest gets the rest of this time, within
    /// bounds.
    PoweringDown {
        /// What the rank would wait, in milliseconds.
        grace_ms: u64,
    },
    /// SIGTERM (SIGINT to who is deaf to it), and SIGKILL after a grace time.
    Terminate {
        /// The grace time in milliseconds.
        grace_ms: u64,
    },
    /// SIGKILL.
    Kill,
    /// Remove what is guarded and exit. A guest that still runs is killed.
    Finish,
}

/// From the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The keeper watches: from here on nothing is left behind.
    Ready,
    /// So many things are guarded.
    Guarding {
        /// All of them, those of earlier commands included.
        count: usize,
    },
    /// The guest's process was started.
    Launched {
        /// Its id, which is also its process group's.
        pid: i32,
    },
    /// It was not.
    LaunchFailed {
        /// Why.
        error: String,
    },
    /// SIGTERM was sent, or SIGINT.
    Terminating,
    /// SIGKILL was sent.
    Killing,
    /// The guest's process ended.
    Ended {
        /// How.
        end: ProcessEnd,
    },
    /// Everything guarded was removed, except what could not be.
    Finished {
        /// Why not, one sentence for each.
        failures: Vec<String>,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// It exited with a code.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessEnd::Code(code) => write!(f, "exit code {code}"),
            ProcessEnd::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// A message as its line.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages hold nothing that JSON lacks");
    line.push(b'\n');
    line
}

/// Takes the lines out of what has been received so far. What is no message is given back as an error.
pub(super) fn take_lines<T: for<'a> Deserialize<'a>>(buffer: &mut Vec<u8>) -> Vec<Result<T, String>> {
    let mut messages = Vec::new();
    while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
        let line: Vec<u8> = buffer.drain(..=end).collect();
        messages.push(
            serde_json::from_slice(&line).map_err(|error| {
                format!("no message: {error}: {}", String::from_utf8_lossy(line.trim_ascii()))
            }),
        );
    }
    messages
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn messages_survive_their_line_whatever_bytes_paths_have() {
        let odd = OsString::from_vec(vec![b'/', 0xff, b'\n', b'"']);
        let commands = [
            Command::Configure { wrap_log: Some(odd.clone()) },
            Command::Guard {
                leftovers: vec![
                    Leftover::File(odd.clone().into()),
                    Leftover::EmptyDir("/d".into()),
                    Leftover::Copy { path: odd.clone().into(), lock: "/l".into(), delete: true },
                ],
            },
            Command::Launch {
                argv: vec![odd.clone()],
                env: vec![("A".into(), odd)],
                fds: 2,
                has_input: true,
                deaf: true,
            },
            Command::Finish,
        ];
        let mut bytes: Vec<u8> = commands.iter().flat_map(line).collect();
        bytes.extend(b"half a li");
        let back: Vec<_> = take_lines::<Command>(&mut bytes).into_iter().map(Result::unwrap).collect();
        assert_eq!(back, commands);
        assert_eq!(bytes, b"half a li");
    }

    #[test]
    fn lines_that_are_no_message_are_errors() {
        let mut bytes = b"{}\n\n\xff\n".to_vec();
        let lines = take_lines::<Command>(&mut bytes);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(Result::is_err));
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(ProcessEnd::Code(1).to_string(), "exit code 1");
        assert_eq!(ProcessEnd::Signal(9).to_string(), "SIGKILL");
        assert_eq!(ProcessEnd::Signal(40).to_string(), "signal 40");
    }
}
