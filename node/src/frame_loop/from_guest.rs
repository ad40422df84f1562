//! The guest's frames on their way out: read into a draft, decided one by one, carried in runs. A draft whose frames all
//! go the same way is handed over as it is.

use std::ops::Range;

use mvpnet_qemu_driver::links::{Item, PREFIX_LEN, Received, Refusal};
use mvpnet_switch::{DropReason, Ingress, Instant, Offload, PortId, Tally, Verdict};
use mvpnet_transports::{SendError, Transport, records};

use super::core::drop_reason;
use super::patience::Answer;
use super::{Event, RankLoop, Work};
use crate::capture::Port;

/// Consecutive records of the draft that go out by one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    to: PortId,
    octets: Range<usize>,
    tally: Tally,
    /// Whether there is nothing else in the draft.
    is_all: bool,
}

/// Where taking records came to.
enum Taken {
    /// A frame that does not join the open run, and what becomes of it.
    Frame(Range<usize>, Verdict),
    /// A frame of which something is left to be done.
    Unfinished(Range<usize>),
    /// Something that is no frame.
    Refused(Refusal),
    /// There are no more.
    All,
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
        match guest.link.receive(self.draft.bytes_mut()) {
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
            match self.take_run(now) {
                Taken::Frame(record, verdict) => self.act_on(now, record, verdict),
                Taken::Unfinished(record) => self.take_unfinished(now, record),
                Taken::Refused(Refusal { reason, len }) => {
                    self.core.switch.refuse(Ingress::Guest, reason, len);
                }
                Taken::All => break,
            }
            work = Work::Done;
        }
        if self.guest.as_ref().is_some_and(|guest| guest.link.is_broken()) {
            self.lose_guest("sent a length that no frame has");
        } else if self.stalled.is_none()
            && let Some(run) = self.open.take()
        {
            let is_all = run.octets.start == 0;
            self.send_run(now, Run { is_all, ..run });
            work = Work::Done;
        }
        work
    }

    /// Decides on records as long as they go where those before them went, which is the common case: up to the first that
    /// does not.
    fn take_run(&mut self, now: Instant) -> Taken {
        let Some(guest) = &mut self.guest else { return Taken::All };
        let bytes = self.draft.bytes();
        loop {
            let record = match guest.link.next_item(bytes) {
                Some(Item::Record(record)) => record,
                Some(Item::Unfinished(record)) => return Taken::Unfinished(record),
                Some(Item::Refused(refusal)) => return Taken::Refused(refusal),
                None => return Taken::All,
            };
            let frame = &bytes[record.start + PREFIX_LEN..record.end];
            let verdict = self.core.switch.decide(now, Ingress::Guest, frame, frame.len());
            self.core.capture_inbound(Port::Guest, frame, &verdict);
            match (&mut self.open, verdict) {
                (Some(run), Verdict::Forward(to)) if run.takes(to, &record) => {
                    run.extend(&record, frame.len());
                }
                _ => return Taken::Frame(record, verdict),
            }
        }
    }

    /// Does what the switch says about one record: a unicast frame begins a new run. Other frames pass it by: order is
    /// kept per destination and source (IEEE 802.1Q-2022 8.6.6), which a run never mixes.
    pub(super) fn act_on(&mut self, now: Instant, record: Range<usize>, verdict: Verdict) {
        match verdict {
            Verdict::Forward(to @ (PortId::Peer(_) | PortId::Tunnel(_))) => {
                let frame_len = record.len() - PREFIX_LEN;
                self.begin_run(now, Run::of(to, record, frame_len));
            }
            Verdict::Flood(flood) => {
                self.core
                    .flood_to_children(flood, &self.draft.bytes()[record.start + PREFIX_LEN..record.end]);
            }
            Verdict::Reply(_) => {
                if let Some(guest) = &mut self.guest {
                    guest.push_reply(&mut self.core, now);
                }
            }
            Verdict::Control(control) => {
                Event::of(control).into_iter().for_each(|event| self.mailbox.tell(event))
            }
            Verdict::Forward(PortId::Guest) | Verdict::Drop(_) => {}
        }
    }

    /// Makes this the open run; the one before it is sent.
    pub(super) fn begin_run(&mut self, now: Instant, run: Run) {
        if let Some(full) = self.open.replace(run) {
            self.send_run(now, full);
        }
    }

    /// Sends a run, or keeps it in `stalled` while its destination is waited for.
    fn send_run(&mut self, now: Instant, run: Run) {
        let peer = self.core.peer(run.to);
        // With a capture its frames are needed afterwards.
        let sent = if run.is_all && self.core.tap.is_none() {
            self.core.transport.send_draft(peer, &mut self.draft, run.octets.end)
        } else {
            self.core.transport.send_run(peer, &self.draft.bytes()[run.octets.clone()])
        };
        match sent {
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
        if self.core.tap.is_none() {
            return self.core.account_all(run.to, run.tally, dropped);
        }
        let bytes = &self.draft.bytes()[run.octets.clone()];
        for record in records(bytes).flatten() {
            let frame = &bytes[record.frame];
            let header = record.offload.and_then(|place| bytes[place].first_chunk());
            match header.map(|header| Offload::read(header, frame)) {
                Some(Ok(Some(offload))) => self.core.account_unfinished(run.to, &offload, frame, dropped),
                _ => self.core.account(run.to, frame, dropped),
            }
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
    pub(super) fn of(to: PortId, record: Range<usize>, frame_len: usize) -> Self {
        let tally = Tally { frames: 1, bytes: frame_len as u64 };
        Run { to, octets: record, tally, is_all: false }
    }

    #[inline]
    pub(super) fn takes(&self, to: PortId, record: &Range<usize>) -> bool {
        self.to == to && self.octets.end == record.start
    }

    #[inline]
    pub(super) fn extend(&mut self, record: &Range<usize>, frame_len: usize) {
        self.octets.end = record.end;
        self.tally += frame_len;
    }
}
