//! `mvpnet console`: a guest's console on this terminal.

mod flags;
mod terminal;

use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use mvpnet_node::session::{Outcome, Service, Session, SessionEvent, SessionInput};

use crate::args::Usage;
use crate::exec::copy;
use crate::node_set::{NodeSet, node_name};
use crate::session::{self, EnterError, FAILED, signals};
pub use flags::{AFTER_LONG, Flags, LONG_ABOUT, USAGE};
use terminal::RawTerminal;

/// The key that leaves, Ctrl-], as telnet has it.
const ESCAPE: u8 = 0x1d;

/// Whose console, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    node: NodeSet,
    log: bool,
}

/// What ends it.
enum End {
    /// The user has left.
    Left,
    /// The guest's side is over, or said why not.
    Done(Outcome),
    /// Standard output does not work.
    Output(io::Error),
    /// Somebody ended this program.
    Signal(i32),
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { job, log, help: _, node } = flags;
        let node =
            node.parse().map_err(|error: crate::node_set::NodeSetError| Usage::Console(error.to_string()))?;
        Ok(Self { job, node, log })
    }
}

/// Shows it, until one side ends.
pub fn run(options: &Options) -> ExitCode {
    let Options { job, node, log } = options;
    let shown = session::job(job.as_deref()).and_then(|job| {
        let rank = session::one_of(&job, node)?;
        let session = session::open(&job, rank, Service::Console { follow: !log })?;
        show(session, rank, *log)
    });
    let end = match shown {
        Ok(end) => end,
        Err(error) => return fail(&error.to_string(), error.code()),
    };
    match end {
        End::Left | End::Done(Outcome::Closed | Outcome::Exited(_) | Outcome::Killed(_)) => ExitCode::SUCCESS,
        End::Done(Outcome::Failed(why)) => fail(&why, FAILED),
        End::Output(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        End::Output(error) => fail(&format!("standard output: {error}"), FAILED),
        End::Signal(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(FAILED)),
    }
}

fn fail(why: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "mvpnet: {why}");
    ExitCode::from(code)
}

fn show(session: Session, rank: u32, log: bool) -> Result<End, EnterError> {
    let (ends, ended) = channel();
    let mut terminal = None;
    if !log {
        let signalled = ends.clone();
        signals::listen(move |signal| drop(signalled.send(End::Signal(signal))))?;
        terminal = RawTerminal::enter()?;
        if terminal.is_some() {
            let _ = writeln!(io::stderr(), "mvpnet: the console of {}; Ctrl-] leaves", node_name(rank));
        }
        type_at(session.input(), terminal.is_some(), ends.clone())?;
    }
    let printing = move || print(session, &ends);
    thread::Builder::new().name("console".into()).spawn(printing)?;
    // The printing thread tells before it ends.
    let end = ended.recv().unwrap_or(End::Left);
    if terminal.take().is_some() {
        let _ = writeln!(io::stderr());
    }
    Ok(end)
}

/// Prints what the guest writes.
fn print(mut session: Session, ends: &Sender<End>) {
    let mut stdout = io::stdout();
    let end = loop {
        match session.next_event() {
            SessionEvent::Output(data) | SessionEvent::Error(data) => {
                if let Err(error) = stdout.write_all(&data).and_then(|()| stdout.flush()) {
                    break End::Output(error);
                }
            }
            SessionEvent::End => {}
            SessionEvent::Done(outcome) => break End::Done(outcome),
        }
    };
    let _ = ends.send(end);
}

/// Types what the user does, on a thread of its own: key by key from a terminal, until the key that leaves.
fn type_at(mut input: SessionInput, is_terminal: bool, ends: Sender<End>) -> io::Result<()> {
    let typing = move || {
        let mut stdin = io::stdin();
        if !is_terminal {
            // At its end the guest goes on all the same.
            let _ = copy(&mut stdin, &mut input);
            return;
        }
        let mut keys = [0; 256];
        while let Ok(len) = stdin.read(&mut keys)
            && len > 0
        {
            let (typed, leaves) = until_escape(&keys[..len]);
            if input.write_all(typed).is_err() || leaves {
                break;
            }
        }
        let _ = ends.send(End::Left);
    };
    thread::Builder::new().name("keys".into()).spawn(typing).map(drop)
}

/// What is typed before the key that leaves, and whether that was.
fn until_escape(keys: &[u8]) -> (&[u8], bool) {
    match keys.iter().position(|key| *key == ESCAPE) {
        Some(at) => (&keys[..at], true),
        None => (keys, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_before_leaving_is_typed() {
        assert_eq!(until_escape(b"ls\r"), (&b"ls\r"[..], false));
        assert_eq!(until_escape(b"exit\r\x1dq"), (&b"exit\r"[..], true));
    }
}
