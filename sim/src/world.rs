//! The world as it runs: takes events in their order, lets switches decide, moves frames, wakes guests.
//!
//! Everything happens in one thread, in the order (time, sequence number). Between two events nothing changes, so
//! that whoever looks at the world between them sees a consistent state.

mod frames;
mod guests;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use mvpnet_switch::{Config, Instant, Rank, Switch, World as Ranks};
use mvpnet_transports::link::{Change, Settings};

use crate::books::Traffic;
use crate::capture::Recorder;
use crate::invariants::Audit;
use crate::node::{GuestState, Node};
use crate::queue::Queue;
use crate::ready::Ready;
use crate::rules::Rule;

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
    /// The rank whose guest sent it; the receiver itself if its switch made it.
    pub(crate) from: Rank,
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
    pub(crate) audit: Option<Box<Audit>>,
    pub(crate) ready: Arc<Ready>,
    /// Asked for by the ARP request for the shutdown address.
    pub(crate) shutdown_asked_by: Option<Rank>,
    outbox: Vec<Rc<[u8]>>,
    planned_calls: VecDeque<usize>,
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
            audit: None,
            ready: Arc::new(Ready::default()),
            shutdown_asked_by: None,
            outbox: Vec::new(),
            planned_calls: VecDeque::new(),
        }
    }

    pub(crate) fn node(&self, rank: Rank) -> &Node {
        &self.nodes[rank.index() as usize]
    }

    pub(crate) fn node_mut(&mut self, rank: Rank) -> &mut Node {
        &mut self.nodes[rank.index() as usize]
    }

    /// Lets guests start, between what is planned for links at the beginning and what is planned for guests.
    pub(crate) fn begin(&mut self) {
        let mut later = Vec::new();
        while self.queue.next_at().is_some_and(|at| at <= self.now) {
            match self.queue.pop() {
                Some((_, Event::Change(change))) if change.is_about_guests() => later.push(change),
                Some((_, Event::Change(change))) => self.apply(&change),
                Some((_, Event::Call(index))) => self.planned_calls.push_back(index),
                // Nothing else can be planned before there are guests.
                _ => {}
            }
        }
        for rank in self.ranks.ranks() {
            self.start(rank);
        }
        later.iter().for_each(|change| self.apply(change));
        self.wake_ready();
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
            Event::Call(index) => self.planned_calls.push_back(index),
        }
        self.wake_ready();
        true
    }

    /// The test's own calls that have become due since the last time.
    pub(crate) fn take_calls(&mut self) -> Option<usize> {
        self.planned_calls.pop_front()
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
