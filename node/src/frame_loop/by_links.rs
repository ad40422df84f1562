//! The guest's share of what peers sent, on its way over links that are not ideal: frame by frame, behind the
//! switch's decision and in front of the guest's queue, as in the simulation.

use mvpnet_switch::{DropReason, Instant, PortId, Rank};
use mvpnet_transports::Transport;
use mvpnet_transports::link::{Arrival, Change};

use super::faults::{Due, Faults, Travelling};
use super::guest_port::Admission;
use super::{RankLoop, Work};
use crate::capture::{Direction, Port};

impl<T: Transport> RankLoop<T> {
    /// Lets a change happen to the links that end here.
    pub(super) fn change_links(&mut self, change: &Change, seed: u64) {
        let (me, world) = (self.core.switch.config().me, self.core.switch.config().world);
        let known = self.faults.take().or_else(|| self.resting.take());
        let mut faults = known.unwrap_or_else(|| Box::new(Faults::new(me, world, seed)));
        faults.apply(change);
        self.rest_or_go_on(faults);
    }

    /// Links that are ideal again are taken out of the frames' way.
    fn rest_or_go_on(&mut self, faults: Box<Faults>) {
        let place = if faults.is_over() { &mut self.resting } else { &mut self.faults };
        *place = Some(faults);
    }

    /// Sends a frame that is for the guest on its way. One whose sender is no rank goes by the way of this rank's own
    /// frames, which no partition cuts.
    pub(super) fn travel(&mut self, now: Instant, from: Option<Rank>, frame: &[u8]) {
        let from = from.unwrap_or(self.core.switch.config().me);
        let Some(faults) = &mut self.faults else { return };
        match faults.pass(now, from, frame.len()) {
            Ok(passage) => {
                self.set_out(frame, passage.first, false);
                if let Some(second) = passage.duplicate {
                    self.core.faults.duplicated += 1;
                    self.set_out(frame, second, true);
                }
            }
            Err(reason) => self.lose(frame, false, reason),
        }
    }

    fn set_out(&mut self, frame: &[u8], arrival: Arrival, is_duplicate: bool) {
        let Some(faults) = &mut self.faults else { return };
        if !faults.keep(frame, arrival, is_duplicate) {
            self.lose(frame, is_duplicate, DropReason::LinkQueueFull);
        } else if arrival.corrupt_bit.is_some() {
            self.core.faults.corrupted += 1;
        }
    }

    /// Hands the guest what has arrived by now, as far as it has room.
    pub(super) fn release(&mut self, now: Instant) -> Work {
        let mut work = Work::Nothing;
        while let Some(faults) = &mut self.faults {
            let admission = self.guest.as_mut().map_or(Admission::Absent, |guest| guest.admission(now));
            if admission == Admission::Wait {
                break;
            }
            let Some(Due { travelling, lost }) = faults.take_due(now) else { break };
            work = Work::Done;
            match lost {
                Some(reason) => self.lose(&travelling.frame, travelling.is_duplicate, reason),
                None => self.arrive(now, &travelling, admission),
            }
        }
        if let Some(mut faults) = self.faults.take() {
            self.core.faults.add(faults.take_counts());
            self.rest_or_go_on(faults);
        }
        work
    }

    fn arrive(&mut self, now: Instant, travelling: &Travelling, admission: Admission) {
        let Travelling { frame, is_duplicate, .. } = travelling;
        match (admission, &mut self.guest) {
            (Admission::Room, Some(guest)) => {
                guest.push_frame(now, frame, *is_duplicate);
                self.core.capture(Port::Guest, Direction::Outbound, frame, None);
            }
            (Admission::Absent, _) | (_, None) => self.lose(frame, *is_duplicate, self.absence()),
            _ => self.lose(frame, *is_duplicate, DropReason::QueueFull),
        }
    }

    fn lose(&mut self, frame: &[u8], is_duplicate: bool, reason: DropReason) {
        if is_duplicate {
            self.core.faults.duplicates_lost += 1;
            self.core.capture(Port::Guest, Direction::Outbound, frame, Some(reason));
        } else {
            self.core.account(PortId::Guest, frame, Some(reason));
        }
    }

    /// Counts what is still on its way when the loop ends.
    pub(super) fn lose_what_travels(&mut self) {
        let Some(mut faults) = self.faults.take() else { return };
        for travelling in faults.drain() {
            self.lose(&travelling.frame, travelling.is_duplicate, DropReason::GuestGone);
        }
    }
}
