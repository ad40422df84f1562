//! A session as a program on the host has it: blocking reads and writes on a control socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::credit::{ReceiveCredit, SendCredit};
use super::frame::{Frame, HEADER_LEN};
use super::{MAX_DATA, Outcome, SessionRequest};
use crate::control::{self, AskError};

/// An open session. Dropping it, and all its inputs, leaves it, which ends a command.
#[derive(Debug)]
pub struct Session {
    reader: UnixStream,
    shared: Arc<Shared>,
    credit: ReceiveCredit,
}

/// The way to send into a session. Clones share it.
#[derive(Clone, Debug)]
pub struct SessionInput {
    shared: Arc<Shared>,
}

/// What comes out of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// Output.
    Output(Vec<u8>),
    /// Output of the other kind: standard error.
    Error(Vec<u8>),
    /// No more output comes.
    End,
    /// The session is over.
    Done(Outcome),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is room, or never will be.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    writer: UnixStream,
    credit: SendCredit,
    is_over: bool,
}

impl Session {
    /// Asks a job for a session, over the control socket of this process of it.
    ///
    /// # Errors
    /// There is no such job, it refuses, or it ends first.
    pub fn open(process: u32, request: &SessionRequest) -> Result<Self, AskError> {
        Self::over(control::open_session(process, request)?)
    }

    /// Of a connection that has become a session.
    pub(super) fn over(reader: UnixStream) -> Result<Self, AskError> {
        let writer = reader.try_clone().map_err(|_| AskError::Ended(control::Kind::Job))?;
        let state = State { writer, credit: SendCredit::new(), is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        Ok(Self { reader, shared, credit: ReceiveCredit::new() })
    }

    /// The way to send, from any thread.
    pub fn input(&self) -> SessionInput {
        SessionInput { shared: Arc::clone(&self.shared) }
    }

    /// Waits for what comes next. After [`SessionEvent::Done`] nothing does.
    pub fn next_event(&mut self) -> SessionEvent {
        loop {
            match self.read() {
                Ok(Frame::Data(data)) => return self.output(data, SessionEvent::Output),
                Ok(Frame::Error(data)) => return self.output(data, SessionEvent::Error),
                Ok(Frame::End) => return SessionEvent::End,
                Ok(Frame::Credit(octets)) => {
                    self.shared.lock().credit.grant(octets);
                    self.shared.changed.notify_all();
                }
                Ok(Frame::Done(outcome)) => return self.over_with(outcome),
                Ok(Frame::Signal(_) | Frame::Close) => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return self
                        .over_with(Outcome::Failed(format!("the job says what is no answer: {error}")));
                }
                Err(_) => {
                    return self
                        .over_with(Outcome::Failed("the job ended, or its process was killed".into()));
                }
            }
        }
    }

    fn output(&mut self, data: Vec<u8>, event: impl Fn(Vec<u8>) -> SessionEvent) -> SessionEvent {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        // A job that sends more than it may harms nobody here.
        let _ = self.credit.accept(len);
        if let Some(granted) = self.credit.consumed(len) {
            // One that is gone is noticed when reading.
            let _ = self.shared.lock().say(&Frame::Credit(granted));
        }
        event(data)
    }

    fn over_with(&mut self, outcome: Outcome) -> SessionEvent {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        SessionEvent::Done(outcome)
    }

    fn read(&mut self) -> io::Result<Frame> {
        let no_frame = |error| io::Error::new(ErrorKind::InvalidData, error);
        let mut header = [0; HEADER_LEN];
        self.reader.read_exact(&mut header)?;
        let (kind, len) = Frame::read_header(header).map_err(no_frame)?;
        let mut payload = vec![0; len];
        self.reader.read_exact(&mut payload)?;
        Frame::read(kind, &payload).map_err(no_frame)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        let _ = state.say(&Frame::Close);
        let _ = state.writer.shutdown(Shutdown::Both);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl SessionInput {
    /// No more data will be sent.
    pub fn end(&self) -> io::Result<()> {
        self.shared.lock().say(&Frame::End)
    }

    /// How much data would be taken now without waiting.
    pub fn room(&self) -> usize {
        self.shared.lock().credit.room()
    }

    /// Sends a signal to the command, whatever data waits. More of them than the command hears are left out.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.credit.signal() { state.say(&Frame::Signal(signal)) } else { Ok(()) }
    }
}

/// Waits for room; an error means that the session is over.
impl Write for SessionInput {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let mut state = self.shared.lock();
        while state.credit.room() == 0 && !state.is_over {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_over {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let len = data.len().min(state.credit.room()).min(MAX_DATA);
        state.credit.spend(len);
        state.say(&Frame::Data(data[..len].to_vec()))?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked, it has sent a whole frame or none of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn say(&mut self, frame: &Frame) -> io::Result<()> {
        self.writer.write_all(&frame.to_bytes())
    }
}
