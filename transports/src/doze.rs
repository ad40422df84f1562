//! How long an idle rank sleeps, and whether it polls before: pure policy, shared by all transports.

use std::time::Duration;

/// While sends are pending the message library needs to be called, so the sleep is short.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))]
pub(crate) const PENDING_BACKSTOP: Duration = Duration::from_micros(100);

/// The first backstop where a ring may come before what it is for can be seen.
const EARLY: Duration = Duration::from_micros(100);

/// The backstops of an idle rank and how often each is slept before the next.
const LADDER: [(Duration, u32); 3] =
    [(Duration::from_millis(1), 4), (Duration::from_millis(10), 10), (Duration::from_millis(100), u32::MAX)];

/// The longest sleep where rings do not come at all.
const DEAF_CAP: Duration = Duration::from_millis(1);
/// Messages in a row that a sleeping rank found by itself before it believes that it cannot be rung.
const DEAF_AFTER: u32 = 8;

/// The backstop ladder: the longer nothing happens, the longer the sleep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backstop {
    /// Sleeps of [`EARLY`] before the ladder.
    early: u32,
    slept_early: u32,
    step: usize,
    slept: u32,
    unrung: u32,
}

impl Backstop {
    /// At least this many sleeps after traffic are short.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn begin_with(&mut self, early: u32) {
        self.early = self.early.max(early);
    }

    /// There was traffic: begin again with the shortest.
    pub fn reset(&mut self) {
        (self.slept_early, self.step, self.slept) = (0, 0, 0);
    }

    /// The next sleep.
    pub fn next(&mut self) -> Duration {
        if self.slept_early < self.early {
            self.slept_early += 1;
            return EARLY;
        }
        let (sleep, times) = LADDER[self.step];
        self.slept = self.slept.saturating_add(1);
        if self.slept >= times && self.step + 1 < LADDER.len() {
            (self.step, self.slept) = (self.step + 1, 0);
        }
        if self.unrung >= DEAF_AFTER { sleep.min(DEAF_CAP) } else { sleep }
    }

    /// A ring came.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn heard_ring(&mut self) {
        self.unrung = 0;
    }

    /// A message was found after a sleep of `slept` that no ring had ended.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code))]
    pub fn missed_ring(&mut self, slept: Duration) {
        if slept >= DEAF_CAP {
            self.unrung = self.unrung.saturating_add(1);
        }
    }
}

/// Whether a rank is taken to poll for a while after a message, where `ranks` share a host whose `cores` are
/// online. Each rank brings a guest, so with fewer than two cores a rank, the core is soon somebody else's.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))]
pub(crate) fn polls(ranks: usize, cores: usize) -> bool {
    ranks * 2 <= cores
}

/// The cores that this process may use.
#[cfg_attr(not(feature = "mpi"), allow(dead_code))]
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backstops_grow_to_a_tenth_of_a_second_and_begin_again_after_traffic() {
        let mut backstop = Backstop::default();
        let sleeps: Vec<u128> = (0..20).map(|_| backstop.next().as_millis()).collect();
        assert!(sleeps.is_sorted());
        assert_eq!((sleeps[0], sleeps[5], sleeps[19]), (1, 10, 100));
        backstop.reset();
        assert_eq!(backstop.next().as_millis(), 1);
    }

    #[test]
    fn the_first_sleeps_are_short_where_a_ring_may_be_early() {
        let mut backstop = Backstop::default();
        backstop.begin_with(10);
        backstop.begin_with(2);
        let sleeps: Vec<u128> = (0..12).map(|_| backstop.next().as_micros()).collect();
        assert_eq!((sleeps[0], sleeps[9], sleeps[10]), (100, 100, 1000));
    }

    #[test]
    fn a_rank_that_cannot_be_rung_sleeps_a_millisecond_at_most() {
        let mut backstop = Backstop::default();
        for _ in 0..DEAF_AFTER {
            backstop.missed_ring(Duration::from_millis(100));
        }
        assert!((0..50).all(|_| backstop.next() <= DEAF_CAP));
        backstop.heard_ring();
        assert!((0..50).any(|_| backstop.next() > DEAF_CAP));
    }

    #[test]
    fn a_rank_without_two_cores_is_not_taken_to_poll() {
        assert!(!polls(2, 2));
        assert!(polls(1, 2));
        assert!(polls(16, 64));
    }
}
