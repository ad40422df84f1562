//! A guest's life: starting, running, sleeping, crashing.

use mvpnet_switch::{DropReason, Rank};

use super::{Event, World};
use crate::guest::Port;
use crate::node::GuestState;

impl World {
    /// Starts a rank's guest, in place of one that may run.
    pub(crate) fn start(&mut self, rank: Rank) {
        self.stop(rank);
        let node = self.node_mut(rank);
        let Some(make) = &mut node.make else { return };
        node.guest = Some(make());
        node.state = GuestState::Up;
        self.run_guest(rank, |guest, port| guest.start(port));
    }

    pub(super) fn stop(&mut self, rank: Rank) {
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

    pub(super) fn resume(&mut self, rank: Rank) {
        let node = self.node_mut(rank);
        if node.state != GuestState::Paused {
            return;
        }
        node.state = GuestState::Up;
        node.backlog_bytes = 0;
        for waiting in std::mem::take(&mut self.node_mut(rank).backlog) {
            self.hand_over([waiting.from, rank], &waiting.frame, waiting.is_duplicate);
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

    pub(super) fn wake(&mut self, rank: Rank, life: u32) {
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
}
