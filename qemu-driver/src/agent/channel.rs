//! The host's end of our own agent's channel: a task that reads and one that writes, and what both and the sessions
//! know of it. The guest's octets are not trusted: what they can make grow has a bound, and whatever is not as
//! [`super::wire`] says ends all sessions and begins the channel anew.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::session::{self, Session};
use super::wire::{Body, BootId, Frame, Violation, WINDOW};
use super::{AgentTimes, ExecEnd, ExecError, ExecOutput, ExecRequest, GuestCall, Input};
use reader::Reader;

mod reader;

/// How many commands either side may have under way.
const MAX_SESSIONS: usize = 512;
/// How many frames of sessions wait to be written.
const QUEUE: usize = 64;
/// How many frames of the channel itself do, answers to the guest for the most part.
const ANSWERS: usize = 2 * MAX_SESSIONS;

/// How many frames without data a session can have besides its last: signals, for the most part.
const NOTES: u32 = 256;

/// The channel. Clones share it; it closes with the last.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// What the tasks and the sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Frames of sessions, with the life of the channel that they are for.
    frames: mpsc::Sender<(u64, Frame)>,
    /// Frames that nobody waits to be rid of.
    answers: mpsc::Sender<(u64, Frame)>,
    /// Whether the agent is connected.
    connected: watch::Sender<bool>,
    /// When the guest's agent was heard last.
    heard: watch::Sender<Instant>,
    /// The first session began.
    busy: Notify,
    times: AgentTimes,
    calls: mpsc::Sender<GuestCall>,
}

#[derive(Debug)]
struct State {
    /// Counts up whenever all sessions are lost.
    life: u64,
    boot: Option<BootId>,
    sessions: BTreeMap<u32, Entry>,
    /// The next numbers, ours and the guest's.
    next_ours: u32,
    next_theirs: u32,
    /// Why nobody is connected, or nobody is any more.
    why_not: String,
    violations: BTreeMap<Violation, u64>,
}

/// A session, as the reading task knows it.
#[derive(Debug)]
struct Entry {
    /// What the guest says in it. Bounded by `room` and `notes`.
    incoming: mpsc::UnboundedSender<Body>,
    /// How much data the guest may still send.
    room: u32,
    /// How many frames without data may still come; what is beyond is left out.
    notes: u32,
    /// How much may be sent to it.
    credit: Arc<Semaphore>,
    /// Nobody listens any more: the agent has been told, unless there was no room to.
    closed: Option<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Yes,
    NotYet,
}

/// Ends the reading task, and with it the writing one, when nobody is left.
#[derive(Debug)]
struct Alive {
    _ended: mpsc::Sender<()>,
}

