//! Every rank pings every other once, and answers until it is stopped, so that the slowest is answered too.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{RoleError, answer::linger, strays};
use crate::loadgen::{
    frame::{Kind, Message},
    script::Target,
    station::{AGAIN, Station},
};

/// Pings all ranks until each has answered or patience ends, publishes, then answers until stopped.
pub fn run(
    station: &mut Station,
    size: usize,
    peers: Option<u32>,
    patience: Duration,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    station.world = peers.or(station.world);
    let mut missing = station.peers(Target::All);
    let mut answered: BTreeMap<u32, u64> = BTreeMap::new();
    let begin = station.now();
    let mut next = begin;
    let mut rounds = 0;
    while !missing.is_empty() && !station.stop.raised() && station.now() < begin + patience {
        if station.now() >= next {
            for &rank in &missing {
                let stamp = station.now().as_nanos() as u64;
                let ping = Message { kind: Kind::Ping, origin: station.me, seq: rounds, stamp };
                station.queue(Target::Rank(rank), size, ping);
            }
            rounds += 1;
            next = station.now() + AGAIN;
        }
        station.attend(Some(next.saturating_sub(station.now())))?;
        let now = station.now().as_nanos() as u64;
        station.receive(|message, _| {
            if message.kind == Kind::Pong && missing.remove(&message.origin) {
                answered.insert(message.origin, now.saturating_sub(message.stamp) / 1000);
            }
        })?;
    }
    publish(json!({
        "answered": answered.len(),
        "missing": missing,
        "rounds": rounds,
        "seconds": (station.now() - begin).as_secs_f64(),
        "slowest_us": answered.values().max(),
        "strays": strays(station),
    }));
    linger(station, None, |_| ())?;
    if missing.is_empty() {
        Ok(())
    } else {
        Err(RoleError::NobodyThere(missing.into_iter().collect(), patience))
    }
}
