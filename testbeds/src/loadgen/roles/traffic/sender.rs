//! The sending half: bursts until the receivers have enough, or all is sent.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{NAG, News, OVERTIME};
use crate::loadgen::{
    burst::Burst,
    frame::{BROADCAST, Kind, rank_mac},
    link::{LinkError, Sent},
    script::{Blast, Target, Window},
    station::Station,
};

/// How often a sender says that it has sent all.
const BYES: u32 = 3;

/// What a turn of the sender came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Frames went.
    Sent,
    /// The link is full.
    NoRoom,
    /// The rate allows more only then.
    Later(Duration),
    /// Nothing to do.
    Idle,
}

/// The sending half of a role.
pub(super) struct Sender {
    to: Target,
    burst: Burst,
    size: usize,
    rate: Option<u64>,
    count: Option<u64>,
    me: u32,
    /// Numbers given out.
    loaded: u64,
    begin: Duration,
    end: Option<Duration>,
    latest: Duration,
    waiting_for: BTreeSet<u32>,
    byes: u32,
    next_bye: Duration,
}

impl Sender {
    /// Sends as told, from now on.
    pub(super) fn new(station: &Station, blast: &Blast, window: Window) -> Sender {
        let burst = match (blast.to, blast.segment) {
            (Target::Rank(rank), Some(segment)) => {
                Burst::segmented(blast.burst, blast.size, rank, station.me, segment)
            }
            (Target::Rank(rank), None) => Burst::new(blast.burst, blast.size, rank_mac(rank), station.me),
            (Target::All, _) => Burst::new(blast.burst, blast.size, BROADCAST, station.me),
        };
        let begin = station.now();
        Sender {
            to: blast.to,
            burst,
            size: blast.size,
            rate: blast.rate,
            count: blast.count,
            me: station.me,
            loaded: 0,
            begin,
            end: None,
            latest: begin + window.warmup + window.seconds + OVERTIME,
            waiting_for: station.peers(blast.to),
            byes: 0,
            next_bye: Duration::ZERO,
        }
    }

    /// Takes note of what the peers said, and of the time.
    pub(super) fn hear(&mut self, news: &News, now: Duration) {
        for rank in &news.enough {
            self.waiting_for.remove(rank);
        }
        let counted = self.count.is_some_and(|count| self.loaded >= count);
        let enough = self.count.is_none() && (self.waiting_for.is_empty() || now >= self.latest);
        if self.end.is_none() && (counted || enough) {
            self.end = Some(now);
        }
    }

    /// Whether all was sent and said.
    pub(super) fn done(&self) -> bool {
        self.byes >= BYES
    }

    /// Sends a few bursts at most, so that what comes in is looked at in between.
    pub(super) fn turn(&mut self, station: &mut Station) -> Result<Pace, LinkError> {
        for _ in 0..4 {
            if !self.burst.gone() {
                if station.link.push(&mut self.burst)? == Sent::NoRoom {
                    return Ok(Pace::NoRoom);
                }
                continue;
            }
            if station.link.flush()? == Sent::NoRoom {
                return Ok(Pace::NoRoom);
            }
            if self.end.is_some() {
                return Ok(self.say_bye(station));
            }
            let frames = match self.allowance(station.now()) {
                Ok(0) => return Ok(Pace::Sent),
                Ok(frames) => frames,
                Err(wait) => return Ok(Pace::Later(wait)),
            };
            self.burst.load(frames, self.me, self.loaded);
            self.loaded += frames as u64;
        }
        Ok(Pace::Sent)
    }

    /// How many frames may go now, or how long to wait.
    fn allowance(&self, now: Duration) -> Result<usize, Duration> {
        let mut frames = self.burst.capacity() as u64;
        if let Some(count) = self.count {
            frames = frames.min(count.saturating_sub(self.loaded));
        }
        if let Some(rate) = self.rate {
            let due = (now.saturating_sub(self.begin).as_secs_f64() * rate as f64) as u64 + 1;
            if due <= self.loaded {
                let at = Duration::from_secs_f64(self.loaded as f64 / rate as f64);
                return Err((self.begin + at).saturating_sub(now).max(Duration::from_micros(1)));
            }
            frames = frames.min(due - self.loaded);
        }
        Ok(frames as usize)
    }

    fn say_bye(&mut self, station: &mut Station) -> Pace {
        let now = station.now();
        if now >= self.next_bye && !self.done() {
            station.say(self.to, Kind::Bye, self.loaded);
            self.byes += 1;
            self.next_bye = now + NAG;
            return Pace::Idle;
        }
        if self.done() { Pace::Idle } else { Pace::Later(self.next_bye.saturating_sub(now)) }
    }

    /// What was sent.
    pub(super) fn result(&self) -> Value {
        let seconds = self.end.map(|end| end.saturating_sub(self.begin).as_secs_f64());
        json!({"frames": self.loaded, "size": self.size, "seconds": seconds, "unheard": self.waiting_for})
    }
}
