//! One end of a session, as the task behind it sees it: what comes, what may be sent, and the end of it all.

use std::collections::VecDeque;

use mvpnet_switch::Rank;
use tokio::sync::mpsc;

use super::credit::{Overrun, ReceiveCredit, SIGNAL_COST, SendCredit};
use super::frame::Frame;
use super::handle::Event;
use super::{MAX_DATA, Outcome};

/// Whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndId {
    /// A client of this rank.
    Client(u32),
    /// A service of this rank, for that client of that rank.
    Service(Rank, u32),
}

/// The way from an end to its hub. Dropping it ends the session.
#[derive(Debug)]
pub(super) struct Outlet {
    hub: mpsc::UnboundedSender<Event>,
    end: EndId,
    is_over: bool,
}

/// An end that reads and sends.
#[derive(Debug)]
pub(super) struct Duplex {
    frames: mpsc::UnboundedReceiver<Frame>,
    outlet: Outlet,
    send: SendCredit,
    receive: ReceiveCredit,
}

/// What an end hears of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Data(Vec<u8>),
    Error(Vec<u8>),
    End,
    Signal(i32),
    /// There is room again.
    Room,
    Done(Outcome),
}

/// Octets that wait for whoever is slow; bounded by the window of their session.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: VecDeque<u8>,
}

impl Outlet {
    pub(super) fn new(hub: mpsc::UnboundedSender<Event>, end: EndId) -> Self {
        Self { hub, end, is_over: false }
    }

    /// Says something; a hub that is gone does not listen.
    pub(super) fn say(&mut self, frame: Frame) {
        if self.is_over {
            return;
        }
        self.is_over = matches!(frame, Frame::Done(_) | Frame::Close);
        let _ = self.hub.send(Event::Said { end: self.end, frame });
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.say(match self.end {
            EndId::Client(_) => Frame::Close,
            EndId::Service(..) => Frame::Done(Outcome::Failed("the session was broken off".into())),
        });
    }
}

impl Duplex {
    pub(super) fn new(frames: mpsc::UnboundedReceiver<Frame>, outlet: Outlet) -> Self {
        Self { frames, outlet, send: SendCredit::new(), receive: ReceiveCredit::new() }
    }

    /// What the other end says next; none when it is gone. Waiting may be given up without losing anything.
    pub(super) async fn next(&mut self) -> Option<Incoming> {
        let frame = self.frames.recv().await?;
        let accepted = match &frame {
            Frame::Data(data) | Frame::Error(data) => {
                self.receive.accept(u32::try_from(data.len()).unwrap_or(u32::MAX))
            }
            Frame::Signal(_) => self.receive.accept(SIGNAL_COST),
            _ => Ok(()),
        };
        if let Err(Overrun) = accepted {
            tracing::warn!("{Overrun}");
            return None;
        }
        match frame {
            Frame::Data(data) => Some(Incoming::Data(data)),
            Frame::Error(data) => Some(Incoming::Error(data)),
            Frame::End => Some(Incoming::End),
            Frame::Signal(signal) => {
                self.consumed_octets(SIGNAL_COST);
                Some(Incoming::Signal(signal))
            }
            Frame::Credit(octets) => {
                self.send.grant(octets);
                Some(Incoming::Room)
            }
            Frame::Done(outcome) => Some(Incoming::Done(outcome)),
            Frame::Close => None,
        }
    }

    /// How much may be sent now in one piece.
    pub(super) fn room(&self) -> usize {
        self.send.room().min(MAX_DATA)
    }

    /// Sends data for which there is room.
    pub(super) fn send(&mut self, data: Vec<u8>) {
        self.send.spend(data.len());
        self.outlet.say(Frame::Data(data));
    }

    /// The same of the other kind.
    pub(super) fn send_error(&mut self, data: Vec<u8>) {
        self.send.spend(data.len());
        self.outlet.say(Frame::Error(data));
    }

    /// No more data will be sent.
    pub(super) fn end(&mut self) {
        self.outlet.say(Frame::End);
    }

    /// Sends a signal; too many of them are none.
    pub(super) fn signal(&mut self, signal: i32) {
        if self.send.signal() {
            self.outlet.say(Frame::Signal(signal));
        }
    }

    /// So much of what came has been used.
    pub(super) fn consumed(&mut self, len: usize) {
        self.consumed_octets(u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn consumed_octets(&mut self, octets: u32) {
        if let Some(granted) = self.receive.consumed(octets) {
            self.outlet.say(Frame::Credit(granted));
        }
    }

    /// The last word of a service.
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.outlet.say(Frame::Done(outcome));
    }
}

impl Backlog {
    pub(super) fn push(&mut self, data: &[u8]) {
        self.bytes.extend(data);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The oldest octets.
    pub(super) fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// So many of the oldest have gone.
    pub(super) fn advance(&mut self, len: usize) {
        self.bytes.drain(..len);
    }

    /// Takes at most `len` of the oldest.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        self.bytes.drain(..len.min(self.bytes.len())).collect()
    }
}
