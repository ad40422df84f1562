//! The guest's frames on their way out: decided one by one, carried in runs.

use std::ops::Range;

use mvpnet_qemu_driver::links::{Item, PREFIX_LEN, Received};
use mvpnet_switch::{Control, DropReason, Ingress, Instant, PortId, Verdict};
use mvpnet_transports::{SendError, Transport};

use super::core::drop_reason;
use super::patience::Answer;
use super::{Event, RankLoop, Work};
use crate::capture::{Direction, Port};

/// Longest run handed to the transport at once, in octets: half a batch, so that batches fill well.
const RUN_LEN: usize = 32 * 1024;

/// Consecutive records of the link's buffer that go out by one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    to: PortId,
    octets: Range<usize>,
}

impl<T: Transport> RankLoop<T> {
    /// Takes at most one read's worth of frames from the guest.
    pub(super) fn take_from_guest(&mut self, now: Instant) -> Work {
        if let Some(run) = self.stalled.take() {
            self.send_run(now, run);
        }
        // What was read before the stall comes first.
        let mut work = self.take_items(now);
        if self.stalled.is_some() {
            return work;
        }
        let Some(guest) = &mut self.guest else { return work };
        match guest.link.receive() {
            Ok(Received::Data) => work = self.take_items(now),
            Ok(Received::Nothing) => {}
            Ok(Received::Closed) => self.lose_guest("closed its link"),
            Err(error) => self.lose_guest(error.desc()),
        }
        work
    }

    /// Decides on every record of the last read, until there are no more or a destination has no room.
    fn take_items(&mut self, now: Instant) -> Work {
        let mut work = Work::Nothing;
        while self.stalled.is_none() {
            let Some(guest) = &mut self.guest else { return work };
            let Some(item) = guest.link.next_item() else { break };
            work = Work::Done;
            match item {
                Item::Record(record) => self.take_guest_record(now, record),
                Item::BadLength(len) => self.core.switch.refuse(Ingress::Guest, DropReason::BadLength, len),
            }
        }
        if self.guest.as_ref().is_some_and(|guest| guest.link.is_broken()) {
            self.lose_guest("sent a length that no frame has");
        } else if self.stalled.is_none()
            && let Some(run) = self.open.take()
        {
            self.send_run(now, run);
        }
        work
    }

    /// Decides on one record: a unicast frame extends the open run or begins a new one. Other frames pass
    /// it by: order is kept per destination and source (IEEE 802.1Q-2022 8.6.6), which a run never mixes.
    fn take_guest_record(&mut self, now: Instant, record: Range<usize>) {
        let Some(guest) = &mut self.guest else { return };
        let frame = &guest.link.bytes()[record.start + PREFIX_LEN..record.end];
        let verdict = self.core.switch.decide(now, Ingress::Guest, frame, frame.len());
        self.core.capture(Port::Guest, Direction::Inbound, frame, verdict.drop_reason());
        match verdict {
            Verdict::Forward(to @ (PortId::Peer(_) | PortId::Tunnel(_))) => self.extend_run(now, to, record),
            Verdict::Flood(flood) => self.core.flood_to_children(flood, frame),
            Verdict::Reply(_) => guest.push_reply(&mut self.core, now),
            Verdict::Control(Control::Shutdown) => self.mailbox.tell(Event::ShutdownAddress),
            // What else is consumed asks for nothing to be done.
            Verdict::Control(_) | Verdict::Forward(PortId::Guest) | Verdict::Drop(_) => {}
        }
    }

    fn extend_run(&mut self, now: Instant, to: PortId, record: Range<usize>) {
        match &mut self.open {
            Some(run) if run.to == to && run.takes(&record) => run.octets.end = record.end,
            open => {
                if let Some(full) = open.replace(Run { to, octets: record }) {
                    self.send_run(now, full);
                }
            }
        }
    }

    /// Sends a run, or keeps it in `stalled` while its destination is waited for.
    fn send_run(&mut self, now: Instant, run: Run) {
        let Some(guest) = &self.guest else { return };
        let peer = self.core.peer(run.to);
        match self.core.transport.send_run(peer, &guest.link.bytes()[run.octets.clone()]) {
            Ok(()) => {
                self.room_at(now, run.to);
                self.account_run(&run, None);
            }
            Err(SendError::Full) => match self.patience.entry(run.to).or_default().refused(now) {
                Answer::Wait => self.stalled = Some(run),
                Answer::Drop => self.account_run(&run, Some(DropReason::QueueFull)),
            },
            Err(error) => self.account_run(&run, Some(drop_reason(&error))),
        }
    }

    fn room_at(&mut self, now: Instant, to: PortId) {
        if self.patience.is_empty() {
            return;
        }
        if let Some(patience) = self.patience.get_mut(&to) {
            patience.accepted();
            if patience.is_calm(now) {
                self.patience.remove(&to);
            }
        }
    }

    /// Enters a run's frames into the books, and into the capture.
    pub(super) fn account_run(&mut self, run: &Run, dropped: Option<DropReason>) {
        let Some(guest) = &self.guest else { return };
        let mut rest = &guest.link.bytes()[run.octets.clone()];
        while let Some((prefix, tail)) = rest.split_first_chunk::<PREFIX_LEN>() {
            let (frame, tail) = tail.split_at(u32::from_be_bytes(*prefix) as usize);
            self.core.account(run.to, frame, dropped);
            rest = tail;
        }
    }

    /// The guest's link is over.
    pub(super) fn lose_guest(&mut self, why: &str) {
        tracing::info!("the guest {why}");
        self.detach_guest();
        self.mailbox.tell(Event::GuestGone);
    }
}

impl Run {
    fn takes(&self, record: &Range<usize>) -> bool {
        self.octets.end == record.start && record.end - self.octets.start <= RUN_LEN
    }
}
