//! The frame loop of one rank: one thread that owns the guest's link, the switch, the transport, the
//! capture tap and the counters. No locks, no allocation per frame once warm, and nothing here blocks but
//! `wait`, which sleeps when there is nothing to do.
//!
//! A turn takes what peers sent, hands it to the guest, takes what the guest sent, and lets the transport
//! move. Frames are never parsed or copied here beyond what [`Switch::decide`] looks at: runs of frames
//! with one destination pass as one slice of the buffer they arrived in.
//!
//! Back-pressure is bounded: a destination that has no room is waited for during some milliseconds
//! (`patience.rs`) at most, then its frames are dropped at the tail and counted, so that
//! a slow guest does not stall the traffic of others.

mod by_links;
mod core;
mod faults;
mod from_guest;
mod from_peers;
mod guest_port;
mod mailbox;
mod patience;
mod share;
pub(crate) mod spin;
mod unfinished;
mod wait;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mvpnet_switch::{DropReason, Instant, PortId, Rank, Switch};
use mvpnet_transports::offload::Finisher;
use mvpnet_transports::{Draft, RecordKind, SendError, Transport, TransportError};
use tokio::sync::OwnedSemaphorePermit;

use crate::capture::Tap;
use crate::clock::Clock;
use core::Core;
use faults::Faults;
use from_guest::Run;
use guest_port::GuestPort;
pub use mailbox::{Command, Event, GuestEnd, LoopHandle, Mailbox, SESSION_ROOM};

pub use crate::mailbox::mailbox;
pub use core::CapturedFrames;
use patience::Patience;
pub use spin::Progress;
use spin::Spin;

/// Messages of the control plane that wait for the transport, at most, for each rank of the job: rank 0 may have something
/// for everybody. Beyond it the newest is lost. Parts of sessions have room of their own, and are never lost.
const OUTBOX_PER_RANK: usize = 4;
/// The same in a small job.
const OUTBOX_LEAST: usize = 4096;

/// How long the loop keeps trying to hand over what is in flight when it is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Whether a part of a turn found work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Done,
    Nothing,
}

/// One rank's frame loop over the transport `T`.
pub struct RankLoop<T> {
    core: Core<T>,
    mailbox: Mailbox,
    guest: Option<GuestPort>,
    /// Where the guest's frames are read into.
    draft: Draft,
    /// What does the work that a frame's sender has left to others.
    finisher: Finisher,
    /// The run of the guest's frames that is being collected.
    open: Option<Run>,
    /// A run whose destination had no room yet; nothing is read from the guest before it has gone.
    stalled: Option<Run>,
    /// Only destinations that have refused something have an entry.
    patience: BTreeMap<PortId, Patience>,
    /// The links that end here, unless all of them are ideal.
    faults: Option<Box<Faults>>,
    /// The same while they are: their chances go on when they no longer are.
    resting: Option<Box<Faults>>,
    outbox: VecDeque<Outgoing>,
    /// Whether a guest was attached before.
    had_guest: bool,
    spin: Spin,
    /// Whether the last thing done was to poll.
    polled: bool,
    /// When the last turn that found work ended.
    last_work: Instant,
    stopping: bool,
}

/// A message of the control plane.
struct Outgoing {
    to: Rank,
    payload: Vec<u8>,
    /// A session's, until it is sent.
    _room: Option<OwnedSemaphorePermit>,
}

/// What a finished loop hands back.
pub struct LoopEnd<T> {
    /// The transport, to be closed by the thread that made it.
    pub transport: T,
    /// The switch with its counters.
    pub switch: Switch,
    /// The capture tap, to be closed.
    pub tap: Option<Tap>,
    /// Why the loop ended, when nobody asked it to.
    pub failure: Option<TransportError>,
}

impl<T: Transport> RankLoop<T> {
    /// A loop that runs when [`run`](Self::run) is called. It starts without a guest.
    pub fn new(switch: Switch, mut transport: T, clock: Clock, mailbox: Mailbox, tap: Option<Tap>) -> Self {
        let draft = transport.draft();
        Self {
            core: Core::new(switch, transport, clock, tap),
            mailbox,
            guest: None,
            draft,
            finisher: Finisher::new(),
            open: None,
            stalled: None,
            patience: BTreeMap::new(),
            faults: None,
            resting: None,
            outbox: VecDeque::new(),
            had_guest: false,
            spin: Spin::default(),
            polled: false,
            last_work: Instant::ZERO,
            stopping: false,
        }
    }

