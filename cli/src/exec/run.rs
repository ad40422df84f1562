//! Sessions side by side: so many at a time, each with its time, until all are over or somebody interrupts.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use mvpnet_node::control::JobInfo;
use mvpnet_node::session::{Outcome, Service, SessionEvent, SessionInput};
use mvpnet_qemu_driver::agent::ExecRequest;
use nix::sys::signal::Signal;

use super::Stdin;
use super::input::Source;
use super::output::{Ending, Kind, Output};
use crate::session::{self, signals};

/// How long a command gets between the signals that are to end it, and how long its end may take to be heard of.
const GRACE: Duration = Duration::from_secs(2);

/// The exit code where nobody reads the output any more: that of SIGPIPE.
const NO_READER: u8 = 128 + 13;

/// A command for some nodes.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) job: JobInfo,
    pub(crate) ranks: Vec<u32>,
    pub(crate) request: ExecRequest,
    pub(crate) timeout: Option<Duration>,
    pub(crate) parallel: usize,
    pub(crate) stdin: Stdin,
}

/// What threads tell.
enum Told {
    Opened(u32, SessionInput),
    Said(u32, Kind, Vec<u8>),
    Done(u32, Outcome),
    Signal(i32),
}

/// A node whose command runs, or is about to.
struct Running {
    started: Instant,
    /// Once the session is open.
    input: Option<SessionInput>,
    /// When the next step against it is due, and what that is.
    due: Option<(Instant, Step)>,
    timed_out: bool,
}

/// What happens to a command that does not end.
#[derive(Clone, Copy)]
enum Step {
    TimeOut,
    Kill,
    GiveUp,
}

struct Run<'a> {
    task: &'a Task,
    source: Source,
    tell: Sender<Told>,
    pending: VecDeque<u32>,
    running: BTreeMap<u32, Running>,
    output: Output,
    /// The first signal that came.
    interrupted: Option<i32>,
}

/// Runs it on all nodes: the exit code.
pub(crate) fn carry_out(task: Task, output: Output) -> io::Result<u8> {
    let source = match (task.stdin, task.ranks.len()) {
        (Stdin::Wanted, 0..=1) => Source::Live,
        (Stdin::Fitting, 0..=1) if !io::stdin().is_terminal() => Source::Live,
        (Stdin::Wanted, _) => Source::whole()?,
        (Stdin::Fitting | Stdin::Unwanted, _) => Source::Nothing,
    };
    let (tell, told) = channel();
    let signals = tell.clone();
    signals::listen(move |signal| drop(signals.send(Told::Signal(signal))))?;
    let pending = task.ranks.iter().copied().collect();
    let mut run =
        Run { task: &task, source, tell, pending, running: BTreeMap::new(), output, interrupted: None };
    match run.attend(&told) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(NO_READER),
        Err(error) => return Err(error),
    }
    let Run { output, interrupted, .. } = run;
    let code = output.finish()?;
    Ok(interrupted.map_or(code, |signal| u8::try_from(128 + signal).unwrap_or(session::FAILED)))
}

impl Run<'_> {
    fn attend(&mut self, told: &Receiver<Told>) -> io::Result<()> {
        loop {
            while self.running.len() < self.task.parallel
                && let Some(rank) = self.pending.pop_front()
            {
                self.start(rank)?;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            let next = match self.running.values().filter_map(|node| node.due).map(|(due, _)| due).min() {
                Some(due) => told.recv_timeout(due.saturating_duration_since(now())),
                None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Told::Opened(rank, input)) => self.opened(rank, input)?,
                Ok(Told::Said(rank, kind, data)) => self.output.say(rank, kind, &data)?,
                Ok(Told::Done(rank, outcome)) => self.done(rank, outcome)?,
                Ok(Told::Signal(signal)) => {
                    if self.interrupted.replace(signal).is_some() {
                        return Ok(());
                    }
                    self.interrupt(signal);
                }
                Err(_) => self.press_on()?,
            }
        }
    }

    /// Opens a session on a thread of its own, which then reads it.
    fn start(&mut self, rank: u32) -> io::Result<()> {
        let started = now();
        let due = self.task.timeout.and_then(|time| Some((started.checked_add(time)?, Step::TimeOut)));
        self.running.insert(rank, Running { started, input: None, due, timed_out: false });
        let request = ExecRequest { stdin: !self.source.is_nothing(), ..self.task.request.clone() };
        let (job, tell) = (self.task.job.clone(), self.tell.clone());
        let reading = move || {
            let mut session = match session::open(&job, rank, Service::Exec(request)) {
                Ok(session) => session,
                Err(error) => return drop(tell.send(Told::Done(rank, Outcome::Failed(error.to_string())))),
            };
            let mut message = Told::Opened(rank, session.input());
            // Nobody listens any more after an interruption.
            while tell.send(message).is_ok() {
                message = match session.next_event() {
                    SessionEvent::Output(data) => Told::Said(rank, Kind::Output, data),
                    SessionEvent::Error(data) => Told::Said(rank, Kind::Error, data),
                    SessionEvent::End => Told::Said(rank, Kind::Output, Vec::new()),
                    SessionEvent::Done(outcome) => return drop(tell.send(Told::Done(rank, outcome))),
                };
            }
        };
        thread::Builder::new().name(format!("node {rank}")).spawn(reading).map(drop)
    }

    fn opened(&mut self, rank: u32, input: SessionInput) -> io::Result<()> {
        let Some(node) = self.running.get_mut(&rank) else { return Ok(()) };
        if let Some(signal) = self.interrupted {
            let _ = input.signal(signal);
        }
        node.input = Some(input.clone());
        self.source.give(input)
    }

    fn done(&mut self, rank: u32, outcome: Outcome) -> io::Result<()> {
        let Some(node) = self.running.remove(&rank) else { return Ok(()) };
        let elapsed = now().saturating_duration_since(node.started);
        self.output.end(rank, Ending { outcome, timed_out: node.timed_out, elapsed })
    }

    /// Passes a signal on, and gives commands a little time to heed it.
    fn interrupt(&mut self, signal: i32) {
        self.pending.clear();
        for node in self.running.values_mut() {
            node.signal(signal);
            node.due = Some((now() + GRACE, Step::Kill));
        }
    }

    /// Does what is due.
    fn press_on(&mut self) -> io::Result<()> {
        let time = now();
        let is_due = |node: &Running| node.due.is_some_and(|(due, _)| due <= time);
        let due: Vec<u32> =
            self.running.iter().filter(|(_, node)| is_due(node)).map(|(rank, _)| *rank).collect();
        for rank in due {
            let Some(node) = self.running.get_mut(&rank) else { continue };
            let Some((_, step)) = node.due else { continue };
            let next = match step {
                Step::TimeOut => {
                    node.timed_out = true;
                    node.signal(Signal::SIGTERM as i32);
                    Step::Kill
                }
                Step::Kill => {
                    node.signal(Signal::SIGKILL as i32);
                    Step::GiveUp
                }
                Step::GiveUp => {
                    self.done(rank, Outcome::Failed("it did not end in time".into()))?;
                    continue;
                }
            };
            node.due = Some((time + GRACE, next));
        }
        Ok(())
    }
}

impl Running {
    fn signal(&self, signal: i32) {
        if let Some(input) = &self.input {
            // A session that is over needs none.
            let _ = input.signal(signal);
        }
    }
}

// The wall clock is what people wait by.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
