//! The world as it runs: takes events in their order, lets switches decide, moves frames, wakes guests.
//!
//! Everything happens in one thread, in the order (time, sequence number). Between two events nothing changes, so
//! that whoever looks at the world between them sees a consistent state.

use std::rc::Rc;
use std::sync::Arc;

use mvpnet_pcap::Direction;
use mvpnet_switch::{
    Config, Control, Delivery, DropReason, Flood, Ingress, Instant, PortId, Rank, Switch, Verdict,
    World as Ranks,
};
use mvpnet_transports::link::{Arrival, Change, Settings};

use crate::books::Traffic;
use crate::capture::{Recorder, Side};
use crate::guest::Port;
use crate::node::{GuestState, Node, Waiting};
use crate::queue::Queue;
use crate::ready::Ready;
use crate::rules::{Hop, Rule, RuleVerdict};

/// What can happen.
pub(crate) enum Event {
    /// A frame comes to the end of its link, before the access link.
    Access(Frame),
    /// A frame comes to the guest.
    Deliver(Frame),
    /// The guest's time to wake.
    Wake(Rank, u32),
    /// A change that was planned.
    Change(Box<Change>),
    /// Something of the test's own that was planned; its index.
    Call(usize),
}

/// A frame on its way to a guest.
pub(crate) struct Frame {
    pub(crate) to: Rank,
    pub(crate) bytes: Rc<[u8]>,
    pub(crate) is_duplicate: bool,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) ranks: Ranks,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) queue: Queue<Event>,
    pub(crate) settings: Settings,
    pub(crate) rules: Vec<Box<dyn Rule>>,
    pub(crate) capture: Option<Recorder>,
    pub(crate) traffic: Traffic,
    pub(crate) ready: Arc<Ready>,
    /// Asked for by the ARP request for the shutdown address.
    pub(crate) shutdown_asked_by: Option<Rank>,
    outbox: Vec<Rc<[u8]>>,
    planned_calls: Vec<usize>,
}

impl World {
    pub(crate) fn new(seed: u64, configs: impl Iterator<Item = Config>, ranks: Ranks) -> World {
        World {
            seed,
            ranks,
            now: Instant::ZERO,
            nodes: configs.map(|config| Node::new(Switch::new(config), seed)).collect(),
            queue: Queue::new(),
            settings: Settings::default(),
            rules: Vec::new(),
            capture: None,
            traffic: Traffic::default(),
            ready: Arc::new(Ready::default()),
            shutdown_asked_by: None,
            outbox: Vec::new(),
            planned_calls: Vec::new(),
        }
    }

    pub(crate) fn node(&self, rank: Rank) -> &Node {
        &self.nodes[rank.index() as usize]
    }

    pub(crate) fn node_mut(&mut self, rank: Rank) -> &mut Node {
        &mut self.nodes[rank.index() as usize]
    }

