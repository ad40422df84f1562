//! What the loop does when it finds no work: poll a little longer, then sleep until somebody rings.

use std::time::Duration;

use mvpnet_switch::Instant;
use mvpnet_transports::{Arm, Transport};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::guest_port::Admission;
use super::patience::GUEST_PATIENCE;
use super::{RankLoop, spin};

/// Longest sleep while frames wait for room at the guest or at another rank, so that [`GUEST_PATIENCE`] and
/// [`PATIENCE`](super::patience::PATIENCE), which is longer, are kept.
const FULL_SLEEP: Duration = Duration::from_micros(500);

/// Longest sleep while control messages wait for the transport, or a datagram guest for its peer.
const OUTBOX_SLEEP: Duration = Duration::from_millis(5);

const _: () = assert!(FULL_SLEEP.as_nanos() < GUEST_PATIENCE.as_nanos());

impl<T: Transport> RankLoop<T> {
    /// Waits for work: polls for a while after the last work was seen, then sleeps.
    pub(super) fn wait(&mut self, now: Instant) {
        if self.stalled.is_some() && spin::awaits_room(now, self.last_work) {
            std::thread::yield_now();
            return;
        }
        if self.spin.goes_on(now, self.last_work) {
            // Who never sleeps hands on what was captured in between.
            if let Some(tap) = &mut self.core.tap {
                tap.flush_due(self.core.clock.unix_ns(now));
            }
            let before = self.core.clock.now();
            std::thread::yield_now();
            self.spin.yielded(before, self.core.clock.now());
            self.polled = true;
            return;
        }
        self.polled = false;
        let mut flush_within = None;
        if let Some(tap) = &mut self.core.tap {
            let unix_now = self.core.clock.unix_ns(now);
            tap.flush_due(unix_now);
            flush_within = tap.next_flush(unix_now);
        }
        // A batch that may not be taken now would keep `arm` from sleeping: the guest is slow to take
        // what it has, and the loop waits for that.
        let guest_full = self.guest.as_mut().is_some_and(|guest| guest.admission(now) == Admission::Wait);
        let receives = self.stalled.is_none();
        let link_has_work = self.guest.as_mut().is_some_and(|guest| guest.arm(receives));
        match self.core.transport.arm() {
            Arm::Ready if !guest_full => {}
            _ if link_has_work => {}
            Arm::Ready => self.sleep(FULL_SLEEP),
            Arm::Sleep { at_most } => {
                let at_most = flush_within.map_or(at_most, |within| at_most.min(within));
                self.sleep(self.next_arrival(guest_full).map_or(at_most, |within| at_most.min(within)));
            }
        }
        self.core.transport.disarm();
        if let Some(guest) = &mut self.guest {
            guest.link.disarm();
        }
    }

    /// How long until the next frame comes over a link to a guest that has room for it.
    fn next_arrival(&self, guest_full: bool) -> Option<Duration> {
        let due = self.faults.as_ref()?.next_due()?;
        Some(if guest_full { FULL_SLEEP } else { due.saturating_since(self.core.clock.now()) })
    }

    /// Sleeps until the guest, a peer or the control plane has something, or for `at_most`.
    fn sleep(&mut self, mut at_most: Duration) {
        if self.stalled.is_some() {
            at_most = at_most.min(FULL_SLEEP);
        }
        if !self.outbox.is_empty() {
            at_most = at_most.min(OUTBOX_SLEEP);
        }
        let mailbox = PollFd::new(self.mailbox.fd(), PollFlags::POLLIN);
        let doorbell = PollFd::new(self.core.transport.doorbell(), PollFlags::POLLIN);
        let timeout = Some(TimeSpec::from_duration(at_most));
        // EINTR and whatever else ends the sleep early costs one more turn.
        let rung = if let Some(guest) = &self.guest {
            let interest = guest.link.interest(self.stalled.is_none(), guest.has_waiting());
            let mut fds = [mailbox, doorbell, PollFd::new(guest.link.fd(), interest)];
            let _ = ppoll(&mut fds, timeout, None);
            fds[0].any()
        } else {
            let mut fds = [mailbox, doorbell];
            let _ = ppoll(&mut fds, timeout, None);
            fds[0].any()
        };
        if rung == Some(true) {
            self.mailbox.quiet();
        }
    }
}
