//! The wall clock, read in one place: the switch's time is nanoseconds since the clock was made, a
//! capture's time is nanoseconds since 1970.

use mvpnet_switch::Instant;

/// A monotonic clock with a known wall-clock origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
    /// Nanoseconds from 1970-01-01 00:00:00 UTC to `origin`.
    unix_origin_ns: u64,
}

impl Clock {
    /// A clock that reads zero now.
    #[allow(clippy::disallowed_methods, reason = "this is where the real time enters")]
    pub fn start() -> Self {
        let since_1970 =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: std::time::Instant::now(),
            unix_origin_ns: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// The time now.
    #[inline]
    #[allow(clippy::disallowed_methods, reason = "this is where the real time enters")]
    pub fn now(&self) -> Instant {
        let elapsed = std::time::Instant::now().duration_since(self.origin);
        Instant::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// `now` as nanoseconds since 1970, for captures.
    #[inline]
    pub fn unix_ns(&self, now: Instant) -> u64 {
        self.unix_origin_ns.saturating_add(now.as_nanos())
    }
}
