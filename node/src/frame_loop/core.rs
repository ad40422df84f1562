//! What every part of a turn works on: the switch, the transport, the capture tap and the clock. Apart
//! from the guest's port, so that frames can stay in the link's buffer while they are decided and sent.

use mvpnet_switch::{DropReason, Flood, PortId, Rank, Switch};
use mvpnet_transports::{RecordKind, SendError, Transport};

use super::faults::FaultCounts;
use crate::capture::{Direction, Port, Tap};
use crate::clock::Clock;

pub(super) struct Core<T> {
    pub(super) switch: Switch,
    pub(super) transport: T,
    pub(super) clock: Clock,
    pub(super) tap: Option<Tap>,
    pub(super) faults: FaultCounts,
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
        match dropped {
            None => self.switch.sent(port, frame.len()),
            Some(reason) => self.switch.egress_drop(port, reason, frame.len()),
        }
        let captured_on = match port {
            PortId::Guest => Port::Guest,
            PortId::Peer(_) | PortId::Tunnel(_) => Port::Transport,
        };
        self.capture(captured_on, Direction::Outbound, frame, dropped);
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

/// Why a transport did not take a frame, in the switch's terms.
pub(super) fn drop_reason(error: &SendError) -> DropReason {
    match error {
        SendError::Full => DropReason::QueueFull,
        SendError::TooLong { .. } => DropReason::TooLong,
        SendError::PeerGone(_) => DropReason::PeerGone,
    }
}
