//! How long a destination without room is waited for.
//!
//! Waiting keeps bursts lossless and lets a fast sender run at its receiver's pace; but it stalls the
//! guest's traffic to everybody else, so it must end. A destination that was waited for in vain is tried
//! again after a pause, which doubles as long as it stays without room: it may just have been descheduled.

use std::time::Duration;

use mvpnet_switch::Instant;

/// Longest wait for room at another rank that has taken all so far. Longer than TCP needs to send again what was lost (RFC 6298
/// asks for 1 s, Linux takes 200 ms): a hiccup between two hosts loses nothing. MPICH and Open MPI, 1514 bytes from host to host
/// at 9 Gbit/s: with 25 ms every other run of 2 s lost 3 to 10 % of its frames.
const FIRST_PATIENCE: Duration = Duration::from_millis(400);

/// Longest wait for room at a rank that was waited for in vain before. Longer than some time slices of a busy core, so that a
/// peer that was merely descheduled is not taken for a slow one; longer than [`GUEST_PATIENCE`], so that a peer whose
/// guest is slow gives in first.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// How old the oldest frame of a guest's full queue may be before more is dropped. Shorter than it takes a
/// guest that drains 100 Mbit/s to empty the queue: such a guest must not slow its senders down.
pub const GUEST_PATIENCE: Duration = Duration::from_millis(15);

/// The first pause before a slow destination is waited for again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause: a destination that is dead for good costs the others about a percent of their time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What to do with frames that a destination has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Keep them and try again.
    Wait,
    /// Drop them: the destination is slow.
    Drop,
}

/// The record of one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    state: State,
    /// The pause that follows the next wait in vain.
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Has taken what it got last.
    Calm,
    /// Has had no room since then.
    Waiting(Instant),
    /// Waited for in vain; not to be waited for before then.
    Slow(Instant),
}

impl Default for Patience {
    fn default() -> Self {
        Self { state: State::Calm, pause: FIRST_PAUSE }
    }
}

impl Patience {
    /// The destination refused.
    pub fn refused(&mut self, now: Instant) -> Answer {
        match self.state {
            State::Calm => self.state = State::Waiting(now),
            State::Waiting(since) if now.saturating_since(since) >= self.patience() => {
                self.state = State::Slow(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            State::Slow(until) if now >= until => self.state = State::Waiting(now),
            State::Waiting(_) | State::Slow(_) => {}
        }
        if matches!(self.state, State::Slow(_)) { Answer::Drop } else { Answer::Wait }
    }

    fn patience(&self) -> Duration {
        if self.pause == FIRST_PAUSE { FIRST_PATIENCE } else { PATIENCE }
    }

    /// The destination took what it got. While it counts as slow that says little: it takes a part of what
    /// it is sent.
    pub fn accepted(&mut self) {
        if matches!(self.state, State::Waiting(_)) {
            *self = Self::default();
        }
    }

    /// Whether there is nothing to be remembered of the destination at `now`.
    pub fn is_calm(&self, now: Instant) -> bool {
        match self.state {
            State::Calm => true,
            State::Waiting(_) => false,
            // Long after its pause nobody has found it without room.
            State::Slow(until) => now.saturating_since(until) >= LONGEST_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// A destination that was waited for in vain until this time.
    fn slow_since(millis: u64) -> Patience {
        let mut peer = Patience::default();
        assert_eq!(peer.refused(at(millis - 400)), Answer::Wait);
        assert_eq!(peer.refused(at(millis)), Answer::Drop);
        peer
    }

    #[test]
    fn a_short_shortage_is_waited_out() {
        let mut peer = Patience::default();
        assert_eq!(peer.refused(at(0)), Answer::Wait);
        assert_eq!(peer.refused(at(399)), Answer::Wait);
        peer.accepted();
        assert_eq!(peer.refused(at(401)), Answer::Wait);
        assert_eq!(peer.refused(at(800)), Answer::Wait);
    }

    #[test]
    fn who_was_waited_for_in_vain_has_less_time() {
        let mut peer = slow_since(500);
        assert_eq!(peer.refused(at(550)), Answer::Wait);
        assert_eq!(peer.refused(at(574)), Answer::Wait);
        assert_eq!(peer.refused(at(575)), Answer::Drop);
    }

    #[test]
    fn a_slow_destination_is_not_waited_for_until_its_pause_is_over() {
        let mut peer = slow_since(500);
        peer.accepted();
        assert_eq!(peer.refused(at(549)), Answer::Drop);
        assert_eq!(peer.refused(at(550)), Answer::Wait);
    }

    #[test]
    fn one_that_has_recovered_is_waited_for_as_before() {
        let mut peer = slow_since(500);
        assert_eq!(peer.refused(at(550)), Answer::Wait);
        peer.accepted();
        assert_eq!(peer, Patience::default());
    }

    #[test]
    fn one_that_stays_without_room_costs_ever_less() {
        let mut peer = slow_since(500);
        let waited: u64 = (501..60_000).map(|now| u64::from(peer.refused(at(now)) == Answer::Wait)).sum();
        assert!(waited < 1000, "waited {waited} ms in a minute");
    }

    #[test]
    fn one_that_is_not_heard_of_any_more_is_forgotten() {
        let peer = slow_since(500);
        assert!(!peer.is_calm(at(550)));
        assert!(peer.is_calm(at(10_000)));
    }
}
