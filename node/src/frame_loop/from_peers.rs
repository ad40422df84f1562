//! Batches from other ranks on their way in: each record decided, the guest's share handed over as runs of
//! the very buffer that the batch arrived in.

use mvpnet_switch::{
    Delivery, DropReason, Ingress, Instant, MacAddr, MacOwner, PortId, Rank, Topology, Verdict,
};
use mvpnet_transports::{
    Batch, Record, RecordError, RecordKind, Records, Transport, TransportError, records,
};

use super::guest_port::Admission;
use super::share::Share;
use super::{Event, RankLoop, Work};
use crate::capture::{Direction, Port};

/// Batches taken in one turn, so that a flood from peers does not starve the guest.
const BATCHES_PER_TURN: usize = 16;

impl<T: Transport> RankLoop<T> {
    /// Takes what peers sent, as far as the guest has room for it.
    pub(super) fn take_from_peers(&mut self, now: Instant) -> Result<Work, TransportError> {
        let mut work = Work::Nothing;
        for _ in 0..BATCHES_PER_TURN {
            let admission = self.guest.as_mut().map_or(Admission::Absent, |guest| guest.admission(now));
            if admission == Admission::Wait {
                break;
            }
            let Some(batch) = self.core.transport.receive()? else { break };
            work = Work::Done;
            let admission = if self.faults.is_some() { Admission::ByLinks } else { admission };
            self.take_batch(now, batch, admission);
        }
        Ok(work)
    }

    fn take_batch(&mut self, now: Instant, batch: Batch, admission: Admission) {
        let mut share = self.guest.as_mut().map(|guest| guest.empty_share()).unwrap_or_default();
        let whole = self.ingress(batch.from(), Delivery::Unicast);
        let mut rest = records(batch.bytes());
        while let Some(record) = self.take_unicast(now, &batch, &mut rest, admission, &mut share) {
            match record {
                Ok(Record { offload: Some(_), whole: place, .. }) => {
                    self.take_unfinished_from(now, whole, batch.bytes(), place, admission, &mut share);
                }
                Ok(record) => self.take_peer_record(now, &batch, record, admission, &mut share),
                Err(_) => {
                    // Where the next record begins is unknown: the rest of the batch is lost.
                    self.core.switch.refuse(whole, DropReason::BadRecord, 0);
                    break;
                }
            }
        }
        match &mut self.guest {
            Some(guest) if !share.is_empty() => guest.push_batch(now, batch, share),
            guest => {
                guest.iter_mut().for_each(|guest| guest.put_share(std::mem::take(&mut share)));
                self.core.transport.recycle(batch);
            }
        }
    }

    /// Takes records as long as they are of the common kind: up to the first that is not, which is returned.
    fn take_unicast(
        &mut self,
        now: Instant,
        batch: &Batch,
        rest: &mut Records<'_>,
        admission: Admission,
        share: &mut Share,
    ) -> Option<Result<Record, RecordError>> {
        let ingress = self.ingress(batch.from(), Delivery::Unicast);
        while let Some(place) = rest.next_unicast() {
            let frame = &batch.bytes()[place.clone()];
            let verdict = self.core.switch.decide(now, ingress, frame, frame.len());
            self.core.capture_inbound(Port::Transport, frame, &verdict);
            let is_common = verdict == Verdict::Forward(PortId::Guest) && admission == Admission::Room;
            if is_common && !share.is_copied {
                share.add_unicast(place);
                self.core.capture(Port::Guest, Direction::Outbound, frame, None);
            } else if self.is_for_guest(now, ingress, frame, verdict, admission) {
                self.add_to(share, now, frame, |share| share.add_unicast(place));
            }
        }
        rest.next()
    }

