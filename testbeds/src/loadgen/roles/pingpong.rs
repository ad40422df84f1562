//! Round trips: one ping at a time, back to back or after a silence.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RoleError, strays};
use crate::loadgen::{
    frame::{Kind, Message},
    link::LinkError,
    script::{Target, Window},
    station::Station,
};

/// After so long, an answer is lost.
const LOST: Duration = Duration::from_millis(500);

/// What to ping, and how.
#[derive(Debug, Clone, Copy)]
pub struct Ping {
    /// Whom.
    pub to: u32,
    /// Bytes of a ping.
    pub size: usize,
    /// Silence between an answer and the next ping.
    pub gap: Duration,
    /// When to measure.
    pub window: Window,
}

/// Meets the peer, pings it until the window is over, publishes.
pub fn run(
    station: &mut Station,
    ping: Ping,
    patience: Duration,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    let missing = station.meet(Target::Rank(ping.to), patience, |_, _, _| ())?;
    if !missing.is_empty() {
        return Err(RoleError::NobodyThere(missing.into_iter().collect(), patience));
    }
    let opens = station.now() + ping.window.warmup;
    let closes = opens + ping.window.seconds;
    let mut trips = Vec::new();
    let (mut seq, mut lost) = (0, 0_u64);
    while station.now() < closes && !station.stop.raised() {
        seq += 1;
        let trip = round_trip(station, ping, seq)?;
        if station.now() >= opens {
            match trip {
                Some(trip) => trips.push(trip),
                None => lost += 1,
            }
        }
        if !ping.gap.is_zero() {
            be_silent(station, ping.gap)?;
        }
    }
    trips.sort_unstable();
    publish(json!({
        "pings": trips.len() as u64 + lost,
        "lost": lost,
        "size": ping.size,
        "gap_us": ping.gap.as_micros() as u64,
        "min_us": at(&trips, 0.0),
        "p50_us": at(&trips, 0.5),
        "p90_us": at(&trips, 0.9),
        "p99_us": at(&trips, 0.99),
        "p999_us": at(&trips, 0.999),
        "max_us": at(&trips, 1.0),
        "strays": strays(station),
    }));
    Ok(())
}

/// One ping; `None` when no answer came.
fn round_trip(station: &mut Station, ping: Ping, seq: u64) -> Result<Option<Duration>, LinkError> {
    let begin = station.now();
    let message = Message { kind: Kind::Ping, origin: station.me, seq, stamp: begin.as_nanos() as u64 };
    station.queue(Target::Rank(ping.to), ping.size, message);
    let mut answered = false;
    while !answered {
        let left = (begin + LOST).saturating_sub(station.now());
        if left.is_zero() || station.stop.raised() {
            return Ok(None);
        }
        station.attend(Some(left))?;
        station.receive(|reply, _| answered |= reply.kind == Kind::Pong && reply.seq == seq)?;
    }
    Ok(Some(station.now() - begin))
}

fn be_silent(station: &mut Station, gap: Duration) -> Result<(), LinkError> {
    let end = station.now() + gap;
    loop {
        let left = end.saturating_sub(station.now());
        if left.is_zero() || station.stop.raised() {
            return Ok(());
        }
        station.attend(Some(left))?;
        station.receive(|_, _| ())?;
    }
}

/// The value below which a part of the sorted times lies, µs.
fn at(sorted: &[Duration], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some(sorted[(last as f64 * part).round() as usize].as_nanos() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=101).map(Duration::from_micros).collect();
        assert_eq!(at(&times, 0.0), Some(1.0));
        assert_eq!(at(&times, 0.5), Some(51.0));
        assert_eq!(at(&times, 0.99), Some(100.0));
        assert_eq!(at(&times, 1.0), Some(101.0));
        assert_eq!(at(&[], 0.5), None);
    }
}
