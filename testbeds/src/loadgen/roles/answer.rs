//! Answering only, or not even that.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RoleError, strays, until_closed};
use crate::loadgen::station::Station;

/// Answers hellos and pings until the time is over, or stop, or the link's end.
pub fn answer(
    station: &mut Station,
    seconds: Option<Duration>,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    let mut frames = 0;
    let result = linger(station, seconds, |count| frames += count);
    publish(json!({"frames": frames, "strays": strays(station)}));
    result
}

/// [`answer`] without a result of its own: what other roles do when they are done.
pub fn linger(
    station: &mut Station,
    seconds: Option<Duration>,
    mut count: impl FnMut(u64),
) -> Result<(), RoleError> {
    let end = seconds.map(|seconds| station.now() + seconds);
    while !station.stop.raised() {
        let left = end.map(|end| end.saturating_sub(station.now()));
        if left == Some(Duration::ZERO) || !until_closed(station.attend(left))? {
            break;
        }
        let mut frames = 0;
        let read = station.receive(|_, _| frames += 1).map(|_| ());
        count(frames);
        if !until_closed(read)? {
            break;
        }
    }
    Ok(())
}

/// Reads nothing, so that the link fills up, until the time is over or stop.
pub fn stay_deaf(
    station: &mut Station,
    seconds: Option<Duration>,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    let end = seconds.map(|seconds| station.now() + seconds);
    while !station.stop.raised() {
        let left = end.map(|end| end.saturating_sub(station.now()));
        if left == Some(Duration::ZERO) {
            break;
        }
        station.link.rest(&station.stop, left)?;
    }
    publish(json!({}));
    Ok(())
}
