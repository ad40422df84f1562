//! What the loop does when it finds no work: poll a little longer, then sleep until somebody rings.

use std::time::Duration;

use mvpnet_switch::Instant;
use mvpnet_transports::{Arm, Transport};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::guest_port::Admission;
use super::{RankLoop, Work};
use crate::frame_loop::patience::PATIENCE;

/// Longest sleep while frames wait for room at a destination, so that [`PATIENCE`] is kept.
const STALLED_SLEEP: Duration = Duration::from_micros(500);

/// Longest sleep while control messages wait for the transport, or a datagram guest for its peer.
const OUTBOX_SLEEP: Duration = Duration::from_millis(5);

const _: () = assert!(STALLED_SLEEP.as_nanos() < PATIENCE.as_nanos());

impl<T: Transport> RankLoop<T> {
    /// Waits for work: polls for a while after the last work was seen, then sleeps.
    pub(super) fn wait(&mut self, now: Instant) {
        if now.saturating_since(self.last_work) < self.core.transport.spin_for() {
            std::thread::yield_now();
            return;
        }
        let mut flush_within = None;
        if let Some(tap) = &mut self.core.tap {
            let unix_now = self.core.clock.unix_ns(now);
            tap.flush_due(unix_now);
            flush_within = tap.next_flush(unix_now);
        }
        // A batch that may not be taken now would keep `arm` from sleeping: the guest is slow to take
        // what it has, and the loop waits for that.
        let guest_full = self.guest.as_mut().is_some_and(|guest| guest.admission(now) == Admission::Wait);
        match self.core.transport.arm() {
            Arm::Ready if !guest_full => {}
            Arm::Ready => self.sleep(STALLED_SLEEP),
            Arm::Sleep { at_most } => self.sleep(flush_within.map_or(at_most, |within| at_most.min(within))),
        }
        self.core.transport.disarm();
    }

    /// Sleeps until the guest, a peer or the control plane has something, or for `at_most`.
    fn sleep(&mut self, mut at_most: Duration) {
        if self.stalled.is_some() {
            at_most = at_most.min(STALLED_SLEEP);
        }
        if !self.outbox.is_empty() {
            at_most = at_most.min(OUTBOX_SLEEP);
        }
        let mut fds = [
            PollFd::new(self.core.transport.doorbell(), PollFlags::POLLIN),
            PollFd::new(self.mailbox.fd(), PollFlags::POLLIN),
            PollFd::new(self.mailbox.fd(), PollFlags::empty()),
        ];
        let mut watched = 2;
        if let Some(guest) = &self.guest {
            let mut interest = PollFlags::empty();
            interest.set(PollFlags::POLLIN, self.stalled.is_none());
            interest.set(PollFlags::POLLOUT, guest.has_waiting());
            fds[watched] = PollFd::new(guest.link.fd(), interest);
            watched += 1;
        }
        // EINTR and whatever else ends the sleep early costs one more turn.
        let _ = ppoll(&mut fds[..watched], Some(TimeSpec::from_duration(at_most)), None);
        let rung = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        if rung(&fds[1]) {
            self.mailbox.quiet();
        }
    }

    /// Hands the guest what waits for it.
    pub(super) fn to_guest(&mut self) -> Work {
        let Some(guest) = &mut self.guest else { return Work::Nothing };
        if !guest.has_waiting() {
            return Work::Nothing;
        }
        match guest.write(&mut self.core) {
            Ok(0) => Work::Nothing,
            Ok(_) => Work::Done,
            Err(error) => {
                self.lose_guest(error.desc());
                Work::Done
            }
        }
    }
}