    /// Lets the next event happen. Returns whether there was one, not later than `until`.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        match self.queue.next_at() {
            Some(at) if at <= until => {}
            _ => return false,
        }
        let Some((at, event)) = self.queue.pop() else { return false };
        debug_assert!(at >= self.now, "time does not run backwards");
        self.now = at;
        match event {
            Event::Deliver(frame) => self.deliver(frame),
            Event::Access(frame) => self.access(frame),
            Event::Wake(rank, life) => self.wake(rank, life),
            Event::Change(change) => self.apply(&change),
            Event::Call(index) => self.planned_calls.push(index),
        }
        self.wake_ready();
        true
    }

    /// The test's own calls that have become due since the last time.
    pub(crate) fn take_calls(&mut self) -> Option<usize> {
        self.planned_calls.pop()
    }

    /// Lets guests go on whose tasks were woken by others.
    pub(crate) fn wake_ready(&mut self) {
        while let Some(index) = self.ready.pop() {
            if let Some(node) = self.nodes.get(index as usize)
                && node.state == GuestState::Up
            {
                let rank = node.rank;
                self.run_guest(rank, |guest, port| guest.wake(port));
            }
        }
    }

    // ---- guests

    /// Starts a rank's guest, in place of one that may run.
    pub(crate) fn start(&mut self, rank: Rank) {
        self.stop(rank);
        let node = self.node_mut(rank);
        let Some(make) = &mut node.make else { return };
        node.guest = Some(make());
        node.state = GuestState::Up;
        self.run_guest(rank, |guest, port| guest.start(port));
    }

    fn stop(&mut self, rank: Rank) {
        let node = self.node_mut(rank);
        node.guest = None;
        node.life += 1;
        node.wake_at = None;
        node.wake_planned = None;
        if node.state != GuestState::Absent {
            node.state = GuestState::Down;
        }
        while let Some(waiting) = self.node_mut(rank).backlog.pop_front() {
            self.lose_at_guest(rank, &waiting.frame, waiting.is_duplicate, DropReason::GuestGone);
        }
        self.node_mut(rank).backlog_bytes = 0;
    }

    fn resume(&mut self, rank: Rank) {
        let node = self.node_mut(rank);
        if node.state != GuestState::Paused {
            return;
        }
        node.state = GuestState::Up;
        node.backlog_bytes = 0;
        for waiting in std::mem::take(&mut self.node_mut(rank).backlog) {
            self.hand_over(rank, &waiting.frame, waiting.is_duplicate);
        }
        self.run_guest(rank, |guest, port| guest.wake(port));
    }

    /// Lets a guest run, and sends what it has to send.
    pub(crate) fn run_guest(&mut self, rank: Rank, run: impl FnOnce(&mut dyn crate::Guest, &mut Port<'_>)) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let (now, world) = (self.now, self.ranks);
        let node = &mut self.nodes[rank.index() as usize];
        let Some(mut guest) = node.guest.take() else {
            self.outbox = outbox;
            return;
        };
        let mut port = Port {
            now,
            rank,
            world,
            chance: &mut node.chance,
            wake_at: &mut node.wake_at,
            outbox: &mut outbox,
        };
        run(guest.as_mut(), &mut port);
        node.guest = Some(guest);
        self.plan_wake(rank);
        for frame in outbox.drain(..) {
            self.guest_sends(rank, frame);
        }
        self.outbox = outbox;
    }

    fn plan_wake(&mut self, rank: Rank) {
        let now = self.now;
        let node = self.node_mut(rank);
        let Some(at) = node.wake_at else { return };
        let at = at.max(now);
        if node.wake_planned.is_none_or(|planned| at < planned) {
            node.wake_planned = Some(at);
            let life = node.life;
            self.queue.push(at, Event::Wake(rank, life));
        }
    }

    fn wake(&mut self, rank: Rank, life: u32) {
        let now = self.now;
        let node = self.node_mut(rank);
        if node.life != life {
            return;
        }
        if node.wake_planned.is_some_and(|planned| planned <= now) {
            node.wake_planned = None;
        }
        match node.wake_at {
            Some(at) if at <= now => {}
            // It has changed its mind since: plan anew.
            _ => return self.plan_wake(rank),
        }
        // One that stands still is woken when it goes on.
        if node.state == GuestState::Up {
            node.wake_at = None;
            self.run_guest(rank, |guest, port| guest.wake(port));
        }
    }

    // ---- frames

    fn record(
        &mut self,
        rank: Rank,
        side: Side,
        direction: Direction,
        frame: &[u8],
        dropped: Option<DropReason>,
    ) {
        if let Some(capture) = &mut self.capture {
            capture.record(self.now, rank, side, direction, frame, dropped);
        }
    }

    /// A guest sends a frame.
    fn guest_sends(&mut self, rank: Rank, frame: Rc<[u8]>) {
        let now = self.now;
        self.traffic.sent(frame.len());
        let node = self.node_mut(rank);
        let verdict = node.switch.decide(now, Ingress::Guest, &frame, frame.len());
        let reason = if let Verdict::Drop(reason) = verdict { Some(reason) } else { None };
        self.record(rank, Side::Guest, Direction::Inbound, &frame, reason);
        match verdict {
            Verdict::Forward(PortId::Peer(to)) => self.pass_on(rank, to, rank, Delivery::Unicast, &frame),
            Verdict::Forward(PortId::Guest) => unreachable!("a guest's frame does not go back to it"),
            Verdict::Flood(flood) => self.spread(rank, flood, &frame),
            Verdict::Reply(_) => {
                let bytes = Rc::from(self.node(rank).switch.reply());
                self.queue.push(now, Event::Deliver(Frame { to: rank, bytes, is_duplicate: false }));
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
        self.record(from, Side::Peers, Direction::Outbound, frame, None);
        let now = self.now;
        let ingress = Ingress::Peer { origin, delivery };
        let verdict = self.node_mut(to).switch.decide(now, ingress, frame, frame.len());
        let reason = if let Verdict::Drop(reason) = verdict { Some(reason) } else { None };
        self.record(to, Side::Peers, Direction::Inbound, frame, reason);
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
        self.arrive(to, frame, first, false);
        if let Some(second) = second {
            self.traffic.duplicated += 1;
            self.arrive(to, frame, second, true);
        }
    }

    fn arrive(&mut self, to: Rank, frame: &Rc<[u8]>, arrival: Arrival, is_duplicate: bool) {
        let bytes = match arrival.corrupt_bit {
            Some(bit) => {
                self.traffic.corrupted += 1;
                flip(frame, bit)
            }
            None => frame.clone(),
        };
        let frame = Frame { to, bytes, is_duplicate };
        let last_hop = !self.settings.has_no_access_links();
        self.queue.push(arrival.at, if last_hop { Event::Access(frame) } else { Event::Deliver(frame) });
    }

    /// The last hop, which all that is sent to a guest shares.
    fn access(&mut self, frame: Frame) {
        let node = &mut self.nodes[frame.to.index() as usize];
        match node.network.access(&self.settings, self.now, frame.bytes.len()) {
            Ok(passage) => self.queue.push(passage.first.at, Event::Deliver(frame)),
            Err(reason) => self.lose_at_guest(frame.to, &frame.bytes, frame.is_duplicate, reason),
        }
    }

    /// A frame has come to a guest's port.
    fn deliver(&mut self, frame: Frame) {
        let Frame { to, bytes, is_duplicate, .. } = frame;
        let node = self.node_mut(to);
        match node.state {
            GuestState::Up => self.hand_over(to, &bytes, is_duplicate),
            GuestState::Paused => {
                if let Err(Waiting { frame, is_duplicate }) =
                    node.queue(Waiting { frame: bytes, is_duplicate })
                {
                    self.lose_at_guest(to, &frame, is_duplicate, DropReason::QueueFull);
                }
            }
            GuestState::Absent | GuestState::Down => {
                self.lose_at_guest(to, &bytes, is_duplicate, DropReason::GuestGone);
            }
        }
    }

    fn hand_over(&mut self, to: Rank, frame: &Rc<[u8]>, is_duplicate: bool) {
        let now = self.now;
        if is_duplicate {
            self.traffic.duplicates_received += 1;
        } else {
            self.node_mut(to).switch.sent(PortId::Guest, frame.len());
        }
        self.traffic.received(now, to, frame.len());
        self.record(to, Side::Guest, Direction::Outbound, frame, None);
        self.run_guest(to, |guest, port| guest.receive(port, frame));
    }

    /// A copy that was for a guest ends before it.
    fn lose_at_guest(&mut self, to: Rank, frame: &Rc<[u8]>, is_duplicate: bool, reason: DropReason) {
        let now = self.now;
        if is_duplicate {
            self.traffic.duplicates_lost += 1;
        } else {
            self.node_mut(to).switch.egress_drop(PortId::Guest, reason, frame.len());
        }
        self.traffic.dropped(now, reason);
        self.record(to, Side::Guest, Direction::Outbound, frame, Some(reason));
    }

    // ---- changes

    /// Lets a change happen now. It must have been checked against the world.
    pub(crate) fn apply(&mut self, change: &Change) {
        let ranks = self.ranks;
        match change {
            Change::Crash(list) => list.iter(ranks).for_each(|rank| self.stop(rank)),
            Change::Restart(list) => list.iter(ranks).for_each(|rank| self.start(rank)),
            Change::Pause(list) => list.iter(ranks).for_each(|rank| {
                let node = self.node_mut(rank);
                if node.state == GuestState::Up {
                    node.state = GuestState::Paused;
                }
            }),
            Change::Resume(list) => list.iter(ranks).for_each(|rank| self.resume(rank)),
            links => self.settings.apply(links),
        }
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
