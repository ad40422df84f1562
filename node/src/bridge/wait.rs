//! What the loop does when it finds nothing to do: poll a little longer, then sleep until somebody rings.

use std::time::Duration;

use mvpnet_switch::Instant;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::forward::{BridgeLoop, LOOK_EVERY};

impl BridgeLoop {
    /// Waits for work: polls for a while after the last work was seen, then sleeps.
    pub(super) fn wait(&mut self, now: Instant) {
        if self.spin.goes_on(now, self.last_work) {
            let before = self.clock.now();
            std::thread::yield_now();
            self.spin.yielded(before, self.clock.now());
            self.polled = true;
            return;
        }
        self.polled = false;
        if self.look_due().is_some_and(|due| due <= now) {
            self.look(now);
        }
        let mut at_most = self.look_due().map(|due| due.saturating_since(now));
        if let Some(tap) = &mut self.tap {
            let unix_now = self.clock.unix_ns(now);
            tap.flush_due(unix_now);
            at_most = at_most.into_iter().chain(tap.next_flush(unix_now)).min();
        }
        self.sleep(at_most);
    }

    /// When the counters want to be looked through.
    fn look_due(&self) -> Option<Instant> {
        let is_news =
            self.last_work >= self.last_look || self.vtep.refusals().total() != self.teller.refusals();
        if is_news { Some(self.last_look + LOOK_EVERY) } else { self.teller.next() }
    }

    /// Sleeps until a peer or the control plane has something, or for `at_most`.
    fn sleep(&self, at_most: Option<Duration>) {
        let mut fds = [
            PollFd::new(self.mailbox.fd(), PollFlags::POLLIN),
            PollFd::new(self.vtep.wait_fd(), PollFlags::POLLIN),
        ];
        // EINTR and whatever else ends the sleep early costs one more turn.
        let _ = ppoll(&mut fds, at_most.map(TimeSpec::from_duration), None);
        if fds[0].any() == Some(true) {
            self.mailbox.quiet();
        }
    }
}
