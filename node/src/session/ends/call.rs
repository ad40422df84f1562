//! A client in a guest: a command there that wants a command to run in another guest.

use std::collections::VecDeque;

use mvpnet_qemu_driver::agent::{ExecEnd, ExecError, ExecInput, ExecOutput};
use tokio::sync::{mpsc, oneshot};

use crate::session::Outcome;
use crate::session::duplex::{Backlog, Duplex, Incoming};

/// How much of the caller's data may wait here.
const READ_AHEAD: usize = 64 << 10;

/// Serves the call until the command has ended or the caller has gone: leaving the session ends the command.
pub(in crate::session) async fn attend_call(
    mut input: mpsc::Receiver<ExecInput>,
    output: mpsc::Sender<ExecOutput>,
    mut end: oneshot::Sender<Result<ExecEnd, ExecError>>,
    mut duplex: Duplex,
) {
    let mut stdin = Backlog::default();
    let mut stdin_ends = false;
    let mut waiting: VecDeque<ExecOutput> = VecDeque::new();
    let mut outcome = None;
    while outcome.is_none() || !waiting.is_empty() {
        send_stdin(&mut duplex, &mut stdin, &mut stdin_ends);
        tokio::select! {
            incoming = duplex.next(), if outcome.is_none() => match incoming {
                Some(Incoming::Data(data)) => waiting.push_back(ExecOutput::Stdout(data)),
                Some(Incoming::Error(data)) => waiting.push_back(ExecOutput::Stderr(data)),
                Some(Incoming::Done(done)) => outcome = Some(done),
                Some(Incoming::End | Incoming::Signal(_) | Incoming::Room) => {}
                None => outcome = Some(Outcome::Failed("the job ends".into())),
            },
            room = output.reserve(), if !waiting.is_empty() => match (room, waiting.pop_front()) {
                (Ok(room), Some(piece)) => {
                    let (ExecOutput::Stdout(data) | ExecOutput::Stderr(data)) = &piece;
                    duplex.consumed(data.len());
                    room.send(piece);
                }
                _ => return,
            },
            // Further than there is room, so that a signal behind the data is heard.
            said = input.recv(), if stdin.len() < READ_AHEAD => match said {
                Some(ExecInput::Stdin(data)) => stdin.push(&data),
                Some(ExecInput::StdinEnd) => stdin_ends = true,
                Some(ExecInput::Signal(signal)) => duplex.signal(signal),
                // The caller has gone.
                None => return,
            },
            () = end.closed() => return,
        }
    }
    let result = match outcome {
        Some(Outcome::Exited(code)) => Ok(ExecEnd::Exited(code)),
        Some(Outcome::Killed(signal)) => Ok(ExecEnd::Killed(signal)),
        Some(Outcome::Failed(why)) => Err(ExecError::Refused(why)),
        Some(Outcome::Closed) | None => Err(ExecError::Lost("the other side said nothing of its end".into())),
    };
    let _ = end.send(result);
}

fn send_stdin(duplex: &mut Duplex, stdin: &mut Backlog, ends: &mut bool) {
    while duplex.room() > 0 && !stdin.is_empty() {
        duplex.send(stdin.take(duplex.room()));
    }
    if *ends && stdin.is_empty() {
        *ends = false;
        duplex.end();
    }
}
