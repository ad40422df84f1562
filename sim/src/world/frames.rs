//! A frame's way: from a guest through the switches, over the links, to other guests.

use std::rc::Rc;

use mvpnet_pcap::Direction;
use mvpnet_switch::{Control, Delivery, DropReason, Flood, Ingress, PortId, Rank, Verdict};
use mvpnet_transports::link::{Arrival, Passage};

use super::{Event, Frame, World};
use crate::capture::{Place, Side};
use crate::frames::Hop;
use crate::node::{GuestState, Waiting};
use crate::rules::RuleVerdict;

impl World {
    fn came_in(&mut self, rank: Rank, side: Side, frame: &[u8], dropped: Option<DropReason>) {
        if let Some(capture) = &mut self.capture {
            capture.record(self.now, Place { rank, side, direction: Direction::Inbound }, frame, dropped);
        }
    }

    fn goes_out(&mut self, rank: Rank, side: Side, frame: &[u8], dropped: Option<DropReason>) {
        if let Some(capture) = &mut self.capture {
            capture.record(self.now, Place { rank, side, direction: Direction::Outbound }, frame, dropped);
        }
    }

    /// A guest sends a frame.
    pub(super) fn guest_sends(&mut self, rank: Rank, frame: Rc<[u8]>) {
        let now = self.now;
        self.traffic.sent(frame.len());
        let node = self.node_mut(rank);
        let verdict = node.switch.decide(now, Ingress::Guest, &frame, frame.len());
        let reason = verdict.drop_reason();
        self.came_in(rank, Side::Guest, &frame, reason);
        self.audit_sent(rank, &frame, &verdict);
        match verdict {
            Verdict::Forward(PortId::Peer(to)) => self.pass_on(rank, to, rank, Delivery::Unicast, &frame),
            Verdict::Forward(PortId::Guest | PortId::Tunnel(_)) => {
                unreachable!("a guest's frame does not go back to it, and no simulated rank has a tunnel")
            }
            Verdict::Flood(flood) => self.spread(rank, flood, &frame),
            Verdict::Reply(_) => {
                if let Some(reason) = reason {
                    self.traffic.dropped(now, reason);
                }
                let bytes: Rc<[u8]> = Rc::from(self.node(rank).switch.reply());
                self.audit_answer(rank, &bytes);
                self.queue
                    .push(now, Event::Deliver(Frame { from: rank, to: rank, bytes, is_duplicate: false }));
            }
            Verdict::Control(Control::Shutdown) => {
                self.shutdown_asked_by.get_or_insert(rank);
            }
            Verdict::Control(_) => {}
            Verdict::Drop(reason) => self.traffic.dropped(now, reason),
        }
    }

    /// From one switch to another: no time passes, and nothing is lost. The links come after it.
    fn pass_on(&mut self, from: Rank, to: Rank, origin: Rank, delivery: Delivery, frame: &Rc<[u8]>) {
        self.node_mut(from).switch.sent(PortId::Peer(to), frame.len());
        self.goes_out(from, Side::Peers, frame, None);
        let now = self.now;
        let ingress = Ingress::Peer { origin, delivery };
        let verdict = self.node_mut(to).switch.decide(now, ingress, frame, frame.len());
        let reason = if let Verdict::Drop(reason) = verdict { Some(reason) } else { None };
        self.came_in(to, Side::Peers, frame, reason);
        match verdict {
            Verdict::Forward(_) => self.travel(origin, to, frame),
            Verdict::Flood(flood) => {
                if flood.to_guest {
                    self.travel(origin, to, frame);
                }
                self.spread(to, flood, frame);
            }
            Verdict::Drop(reason) => self.traffic.dropped(now, reason),
            Verdict::Reply(_) | Verdict::Control(_) => unreachable!("only guests are answered"),
        }
    }

    fn spread(&mut self, me: Rank, flood: Flood, frame: &Rc<[u8]>) {
        for child in flood.children() {
            self.pass_on(me, child, flood.root, Delivery::Flood, frame);
        }
    }

