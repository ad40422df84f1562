//! How long a loop without work goes on polling before it sleeps.
//!
//! Polling with `sched_yield` finds the next frame some tens of microseconds sooner than a sleep that has to
//! be ended by a wake-up (round trips between load generators on two cores: 30 to 45 µs instead of 60 to
//! 80). But where something else wants the core, a vCPU above all, yielding gives it away for a whole time
//! slice, while a sleeper that is woken gets it back at once. So polling that lost the core is given up for
//! a while, twice as long each time in a row.

use std::time::Duration;

use mvpnet_switch::Instant;

/// What a loop without work does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// It polls for a while and then sleeps.
    #[default]
    Adaptive,
    /// It goes on polling, and takes a core that nobody else wants.
    Spin,
}

/// How long to poll after the last work. More than the round trip of two ranks that sleep, or both would
/// stay asleep between frames: with 30 µs a conversation that has fallen into that state does not leave it.
const SPIN: Duration = Duration::from_micros(100);

/// How long to poll for room at a destination, even where yielding loses the core: the room comes with that
/// rank's next credit. Two ranks that fill each other's windows and sleep wait for each other's timers: MPI on two
/// cores, 1514 octets both ways, 1.6 M frames/s instead of 2.6. Polling for ever takes the core from those who
/// make the room: datagram links, 60 octets, 345 k frames/s instead of 440.
const ROOM_SPIN: Duration = Duration::from_micros(250);

/// A yield that takes this long has given the core to somebody who keeps it. The guest on the same core
/// needs less to answer a frame.
const LOST_CORE: Duration = Duration::from_micros(300);

/// For how long polling is given up the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// For how long it is given up at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether to poll for room at a destination, when there was work last at `last_work`.
pub(super) fn awaits_room(now: Instant, last_work: Instant) -> bool {
    now.saturating_since(last_work) < ROOM_SPIN
}

/// Whether to poll for work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spin {
    progress: Progress,
    not_before: Instant,
    pause: Duration,
}

impl Default for Spin {
    fn default() -> Self {
        Self::new(Progress::Adaptive)
    }
}

impl Spin {
    /// Polling that has not begun.
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, not_before: Instant::ZERO, pause: FIRST_PAUSE }
    }

    /// Whether to poll once more at `now`, when there was work last at `last_work`.
    pub(crate) fn goes_on(&self, now: Instant, last_work: Instant) -> bool {
        self.progress == Progress::Spin || (now >= self.not_before && now.saturating_since(last_work) < SPIN)
    }

    /// A yield took from `before` to `after`.
    pub(crate) fn yielded(&mut self, before: Instant, after: Instant) {
        if after.saturating_since(before) >= LOST_CORE {
            self.not_before = after + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Work came while polling: it pays.
    pub(crate) fn paid(&mut self) {
        self.pause = FIRST_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    #[test]
    fn polls_for_a_while_after_the_last_work() {
        let spin = Spin::default();
        assert!(spin.goes_on(at(199), at(100)));
        assert!(!spin.goes_on(at(200), at(100)));
    }

    #[test]
    fn polling_that_loses_the_core_pauses_longer_each_time() {
        let mut spin = Spin::default();
        spin.yielded(at(0), at(3_000));
        assert!(!spin.goes_on(at(12_999), at(12_990)));
        assert!(spin.goes_on(at(13_000), at(12_990)));
        spin.yielded(at(13_000), at(16_000));
        assert!(!spin.goes_on(at(35_000), at(34_990)));
        spin.paid();
        spin.yielded(at(40_000), at(43_000));
        assert!(spin.goes_on(at(53_000), at(52_990)));
    }

    #[test]
    fn who_is_told_to_spin_never_sleeps() {
        let mut spin = Spin::new(Progress::Spin);
        spin.yielded(at(0), at(3_000));
        assert!(spin.goes_on(at(1_000_000), at(0)));
    }

    #[test]
    fn a_short_yield_is_no_loss() {
        let mut spin = Spin::default();
        spin.yielded(at(0), at(20));
        assert!(spin.goes_on(at(21), at(10)));
    }
}
