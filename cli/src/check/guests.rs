//! Commands in guests, for as long as they have something to say.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mvpnet_node::control::JobInfo;
use mvpnet_node::session::{Outcome, Service, Session, SessionEvent, SessionInput, SessionRequest};
use mvpnet_qemu_driver::agent::ExecRequest;

use super::judge::Guest;

/// Guests that are looked at from within at the same time.
const AT_ONCE: usize = 16;
/// SIGKILL.
const KILL: i32 = 9;

/// A command for a guest.
#[derive(Clone, Debug, Default)]
pub(super) struct Command {
    pub(super) argv: Vec<String>,
    /// Who runs it; root if none is named.
    pub(super) user: Option<String>,
    pub(super) stdin: Vec<u8>,
    /// How long it may say nothing.
    pub(super) patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ran {
    /// Its exit code, as shells have it; none: it was silent for too long, and was killed.
    pub(super) code: Option<i32>,
    pub(super) output: Vec<u8>,
    pub(super) errors: Vec<u8>,
    /// When the first output came, in seconds since 1970.
    pub(super) first: Option<f64>,
}

/// Where commands run. The real one is a job.
pub(super) trait Guests: Sync {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be run there.
    fn run(&self, rank: u32, command: Command) -> Result<Ran, String>;
}

impl Guests for JobInfo {
    fn run(&self, rank: u32, command: Command) -> Result<Ran, String> {
        let Command { argv, user, stdin, patience } = command;
        let request = ExecRequest { argv, user, stdin: !stdin.is_empty(), ..ExecRequest::default() };
        let request = SessionRequest { rank, service: Service::Exec(request) };
        let mut session = Session::open(self.through, &request).map_err(|error| error.to_string())?;
        let input = session.input();
        let mut writing = input.clone();
        let (tell, told) = channel();
        // Not scoped: one that waits for a guest which is silent for good must not be waited for.
        let writing = move || {
            // A command that has ended needs no more.
            let _ = writing.write_all(&stdin).and_then(|()| writing.end());
        };
        let reading = move || {
            loop {
                let event = session.next_event();
                let is_last = matches!(event, SessionEvent::Done(_));
                if tell.send((now(), event)).is_err() || is_last {
                    break;
                }
            }
        };
        let threads: [Box<dyn FnOnce() + Send>; 2] = [Box::new(writing), Box::new(reading)];
        for thread in threads {
            thread::Builder::new().spawn(thread).map_err(|error| error.to_string())?;
        }
        follow(&told, patience, &input)
    }
}

/// Gathers what is told until the end, or kills what is silent.
fn follow(
    told: &Receiver<(f64, SessionEvent)>,
    patience: Duration,
    input: &SessionInput,
) -> Result<Ran, String> {
    let mut ran = Ran::default();
    let mut killed = false;
    loop {
        match told.recv_timeout(patience) {
            Ok((at, SessionEvent::Output(data))) => {
                ran.first.get_or_insert(at);
                ran.output.extend(data);
            }
            Ok((_, SessionEvent::Error(data))) => ran.errors.extend(data),
            Ok((_, SessionEvent::End)) => {}
            Ok((_, SessionEvent::Done(_))) if killed => return Ok(ran),
            Ok((_, SessionEvent::Done(outcome))) => {
                ran.code = Some(code(outcome)?);
                return Ok(ran);
            }
            Err(RecvTimeoutError::Timeout) if !killed => {
                killed = true;
                let _ = input.signal(KILL);
            }
            // Not even its end is heard of.
            Err(_) => return Ok(ran),
        }
    }
}

fn code(outcome: Outcome) -> Result<i32, String> {
    match outcome {
        Outcome::Exited(code) => Ok(code),
        Outcome::Killed(signal) => Ok(128 + signal),
        Outcome::Closed => Ok(0),
        Outcome::Failed(why) => Err(why),
    }
}

// Clocks of guests are compared with this one.
#[allow(clippy::disallowed_methods)]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Does something for each of these ranks, several at a time.
pub(super) fn each<T: Send>(ranks: &[u32], what: impl Fn(u32) -> Result<T, String> + Sync) -> Vec<Guest<T>> {
    let mut done = Vec::new();
    for some in ranks.chunks(AT_ONCE) {
        let what = &what;
        done.extend(thread::scope(|scope| {
            let threads: Vec<_> = some.iter().map(|&rank| (rank, scope.spawn(move || what(rank)))).collect();
            let ends = threads.into_iter().map(|(rank, thread)| Guest {
                rank,
                read: thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            });
            ends.collect::<Vec<_>>()
        }));
    }
    done
}