impl Channel {
    pub(super) fn start(
        socket: StdUnixStream,
        times: AgentTimes,
        calls: mpsc::Sender<GuestCall>,
    ) -> io::Result<Channel> {
        socket.set_nonblocking(true)?;
        let (reading, writing) = UnixStream::from_std(socket)?.into_split();
        let (frames, frames_out) = mpsc::channel(QUEUE);
        let (answers, answers_out) = mpsc::channel(ANSWERS);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                life: 0,
                boot: None,
                sessions: BTreeMap::new(),
                next_ours: 2,
                next_theirs: 1,
                why_not: "mvpnet's agent in the guest has not been heard of".into(),
                violations: BTreeMap::new(),
            }),
            frames,
            answers,
            connected: watch::Sender::new(false),
            heard: watch::Sender::new(Instant::now()),
            busy: Notify::new(),
            times,
            calls,
        });
        let (ended, end) = mpsc::channel(1);
        let reader = Reader::new(Arc::clone(&shared));
        let writer = write(writing, frames_out, answers_out, Arc::clone(&shared));
        let tasks = async move {
            tokio::select! {
                () = reader.run(reading, end) => {}
                () = writer => {}
            }
        };
        tokio::spawn(tasks.in_current_span());
        Ok(Channel { shared, _alive: Arc::new(Alive { _ended: ended }) })
    }

    pub(super) fn is_connected(&self) -> bool {
        *self.shared.connected.borrow()
    }

    /// Waits until the agent is connected.
    pub(super) async fn connected(&self) {
        let mut connected = self.shared.connected.subscribe();
        // The sender is in `self`.
        let _ = connected.wait_for(|&connected| connected).await;
    }

    /// Why nobody is connected.
    pub(super) fn why_not(&self) -> String {
        self.shared.state().why_not.clone()
    }

    pub(super) fn violations(&self) -> Vec<(Violation, u64)> {
        self.shared.state().violations.iter().map(|(&violation, &count)| (violation, count)).collect()
    }

    /// Whether an agent that has been quiet is there still. One that does not say so in time counts as gone.
    pub(super) async fn answers(&self, within: Duration) -> bool {
        let shared = &self.shared;
        let mut heard = shared.heard.subscribe();
        let asked = Instant::now();
        if heard.borrow().elapsed() < shared.times.ask {
            return true;
        }
        let life = shared.state().life;
        shared.answer(life, 0, Body::Ping);
        let answered = timeout(within, heard.wait_for(|&heard| heard > asked)).await;
        if answered.is_err() {
            let why = format!("mvpnet's agent did not answer within {} s", within.as_secs_f32());
            let mut state = shared.state();
            if state.life == life {
                shared.lose(&mut state, why);
                // It may only be slow.
                shared.answer(state.life, 0, Body::Reset);
            }
        }
        self.is_connected()
    }

    /// Runs a command to its end.
    pub(super) async fn exec(
        &self,
        request: ExecRequest,
        input: Input,
        output: mpsc::Sender<ExecOutput>,
        within: Duration,
    ) -> Result<ExecEnd, ExecError> {
        let session = Shared::open(&self.shared)?;
        session::run(session, request, input, output, within).await
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics with the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session of ours.
    fn open(shared: &Arc<Shared>) -> Result<Session, ExecError> {
        let mut state = shared.state();
        if state.boot.is_none() {
            return Err(ExecError::NoAgent(state.why_not.clone()));
        }
        if state.sessions.keys().filter(|id| *id % 2 == 0).count() >= MAX_SESSIONS {
            return Err(ExecError::Refused(format!("{MAX_SESSIONS} commands run in the guest already")));
        }
        let id = state.next_ours;
        state.next_ours =
            id.checked_add(2).ok_or_else(|| ExecError::Refused("no numbers are left".into()))?;
        Ok(shared.enter(&mut state, id))
    }

    fn enter(self: &Arc<Shared>, state: &mut State, id: u32) -> Session {
        let (sender, incoming) = mpsc::unbounded_channel();
        let credit = Arc::new(Semaphore::new(WINDOW as usize));
        let entry =
            Entry { incoming: sender, room: WINDOW, notes: NOTES, credit: Arc::clone(&credit), closed: None };
        state.sessions.insert(id, entry);
        self.busy.notify_one();
        Session { id, life: state.life, incoming, credit, shared: Arc::clone(self) }
    }

    /// Sends a frame of a session. An error says that its life is over.
    pub(super) async fn send(&self, life: u64, session: u32, body: Body) -> Result<(), ExecError> {
        if self.state().life != life || self.frames.send((life, Frame { session, body })).await.is_err() {
            return Err(self.lost());
        }
        Ok(())
    }

    /// What a session hears whose life is over.
    pub(super) fn lost(&self) -> ExecError {
        ExecError::Lost(self.state().why_not.clone())
    }

    /// Lets the guest send more in a session.
    pub(super) async fn grant(&self, life: u64, session: u32, more: u32) -> Result<(), ExecError> {
        {
            let mut state = self.state();
            if state.life != life {
                drop(state);
                return Err(self.lost());
            }
            if let Some(entry) = state.sessions.get_mut(&session) {
                entry.room += more;
            }
        }
        self.send(life, session, Body::Window(more)).await
    }

    /// Nobody listens to the session any more. If it is still under way the agent is told, and its output is
    /// thrown away.
    pub(super) fn leave(&self, life: u64, session: u32) {
        let mut state = self.state();
        if state.life != life {
            return;
        }
        if !session.is_multiple_of(2) {
            // One of the guest's is over when we have said so.
            state.sessions.remove(&session);
        } else if let Some(entry) = state.sessions.get_mut(&session) {
            let told = self.answers.try_send((life, Frame { session, body: Body::Close })).is_ok();
            entry.closed = Some(if told { Told::Yes } else { Told::NotYet });
        }
    }

    /// Queues a frame without waiting. False if there is no room.
    fn answer(&self, life: u64, session: u32, body: Body) -> bool {
        self.answers.try_send((life, Frame { session, body })).is_ok()
    }

    /// All sessions are lost, and nobody is connected.
    fn lose(&self, state: &mut State, why: String) {
        tracing::debug!("the guest's agent: {why}");
        state.life += 1;
        state.boot = None;
        state.why_not = why;
        state.sessions.clear();
        state.next_ours = 2;
        state.next_theirs = 1;
        self.connected.send_replace(false);
    }
}

/// The writing task: whole frames, those of the channel first.
async fn write(
    mut writing: OwnedWriteHalf,
    mut frames: mpsc::Receiver<(u64, Frame)>,
    mut answers: mpsc::Receiver<(u64, Frame)>,
    shared: Arc<Shared>,
) {
    let mut octets = Vec::new();
    loop {
        let (life, frame) = tokio::select! {
            biased;
            Some(frame) = answers.recv() => frame,
            Some(frame) = frames.recv() => frame,
            else => return,
        };
        if shared.state().life != life {
            continue;
        }
        octets.clear();
        frame.encode(&mut octets);
        if let Err(error) = writing.write_all(&octets).await {
            shared.lose(&mut shared.state(), format!("the guest's channel: {error}"));
            return;
        }
    }
}
