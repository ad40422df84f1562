//! Rates, sizes and durations as people write them: `10Gbit/s`, `256KiB`, `1.5ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Bits per second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a text is no quantity of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// No number, a negative one, or one too large.
    #[error("`{text}` is not a {kind}: write it like {example}")]
    Text {
        /// What was given.
        text: String,
        /// What was expected.
        kind: &'static str,
        /// One that is well written.
        example: &'static str,
    },
    /// A rate of nothing.
    #[error("a rate of nothing carries nothing: partition the ranks instead")]
    NoRate,
}

const RATES: &[(&str, f64)] =
    &[("Tbit/s", 1e12), ("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3), ("bit/s", 1.0)];
const SIZES: &[(&str, f64)] = &[
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("KiB", 1024.0),
    ("GB", 1e9),
    ("MB", 1e6),
    ("kB", 1e3),
    ("B", 1.0),
];
/// In nanoseconds. `s` comes after those that end in it.
const DURATIONS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("min", 6e10), ("h", 3.6e12), ("s", 1e9)];

impl BitRate {
    /// This many Gbit/s, at least one.
    pub const fn gbps(gbps: u32) -> BitRate {
        assert!(gbps > 0, "a rate of nothing carries nothing");
        BitRate(gbps as u64 * 1_000_000_000)
    }

    /// This many Mbit/s, at least one.
    pub const fn mbps(mbps: u32) -> BitRate {
        assert!(mbps > 0, "a rate of nothing carries nothing");
        BitRate(mbps as u64 * 1_000_000)
    }

    /// This many bits per second.
    pub const fn bps(bps: u64) -> Result<BitRate, UnitError> {
        if bps == 0 { Err(UnitError::NoRate) } else { Ok(BitRate(bps)) }
    }

    /// Bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// How long this many bytes take, rounded up to a nanosecond.
    pub fn time_for(self, bytes: usize) -> Duration {
        let nanos = (bytes as u128 * 8 * NANOS_PER_SECOND).div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many bytes take this long, rounded up.
    pub fn bytes_in(self, duration: Duration) -> u64 {
        let bytes = (duration.as_nanos() * u128::from(self.0)).div_ceil(8 * NANOS_PER_SECOND);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

impl ByteSize {
    /// This many bytes.
    pub const fn new(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for BitRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<BitRate, UnitError> {
        let bps = quantity(text, RATES, "rate", "10Gbit/s or 56kbit/s")?;
        BitRate::bps(bps)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ByteSize, UnitError> {
        Ok(ByteSize(quantity(text, SIZES, "size", "256KiB or 1500B")?))
    }
}

/// Reads a duration: a number with a unit from `ns` to `h`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let nanos = quantity(text, DURATIONS, "duration", "10ms, 1.5s or 250us")?;
    Ok(Duration::from_nanos(nanos))
}

/// Writes a duration so that [`parse_duration`] reads the same: in the largest unit that needs no fraction.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    match units.iter().find(|(unit, _)| nanos.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

/// A number with one of these units, as a whole number of the smallest.
fn quantity(
    text: &str,
    units: &[(&str, f64)],
    kind: &'static str,
    example: &'static str,
) -> Result<u64, UnitError> {
    let error = || UnitError::Text { text: text.to_owned(), kind, example };
    let trimmed = text.trim();
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((trimmed.strip_suffix(name)?.trim_end(), unit)))
        .ok_or_else(error)?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = number.parse::<f64>().ok().filter(|_| plain).ok_or_else(error)?;
    let whole = (value * unit).round();
    if whole < u64::MAX as f64 { Ok(whole as u64) } else { Err(error()) }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, self.0, RATES)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, self.0, SIZES)
    }
}

/// Writes a number in the first unit that needs no fraction.
fn write_in(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, f64)]) -> fmt::Result {
    let fits = |unit: &f64| number >= *unit as u64 && number.is_multiple_of(*unit as u64);
    let (name, unit) = units.iter().find(|(_, unit)| fits(unit)).unwrap_or(&units[units.len() - 1]);
    write!(f, "{}{name}", number / *unit as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_their_units() {
        assert_eq!("10Gbit/s".parse(), Ok(BitRate::gbps(10)));
        assert_eq!("1.5 Mbit/s".parse(), BitRate::bps(1_500_000));
        assert_eq!("256KiB".parse(), Ok(ByteSize::new(262_144)));
        assert_eq!("0B".parse(), Ok(ByteSize::new(0)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("2min"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example() {
        for text in ["", "10", "-5ms", "ms", "1e3ms", "inf s", "5 parsecs", "99999999999999h"] {
            let message = parse_duration(text).unwrap_err().to_string();
            assert!(message.contains("write it like 10ms"), "{text}: {message}");
        }
        assert_eq!("0bit/s".parse::<BitRate>(), Err(UnitError::NoRate));
    }

    #[test]
    fn quantities_are_written_as_they_are_read() {
        for text in ["10Gbit/s", "1500kbit/s", "1bit/s"] {
            assert_eq!(text.parse::<BitRate>().unwrap().to_string(), text);
        }
        for text in ["256KiB", "1500B", "0B", "625kB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["1500us", "2s", "1ns", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn a_rate_takes_its_time() {
        assert_eq!(BitRate::mbps(8).time_for(1000), Duration::from_millis(1));
        assert_eq!(BitRate::mbps(8).bytes_in(Duration::from_millis(1)), 1000);
        assert_eq!(BitRate::gbps(10).time_for(1), Duration::from_nanos(1));
    }
}