    fn take_peer_record(
        &mut self,
        now: Instant,
        batch: &Batch,
        record: Record,
        admission: Admission,
        share: &mut Share,
    ) {
        let frame = &batch.bytes()[record.frame.clone()];
        let ingress = match record.kind {
            RecordKind::Unicast => self.ingress(batch.from(), Delivery::Unicast),
            RecordKind::Flood => match record.root.map(|root| self.core.transport.world().rank(root)) {
                Some(Ok(origin)) => self.ingress(origin, Delivery::Flood),
                _ => {
                    let ingress = self.ingress(batch.from(), Delivery::Unicast);
                    return self.core.switch.refuse(ingress, DropReason::BadRecord, frame.len());
                }
            },
            RecordKind::Control => {
                let message = Event::Message { from: batch.from(), payload: frame.to_vec() };
                return self.mailbox.tell(message);
            }
        };
        let verdict = self.core.switch.decide(now, ingress, frame, frame.len());
        self.core.capture_inbound(Port::Transport, frame, &verdict);
        if self.is_for_guest(now, ingress, frame, verdict, admission) {
            self.add_to(share, now, frame, |share| share.add(&record));
        }
    }

    /// Gives the guest its copy: the place in the batch, or, once the batch is copied, the frame itself.
    fn add_to(&mut self, share: &mut Share, now: Instant, frame: &[u8], add: impl FnOnce(&mut Share)) {
        match &mut self.guest {
            Some(guest) if share.is_copied => guest.push_frame(now, frame, false),
            _ => add(share),
        }
    }

    /// Does what the switch says about a peer's frame. True where the guest is to be given a copy by the caller.
    pub(super) fn is_for_guest(
        &mut self,
        now: Instant,
        ingress: Ingress,
        frame: &[u8],
        verdict: Verdict,
        admission: Admission,
    ) -> bool {
        let for_guest = match verdict {
            Verdict::Forward(PortId::Guest) => true,
            Verdict::Flood(flood) => {
                self.core.flood_to_children(flood, frame);
                flood.to_guest
            }
            // A peer's frame goes to other peers only down the tree, and peers are not answered.
            Verdict::Forward(PortId::Peer(_) | PortId::Tunnel(_))
            | Verdict::Reply(_)
            | Verdict::Control(_)
            | Verdict::Drop(_) => false,
        };
        if !for_guest {
            return false;
        }
        match admission {
            Admission::ByLinks => self.travel(now, self.sender(ingress, frame), frame),
            Admission::Room => {
                self.core.capture(Port::Guest, Direction::Outbound, frame, None);
                return true;
            }
            Admission::Absent => self.core.account(PortId::Guest, frame, Some(self.absence())),
            Admission::Slow | Admission::Wait => {
                self.core.account(PortId::Guest, frame, Some(DropReason::QueueFull));
            }
        }
        false
    }

    /// Where a frame that the transport says is `from` a rank came in: what is from this rank itself came out of the
    /// tunnel, where there is one.
    fn ingress(&self, from: Rank, delivery: Delivery) -> Ingress {
        match self.core.switch.config().topology {
            Topology::Tunnel(vni) if from == self.core.transport.me() => Ingress::Tunnel(vni),
            _ => Ingress::Peer { origin: from, delivery },
        }
    }

    /// The rank at the other end of the link that a frame has come over: a tunnel does not say, but the frame may.
    fn sender(&self, ingress: Ingress, frame: &[u8]) -> Option<Rank> {
        match ingress {
            Ingress::Peer { origin, .. } => Some(origin),
            Ingress::Guest | Ingress::Tunnel(_) => {
                let source = frame.get(6..12)?.try_into().ok().map(MacAddr::new)?;
                match self.core.switch.config().world.owner_of(source) {
                    MacOwner::Rank(rank) => Some(rank),
                    _ => None,
                }
            }
        }
    }

    /// Why there is no guest: before its time, or after it.
    pub(super) fn absence(&self) -> DropReason {
        if self.had_guest { DropReason::GuestGone } else { DropReason::NotUp }
    }
}
