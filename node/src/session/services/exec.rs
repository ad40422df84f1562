//! A command in the guest.

use std::collections::VecDeque;
use std::time::Duration;

use mvpnet_qemu_driver::agent::{Agents, ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest, Input};
use mvpnet_switch::Rank;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Commands;
use crate::session::duplex::{Duplex, Incoming};
use crate::session::{Outcome, WINDOW};

/// How long the guest's agent may take to answer: a guest that boots, or has much to do, is slow.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// After the client has gone: how long the command gets between SIGHUP and SIGKILL, and then to be gone.
const HANG_UP: Duration = Duration::from_secs(2);

/// What passes between a client and its command.
struct Exchange<'a> {
    duplex: &'a mut Duplex,
    /// Signals, which go first.
    signals: VecDeque<i32>,
    stdin: VecDeque<ExecInput>,
    /// Output for which the client has no room yet.
    waiting: Option<ExecOutput>,
    /// Once the client has gone: what the command gets next, and when.
    hang_up: Option<(Instant, Option<Signal>)>,
}

/// Runs it to its end; that of the session is the command's.
pub(super) async fn serve(
    commands: Commands,
    request: ExecRequest,
    number: Rank,
    duplex: &mut Duplex,
) -> Outcome {
    let agents = match commands {
        Commands::Agents(agents) => agents,
        Commands::Forbidden => {
            return Outcome::Failed(
                "the job was started with --no-exec: nothing is run in its guests".into(),
            );
        }
        Commands::Nobody => {
            return Outcome::Failed(format!("the guest of rank {number} has no channel to an agent"));
        }
    };
    let (input, inputs) = mpsc::channel(1);
    // The client's credit follows what the guest takes: so there is never more on the way than is read ahead of that,
    // and a signal never waits behind it.
    const { assert!((WINDOW as usize) < Agents::READ_AHEAD) };
    let (uses, mut used) = mpsc::unbounded_channel();
    let inputs = Input::counted(inputs, uses);
    let (outputs, mut output) = mpsc::channel(1);
    let mut running = agents.run(request, inputs, outputs, ANSWER_TIME);
    let mut exchange = Exchange::new(duplex);
    let (mut end, mut all_said) = (None, false);
    loop {
        exchange.flush();
        if let Some(end) = &end
            && (exchange.has_hung_up() || all_said && exchange.waiting.is_none())
        {
            return outcome(end);
        }
        let due = exchange.hang_up.map(|(due, _)| due);
        tokio::select! {
            ended = &mut running, if end.is_none() => end = Some(ended),
            incoming = exchange.duplex.next(), if !exchange.has_hung_up() => exchange.take(incoming),
            Some(octets) = used.recv() => exchange.duplex.consumed(octets),
            room = input.reserve(), if end.is_none() && exchange.has_input() => match room {
                Ok(room) => exchange.give(room),
                Err(_) => exchange.discard_input(),
            },
            piece = output.recv(), if !all_said && exchange.waiting.is_none() => match piece {
                Some(piece) => exchange.waiting = Some(piece),
                None => all_said = true,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if !exchange.press_on() {
                    return Outcome::Failed("the command did not end".into());
                }
            }
        }
    }
}

impl<'a> Exchange<'a> {
    fn new(duplex: &'a mut Duplex) -> Self {
        Self { duplex, signals: VecDeque::new(), stdin: VecDeque::new(), waiting: None, hang_up: None }
    }

    /// Sends what there is room for.
    fn flush(&mut self) {
        if self.has_hung_up() {
            self.waiting = None;
        }
        while let Some(piece) = self.waiting.take() {
            let room = self.duplex.room();
            let (ExecOutput::Stdout(data) | ExecOutput::Stderr(data)) = &piece;
            if room == 0 && !data.is_empty() {
                self.waiting = Some(piece);
                return;
            }
            let cut = room.min(data.len());
            let rest = match piece {
                ExecOutput::Stdout(mut data) => {
                    let rest = data.split_off(cut);
                    self.duplex.send(data);
                    ExecOutput::Stdout(rest)
                }
                ExecOutput::Stderr(mut data) => {
                    let rest = data.split_off(cut);
                    self.duplex.send_error(data);
                    ExecOutput::Stderr(rest)
                }
            };
            let (ExecOutput::Stdout(data) | ExecOutput::Stderr(data)) = &rest;
            self.waiting = (!data.is_empty()).then_some(rest);
        }
    }

    fn take(&mut self, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Data(data)) => self.stdin.push_back(ExecInput::Stdin(data)),
            Some(Incoming::End) => self.stdin.push_back(ExecInput::StdinEnd),
            Some(Incoming::Signal(signal)) => self.signals.push_back(signal),
            Some(Incoming::Error(_) | Incoming::Room | Incoming::Done(_)) => {}
            None => {
                self.stdin.clear();
                self.signals.push_back(Signal::SIGHUP as i32);
                self.hang_up = Some((Instant::now() + HANG_UP, Some(Signal::SIGKILL)));
            }
        }
    }

    fn has_hung_up(&self) -> bool {
        self.hang_up.is_some()
    }

    /// The next step against a command that goes on without its client; false when there is none left.
    fn press_on(&mut self) -> bool {
        let Some((due, signal)) = &mut self.hang_up else { return true };
        let Some(signal) = signal.take() else { return false };
        *due += HANG_UP;
        self.signals.push_back(signal as i32);
        true
    }

    fn has_input(&self) -> bool {
        !self.signals.is_empty() || !self.stdin.is_empty()
    }

    fn give(&mut self, room: mpsc::Permit<'_, ExecInput>) {
        if let Some(signal) = self.signals.pop_front() {
            return room.send(ExecInput::Signal(signal));
        }
        if let Some(input) = self.stdin.pop_front() {
            room.send(input);
        }
    }

    /// The command takes no more; who sends it has its credit all the same.
    fn discard_input(&mut self) {
        self.signals.clear();
        for input in self.stdin.drain(..) {
            if let ExecInput::Stdin(data) = input {
                self.duplex.consumed(data.len());
            }
        }
    }
}

fn outcome(end: &Result<ExecEnd, ExecError>) -> Outcome {
    match end {
        Ok(ExecEnd::Exited(code)) => Outcome::Exited(*code),
        Ok(ExecEnd::Killed(signal)) => Outcome::Killed(*signal),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
