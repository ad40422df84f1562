//! How long a destination without room is waited for.
//!
//! Waiting keeps bursts lossless and lets a fast sender run at its receiver's pace; but it stalls the
//! guest's traffic to everybody else, so it must end.

use std::time::Duration;

use mvpnet_switch::Instant;

/// Longest wait for room at one destination. Longer than a time slice of a busy core, so that a peer that
/// was merely descheduled is not taken for a slow one.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// How long a destination must take everything before it is waited for again.
const RECOVERY: Duration = Duration::from_millis(50);

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
pub enum Patience {
    /// Takes what it gets.
    Calm,
    /// Has had no room since then.
    Waiting(Instant),
    /// Waited for in vain; last refused something at that time.
    Slow(Instant),
}

impl Patience {
    /// The destination refused.
    pub fn refused(&mut self, now: Instant) -> Answer {
        match *self {
            Self::Calm => *self = Self::Waiting(now),
            Self::Waiting(since) if now.saturating_since(since) >= PATIENCE => *self = Self::Slow(now),
            Self::Waiting(_) => {}
            Self::Slow(_) => *self = Self::Slow(now),
        }
        if matches!(self, Self::Slow(_)) { Answer::Drop } else { Answer::Wait }
    }

    /// The destination took what it got.
    pub fn accepted(&mut self, now: Instant) {
        match *self {
            Self::Waiting(_) => *self = Self::Calm,
            Self::Slow(last) if now.saturating_since(last) >= RECOVERY => *self = Self::Calm,
            Self::Calm | Self::Slow(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_short_shortage_is_waited_out() {
        let mut peer = Patience::Calm;
        assert_eq!(peer.refused(at(0)), Answer::Wait);
        assert_eq!(peer.refused(at(9)), Answer::Wait);
        peer.accepted(at(9));
        assert_eq!(peer.refused(at(12)), Answer::Wait);
        assert_eq!(peer.refused(at(21)), Answer::Wait);
    }

    #[test]
    fn a_slow_destination_is_not_waited_for_until_it_has_recovered() {
        let mut peer = Patience::Calm;
        assert_eq!(peer.refused(at(0)), Answer::Wait);
        assert_eq!(peer.refused(at(10)), Answer::Drop);
        peer.accepted(at(11));
        assert_eq!(peer.refused(at(12)), Answer::Drop);
        peer.accepted(at(40));
        assert_eq!(peer.refused(at(61)), Answer::Drop);
        peer.accepted(at(111));
        assert_eq!(peer.refused(at(112)), Answer::Wait);
    }
}
