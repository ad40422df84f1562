//! So many of something per second, on integers alone.

use crate::Instant;

/// Lets `per_second` frames through in each second, and as many at once after a quiet second.
///
/// In any time of t seconds no more than `per_second` · (t + 1) get through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    per_second: u32,
    /// In billionths of a frame, so that a nanosecond brings `per_second` of them and nothing is rounded.
    level: u64,
    filled: Instant,
}

/// One frame, and one second.
const BILLION: u64 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u32) -> TokenBucket {
        TokenBucket { per_second, level: TokenBucket::capacity(per_second), filled: Instant::ZERO }
    }

    /// Takes a frame's share, if it is there. A clock that steps back brings nothing.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.as_nanos().saturating_sub(self.filled.as_nanos()).min(BILLION);
        self.filled = self.filled.max(now);
        // At most twice 2^32 · 10^9, which is less than 2^63.
        let level = self.level + elapsed * u64::from(self.per_second);
        self.level = level.min(TokenBucket::capacity(self.per_second));
        match self.level.checked_sub(BILLION) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }

    fn capacity(per_second: u32) -> u64 {
        u64::from(per_second) * BILLION
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_of_quiet_brings_a_second_of_frames() {
        let mut bucket = TokenBucket::new(3);
        let mut passed = |nanos| (0..10).filter(|_| bucket.take(Instant::from_nanos(nanos))).count();
        assert_eq!(passed(0), 3);
        assert_eq!(passed(BILLION / 3), 0);
        assert_eq!(passed(BILLION / 3 + 1), 1);
        assert_eq!(passed(100 * BILLION), 3);
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        assert!(!TokenBucket::new(0).take(Instant::from_nanos(u64::MAX)));
    }

    #[test]
    fn the_largest_limit_at_the_end_of_time_does_not_overflow() {
        let mut bucket = TokenBucket::new(u32::MAX);
        assert!(bucket.take(Instant::ZERO));
        assert!(bucket.take(Instant::from_nanos(u64::MAX)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever asks twice a second, and for all that there is, misses nothing.
        #[test]
        fn the_limit_gets_through_to_the_frame(
            per_second in 2..50u32,
            steps in prop::collection::vec(0..BILLION / 2, 1..200),
        ) {
            let mut bucket = TokenBucket::new(per_second);
            let (mut now, mut passed) = (0, 0);
            for step in [0].into_iter().chain(steps) {
                now += step;
                while bucket.take(Instant::from_nanos(now)) {
                    passed += 1;
                }
                prop_assert_eq!(passed, u64::from(per_second) * (now + BILLION) / BILLION);
            }
        }
    }
}
