//! What becomes of the frames that a guest sends. None of them is trusted.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Entry, MAX_SESSIONS, Shared, State, Told};
use crate::agent::wire::{Body, BootId, CHUNK, Decoder, Frame, VERSION, Violation, WINDOW};
use crate::agent::{AgentTimes, ExecError, ExecRequest, session};

/// The reading task.
pub(super) struct Reader {
    shared: Arc<Shared>,
    decoder: Decoder,
    /// When the agent was last asked whether it is there.
    asked: Instant,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Reader {
        Reader { shared, decoder: Decoder::hunting(), asked: Instant::now() }
    }

    pub(super) async fn run(mut self, mut reading: OwnedReadHalf, mut end: mpsc::Receiver<()>) {
        let mut buffer = vec![0; CHUNK];
        let why = loop {
            let shared = Arc::clone(&self.shared);
            let busy = !shared.state().sessions.is_empty();
            tokio::select! {
                read = reading.read(&mut buffer) => match read {
                    Ok(0) => break "the guest has ended".to_owned(),
                    Ok(length) => self.received(&buffer[..length]),
                    Err(error) => break format!("the guest's channel: {error}"),
                },
                () = shared.busy.notified() => {}
                () = tokio::time::sleep(shared.times.ask), if busy => self.watch(),
                _ = end.recv() => break "nobody listens any more".to_owned(),
            }
        };
        let shared = &self.shared;
        shared.lose(&mut shared.state(), why);
    }

    fn received(&mut self, octets: &[u8]) {
        let shared = Arc::clone(&self.shared);
        self.decoder.push(octets);
        loop {
            let mut state = shared.state();
            if state.boot.is_none() {
                // What was under way is of a former life.
                self.decoder.hunt();
            }
            let Some(frame) = self.decoder.next() else { return };
            shared.heard.send_replace(Instant::now());
            if let Err(violation) = frame.and_then(|frame| take(&shared, &mut state, frame)) {
                *state.violations.entry(violation).or_default() += 1;
                tracing::warn!("the guest's agent sent {violation}; its channel begins anew");
                shared.lose(&mut state, format!("mvpnet's agent in the guest sent {violation}"));
                shared.answer(state.life, 0, Body::Reset);
            }
        }
    }

    /// Asks an agent that has been quiet while commands run, and gives it up in the end.
    fn watch(&mut self) {
        let shared = &self.shared;
        let AgentTimes { ask, silent } = shared.times;
        let quiet = shared.heard.borrow().elapsed();
        let mut state = shared.state();
        if quiet >= silent {
            shared.lose(
                &mut state,
                format!("mvpnet's agent in the guest was silent for {} s", quiet.as_secs()),
            );
            // It may be there after all.
            shared.answer(state.life, 0, Body::Reset);
        } else if quiet >= ask && self.asked.elapsed() >= ask {
            self.asked = Instant::now();
            shared.answer(state.life, 0, Body::Ping);
        }
    }
}

/// Takes a frame of the guest's.
fn take(shared: &Arc<Shared>, state: &mut State, frame: Frame) -> Result<(), Violation> {
    let Frame { session, body } = frame;
    match body {
        Body::Hello { version, boot } if session == 0 => hello(shared, state, version, boot),
        Body::Pong if session == 0 => Ok(()),
        Body::Open { request, host: Some(host) } => open(shared, state, session, request, host),
        Body::Window(more) => {
            let Some(entry) = entry(state, session)? else { return Ok(()) };
            // Permits are taken by the session alone: there cannot be less room than is counted here.
            if entry.credit.available_permits() + more as usize > WINDOW as usize {
                return Err(Violation::Window);
            }
            entry.credit.add_permits(more as usize);
            Ok(())
        }
        body => {
            let ours = matches!(
                body,
                Body::Opened | Body::Stdout(_) | Body::Stderr(_) | Body::Exit(_) | Body::Error(_)
            );
            let theirs = matches!(body, Body::Stdin(_) | Body::StdinEnd | Body::Signal(_) | Body::Close);
            if !(ours && session.is_multiple_of(2) || theirs && !session.is_multiple_of(2)) {
                return Err(Violation::OutOfPlace);
            }
            deliver(shared, state, session, body)
        }
    }
}

fn hello(shared: &Arc<Shared>, state: &mut State, version: u8, boot: BootId) -> Result<(), Violation> {
    if version != VERSION {
        let why = format!("mvpnet's agent in the guest speaks version {version}, this program {VERSION}");
        tracing::warn!("{why}");
        shared.lose(state, why);
        return Ok(());
    }
    if state.boot != Some(boot) {
        shared.lose(state, "the guest, or mvpnet's agent in it, was started again".into());
        state.boot = Some(boot);
    }
    if !shared.answer(state.life, 0, Body::Welcome { version: VERSION, boot }) {
        return Err(Violation::Flood);
    }
    shared.connected.send_replace(true);
    Ok(())
}

fn open(
    shared: &Arc<Shared>,
    state: &mut State,
    session: u32,
    request: ExecRequest,
    host: String,
) -> Result<(), Violation> {
    if session < state.next_theirs || session.is_multiple_of(2) {
        return Err(Violation::OutOfPlace);
    }
    state.next_theirs = session.checked_add(2).ok_or(Violation::OutOfPlace)?;
    let refuse = |reason: String| {
        let refused = Body::Error(ExecError::Refused(reason));
        if shared.answer(state.life, session, refused) { Ok(()) } else { Err(Violation::Flood) }
    };
    if request.argv.is_empty() {
        return refuse("an empty command".into());
    }
    if state.sessions.keys().filter(|id| *id % 2 == 1).count() >= MAX_SESSIONS {
        return refuse(format!("{MAX_SESSIONS} commands of this guest run already"));
    }
    let Ok(place) = shared.calls.clone().try_reserve_owned() else {
        return refuse("the host does not take commands of guests at present".into());
    };
    let entered = shared.enter(state, session);
    session::serve(entered, host, request, place);
    Ok(())
}

/// The entry of a session that was opened. None: it has ended.
fn entry(state: &mut State, session: u32) -> Result<Option<&mut Entry>, Violation> {
    let next = if session.is_multiple_of(2) { state.next_ours } else { state.next_theirs };
    if session == 0 || session >= next {
        return Err(Violation::OutOfPlace);
    }
    Ok(state.sessions.get_mut(&session))
}

fn deliver(shared: &Shared, state: &mut State, session: u32, body: Body) -> Result<(), Violation> {
    let life = state.life;
    let Some(entry) = entry(state, session)? else { return Ok(()) };
    let cost = body.cost();
    entry.room = entry.room.checked_sub(cost).ok_or(Violation::Window)?;
    let last = matches!(body, Body::Exit(_) | Body::Error(_));
    if cost == 0 && !last {
        let Some(notes) = entry.notes.checked_sub(1) else { return Ok(()) };
        entry.notes = notes;
    }
    match entry.closed {
        // Who listened may just have gone.
        None => drop(entry.incoming.send(body)),
        Some(Told::NotYet) if shared.answer(life, session, Body::Close) => entry.closed = Some(Told::Yes),
        Some(_) => {}
    }
    if last {
        state.sessions.remove(&session);
    }
    Ok(())
}