    /// The way from one guest to another: rules first, then the link between them.
    fn travel(&mut self, from: Rank, to: Rank, frame: &Rc<[u8]>) {
        let now = self.now;
        let mut verdict = RuleVerdict::Pass;
        let hop = Hop { now, from, to, frame };
        for rule in &mut self.rules {
            verdict = rule.on_frame(&hop);
            if verdict != RuleVerdict::Pass {
                break;
            }
        }
        if verdict == RuleVerdict::Drop {
            return self.lose_at_guest(to, frame, false, DropReason::Rule);
        }
        let node = &mut self.nodes[to.index() as usize];
        let (mut first, mut second) = if self.settings.is_ideal() && node.network.is_untouched() {
            (Arrival { at: now, corrupt_bit: None }, None)
        } else {
            match node.network.pass(&self.settings, now, from, frame.len()) {
                Ok(passage) => (passage.first, passage.duplicate),
                Err(reason) => return self.lose_at_guest(to, frame, false, reason),
            }
        };
        match verdict {
            RuleVerdict::Delay(by) => first.at = first.at + by,
            RuleVerdict::Duplicate => second = second.or(Some(first)),
            RuleVerdict::Corrupt(bit) => {
                first.corrupt_bit = Some(bit.min(frame.len().saturating_mul(8).saturating_sub(1)));
            }
            RuleVerdict::Pass | RuleVerdict::Drop => {}
        }
        let next = if self.settings.has_no_access_links() { Event::Deliver } else { Event::Access };
        self.arrive(next, [from, to], frame, first, false);
        if let Some(second) = second {
            self.traffic.duplicated += 1;
            self.arrive(next, [from, to], frame, second, true);
        }
    }

    /// A copy will come to the end of a link, and then do what is next.
    fn arrive(
        &mut self,
        next: fn(Frame) -> Event,
        [from, to]: [Rank; 2],
        frame: &Rc<[u8]>,
        arrival: Arrival,
        is_duplicate: bool,
    ) {
        let bytes = match arrival.corrupt_bit {
            Some(bit) => {
                self.traffic.corrupted += 1;
                flip(frame, bit)
            }
            None => frame.clone(),
        };
        self.audit_on_its_way(to, frame, &bytes, &arrival, is_duplicate);
        self.queue.push(arrival.at, next(Frame { from, to, bytes, is_duplicate }));
    }

    /// The last hop, which all that is sent to a guest shares.
    pub(super) fn access(&mut self, frame: Frame) {
        let Frame { from, to, bytes, is_duplicate } = frame;
        let node = &mut self.nodes[to.index() as usize];
        match node.network.access(&self.settings, self.now, bytes.len()) {
            Ok(Passage { first, duplicate }) => {
                self.arrive(Event::Deliver, [from, to], &bytes, first, is_duplicate);
                if let Some(second) = duplicate {
                    self.traffic.duplicated += 1;
                    self.arrive(Event::Deliver, [from, to], &bytes, second, true);
                }
            }
            Err(reason) => self.lose_at_guest(to, &bytes, is_duplicate, reason),
        }
    }

    /// A frame has come to a guest's port.
    pub(super) fn deliver(&mut self, frame: Frame) {
        let Frame { from, to, bytes, is_duplicate } = frame;
        let node = self.node_mut(to);
        match node.state {
            GuestState::Up => self.hand_over([from, to], &bytes, is_duplicate),
            GuestState::Paused => {
                if let Err(Waiting { frame, is_duplicate, .. }) =
                    node.queue(Waiting { from, frame: bytes, is_duplicate })
                {
                    self.lose_at_guest(to, &frame, is_duplicate, DropReason::QueueFull);
                }
            }
            GuestState::Absent | GuestState::Down => {
                self.lose_at_guest(to, &bytes, is_duplicate, DropReason::GuestGone);
            }
        }
    }

    pub(super) fn hand_over(&mut self, [from, to]: [Rank; 2], frame: &Rc<[u8]>, is_duplicate: bool) {
        let now = self.now;
        if is_duplicate {
            self.traffic.duplicates_received += 1;
        } else {
            self.node_mut(to).switch.sent(PortId::Guest, frame.len());
        }
        self.traffic.received(now, from, to, frame.len());
        self.goes_out(to, Side::Guest, frame, None);
        self.audit_ended(to, frame, None);
        self.run_guest(to, |guest, port| guest.receive(port, frame));
    }

    /// A copy that was for a guest ends before it.
    pub(super) fn lose_at_guest(
        &mut self,
        to: Rank,
        frame: &Rc<[u8]>,
        is_duplicate: bool,
        reason: DropReason,
    ) {
        let now = self.now;
        if is_duplicate {
            self.traffic.duplicates_lost += 1;
        } else {
            self.node_mut(to).switch.egress_drop(PortId::Guest, reason, frame.len());
        }
        self.traffic.dropped(now, reason);
        self.goes_out(to, Side::Guest, frame, Some(reason));
        self.audit_ended(to, frame, Some(reason));
    }
}

/// The frame with one bit of it flipped.
fn flip(frame: &Rc<[u8]>, bit: usize) -> Rc<[u8]> {
    let mut bytes = frame.to_vec();
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 0x80 >> (bit % 8);
    }
    Rc::from(bytes)
}
