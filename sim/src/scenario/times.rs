//! The shortest, the mean and the longest of many times.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The shortest, mean and longest of some times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// The shortest.
    #[serde(rename = "min_ns", serialize_with = "nanos")]
    pub min: Duration,
    /// Their mean.
    #[serde(rename = "avg_ns", serialize_with = "nanos")]
    pub avg: Duration,
    /// The longest.
    #[serde(rename = "max_ns", serialize_with = "nanos")]
    pub max: Duration,
}

/// Times as they come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    count: u64,
    sum: u128,
    min: Duration,
    max: Duration,
}

impl Spread {
    pub(super) fn add(&mut self, time: Duration) {
        self.min = if self.count == 0 { time } else { self.min.min(time) };
        self.max = self.max.max(time);
        self.count += 1;
        self.sum += time.as_nanos();
    }

    pub(super) fn times(&self) -> Option<Times> {
        let avg = u64::try_from(self.sum.checked_div(u128::from(self.count))?).unwrap_or(u64::MAX);
        Some(Times { min: self.min, avg: Duration::from_nanos(avg), max: self.max })
    }
}

/// Writes a duration as a number of nanoseconds.
pub(super) fn nanos<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