    /// The same loop, which waits for work in this way.
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { spin: Spin::new(progress), ..self }
    }

    /// The same loop, which captures frames in this form.
    pub fn with_captured_frames(mut self, captured_frames: CapturedFrames) -> Self {
        self.core.captured_frames = captured_frames;
        self
    }

    /// Runs until told to [stop](Command::Stop), or until the transport fails.
    pub fn run(mut self) -> LoopEnd<T> {
        let failure = self.turns().err();
        if let Some(error) = &failure {
            self.mailbox.tell(Event::TransportFailed(error.to_string()));
        }
        self.detach_guest();
        self.lose_what_travels();
        if failure.is_none() {
            self.drain();
        }
        if let Some(tap) = &mut self.core.tap {
            tap.flush();
        }
        LoopEnd { transport: self.core.transport, switch: self.core.switch, tap: self.core.tap, failure }
    }

    fn turns(&mut self) -> Result<(), TransportError> {
        while !self.stopping {
            let now = self.core.clock.now();
            let work = self.turn(now)?;
            match work {
                Work::Done => {
                    self.last_work = now;
                    if std::mem::take(&mut self.polled) {
                        self.spin.paid();
                    }
                }
                Work::Nothing => self.wait(now),
            }
        }
        Ok(())
    }

    fn turn(&mut self, now: Instant) -> Result<Work, TransportError> {
        let mut work = self.obey();
        work = work.or(self.take_from_peers(now)?);
        if self.faults.is_some() {
            work = work.or(self.release(now));
        }
        work = work.or(self.feed_guest());
        work = work.or(self.take_from_guest(now));
        // What is still pending shortens the sleep: the transport sees to that when it is armed.
        let _ = self.core.transport.progress()?;
        // What the guest asked of the switch is answered in the same turn.
        Ok(work.or(self.feed_guest()))
    }

    /// Hands the guest what waits for it.
    fn feed_guest(&mut self) -> Work {
        let Some(guest) = &mut self.guest else { return Work::Nothing };
        if !guest.has_waiting() {
            return Work::Nothing;
        }
        match guest.write(&mut self.core) {
            Ok(0) => Work::Nothing,
            Ok(_) => Work::Done,
            Err(error) => {
                self.lose_guest(error.desc());
                Work::Done
            }
        }
    }

    /// Does what the control plane asked for.
    fn obey(&mut self) -> Work {
        let mut work = Work::Nothing;
        while let Some(command) = self.mailbox.next() {
            work = Work::Done;
            match command {
                Command::Attach(end) => self.attach_guest(end),
                Command::Detach => self.detach_guest(),
                Command::Message { to, payload } => {
                    let limit = self.outbox_limit();
                    if self.outbox.len() >= limit {
                        tracing::error!("more than {limit} control messages wait: one to rank {to} is lost");
                    } else {
                        self.outbox.push_back(Outgoing { to, payload, _room: None });
                    }
                }
                Command::Session { to, payload, room } => {
                    self.outbox.push_back(Outgoing { to, payload, _room: Some(room) });
                }
                Command::Change { change, seed, applied } => {
                    self.change_links(&change, seed);
                    // Who asked may have given up.
                    let _ = applied.send(());
                }
                Command::Counters(reply) => drop(reply.send(self.counters())),
                Command::Stop => self.stopping = true,
            }
        }
        self.send_outbox();
        work
    }

    fn outbox_limit(&self) -> usize {
        let ranks = self.core.transport.world().size() as usize;
        (OUTBOX_PER_RANK * ranks).max(OUTBOX_LEAST) + SESSION_ROOM
    }

    /// All counters by name.
    fn counters(&self) -> Vec<(String, u64)> {
        let mut counters = self.core.counters();
        if let Some(guest) = &self.guest {
            counters
                .extend(guest.link.stats().into_iter().map(|(name, value)| (format!("link.{name}"), value)));
        }
        counters
    }

    fn send_outbox(&mut self) {
        while let Some(Outgoing { to, payload, .. }) = self.outbox.front() {
            let me = self.core.transport.me();
            match self.core.transport.send(*to, RecordKind::Control, me, payload) {
                Err(SendError::Full) => return,
                Err(SendError::PeerGone(_)) => {
                    tracing::warn!("control message to rank {to} is lost: it has left");
                    self.mailbox.tell(Event::PeerGone(*to));
                }
                Err(error) => tracing::warn!("control message to rank {to} is lost: {error}"),
                Ok(()) => {}
            }
            self.outbox.pop_front();
        }
    }

    fn attach_guest(&mut self, end: GuestEnd) {
        match GuestPort::new(end) {
            Ok(port) => self.guest = Some(port),
            Err(error) => {
                tracing::error!("the guest's link cannot be used: {error}");
                self.mailbox.tell(Event::GuestGone);
            }
        }
    }

    /// Lets go of the guest; what it had not taken yet is counted.
    fn detach_guest(&mut self) {
        for run in [self.stalled.take(), self.open.take()].into_iter().flatten() {
            self.account_run(&run, Some(DropReason::GuestGone));
        }
        if let Some(mut guest) = self.guest.take() {
            self.had_guest = true;
            guest.discard(&mut self.core);
        }
    }

    /// Keeps moving until the transport has handed over everything, or for [`DRAIN`].
    fn drain(&mut self) {
        let until = self.core.clock.now() + DRAIN;
        loop {
            self.send_outbox();
            match self.core.transport.progress() {
                Ok(pending) if pending.bytes == 0 && self.outbox.is_empty() => return,
                Ok(_) if self.core.clock.now() < until => std::thread::yield_now(),
                Ok(pending) => {
                    tracing::warn!("{} octets were not delivered to other ranks in time", pending.bytes);
                    return;
                }
                Err(error) => {
                    tracing::warn!("what was in flight is lost: {error}");
                    return;
                }
            }
        }
    }
}

impl Work {
    fn or(self, other: Self) -> Self {
        if self == Self::Done { self } else { other }
    }
}
