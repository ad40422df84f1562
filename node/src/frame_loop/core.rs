//! What every part of a turn works on: the switch, the transport, the capture tap and the clock. Apart
//! from the guest's port, so that frames can stay in the link's buffer while they are decided and sent.

use mvpnet_switch::{DropReason, Flood, Offload, PortId, Rank, Switch, Tally, Verdict};
use mvpnet_transports::offload::Finisher;
use mvpnet_transports::{RecordKind, SendError, Transport};

use super::faults::FaultCounts;
use crate::capture::{Direction, Port, Tap};
use crate::clock::Clock;

/// In which form frames are captured of which something is left to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CapturedFrames {
    /// As they are sent.
    #[default]
    AsSent,
    /// As a wire would carry them: cut up, with their checksums.
    AsOnAWire,
}

pub(super) struct Core<T> {
    pub(super) switch: Switch,
    pub(super) transport: T,
    pub(super) clock: Clock,
    pub(super) tap: Option<Tap>,
    pub(super) captured_frames: CapturedFrames,
    /// What finishes frames for the capture.
    finisher: Finisher,
    pub(super) faults: FaultCounts,
}

impl<T> Core<T> {
    pub(super) fn new(switch: Switch, transport: T, clock: Clock, tap: Option<Tap>) -> Self {
        Core {
            switch,
            transport,
            clock,
            tap,
            captured_frames: CapturedFrames::default(),
            finisher: Finisher::new(),
            faults: FaultCounts::default(),
        }
    }
}

impl<T: Transport> Core<T> {
    /// All counters by name.
    pub(super) fn counters(&self) -> Vec<(String, u64)> {
        let transport =
            self.transport.stats().iter().map(|(name, value)| (format!("transport.{name}"), value));
        let name = self.transport.name();
        let own =
            self.transport.own_stats().into_iter().map(|(what, value)| (format!("{name}.{what}"), value));
        self.switch.counters().iter().chain(transport).chain(own).chain(self.faults.iter()).collect()
    }

    /// Writes a frame to the capture, if there is one.
    #[inline]
    pub(super) fn capture(
        &mut self,
        port: Port,
        direction: Direction,
        frame: &[u8],
        dropped: Option<DropReason>,
    ) {
        if let Some(tap) = &mut self.tap {
            // A turn handles many frames; with a capture each has its own time.
            let at = self.clock.unix_ns(self.clock.now());
            tap.record(port, direction, at, frame, dropped);
        }
    }

    /// Writes a frame that came in to the capture, if there is one, with what becomes of it.
    #[inline]
    pub(super) fn capture_inbound(&mut self, port: Port, frame: &[u8], verdict: &Verdict) {
        if self.tap.is_some() {
            self.capture(port, Direction::Inbound, frame, verdict.drop_reason());
        }
    }

    /// Writes a frame of which something is left to be done to the capture, if there is one.
    pub(super) fn capture_unfinished(
        &mut self,
        port: Port,
        direction: Direction,
        offload: &Offload,
        frame: &[u8],
        dropped: Option<DropReason>,
    ) {
        let Some(tap) = &mut self.tap else { return };
        let at = self.clock.unix_ns(self.clock.now());
        let finished = match self.captured_frames {
            CapturedFrames::AsSent => None,
            CapturedFrames::AsOnAWire => {
                let record = |frame: &[u8]| tap.record(port, direction, at, frame, dropped);
                self.finisher.finish(offload, frame, record).ok()
            }
        };
        if finished.is_none() {
            // What cannot be finished is captured as it is.
            tap.record(port, direction, at, frame, dropped);
        }
    }

    /// Writes the switch's answer to the guest to the capture.
    pub(super) fn capture_reply(&mut self, dropped: Option<DropReason>) {
        if let Some(tap) = &mut self.tap {
            let at = self.clock.unix_ns(self.clock.now());
            tap.record(Port::Guest, Direction::Outbound, at, self.switch.reply(), dropped);
        }
    }

    /// Enters the fate of one copy of a frame into the books and into the capture.
    #[inline]
    pub(super) fn account(&mut self, port: PortId, frame: &[u8], dropped: Option<DropReason>) {
        self.account_all(port, Tally { frames: 1, bytes: frame.len() as u64 }, dropped);
        self.capture(captured_on(port), Direction::Outbound, frame, dropped);
    }

    /// The same of a frame of which something is left to be done.
    pub(super) fn account_unfinished(
        &mut self,
        port: PortId,
        offload: &Offload,
        frame: &[u8],
        dropped: Option<DropReason>,
    ) {
        self.account_all(port, Tally { frames: 1, bytes: frame.len() as u64 }, dropped);
        self.capture_unfinished(captured_on(port), Direction::Outbound, offload, frame, dropped);
    }

    /// Enters the fate of copies of several frames into the books, where there is no capture.
    #[inline]
    pub(super) fn account_all(&mut self, port: PortId, copies: Tally, dropped: Option<DropReason>) {
        match dropped {
            None => self.switch.sent_all(port, copies),
            Some(reason) => self.switch.egress_drop_all(port, reason, copies),
        }
    }

    /// What the transport calls the far end of a port. That of a tunnel, which leads out of the job, goes by this
    /// rank's own number; see [`Transport`].
    pub(super) fn peer(&self, port: PortId) -> Rank {
        match port {
            PortId::Peer(rank) => rank,
            PortId::Guest | PortId::Tunnel(_) => self.transport.me(),
        }
    }

    /// Sends a flooded frame to this rank's children in the tree. Floods do not wait for room: a storm
    /// must not stall unicast.
    pub(super) fn flood_to_children(&mut self, flood: Flood, frame: &[u8]) {
        for child in flood.children() {
            let outcome = self.transport.send(child, RecordKind::Flood, flood.root, frame);
            self.account(PortId::Peer(child), frame, outcome.err().map(|error| drop_reason(&error)));
        }
    }
}

/// Where a capture shows what goes out by a port.
fn captured_on(port: PortId) -> Port {
    match port {
        PortId::Guest => Port::Guest,
        PortId::Peer(_) | PortId::Tunnel(_) => Port::Transport,
    }
}

/// Why a transport did not take a frame, in the switch's terms.
pub(super) fn drop_reason(error: &SendError) -> DropReason {
    match error {
        SendError::Full => DropReason::QueueFull,
        SendError::TooLong { .. } => DropReason::TooLong,
        SendError::PeerGone(_) => DropReason::PeerGone,
    }
}
