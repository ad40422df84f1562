//! The receiving half: counts frames by origin, measures in a window, says when it has enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{NAG, News, OVERTIME};
use crate::loadgen::{
    frame::{Kind, Message},
    script::{Target, Window},
    station::Station,
    tally::Tally,
};

/// Silence after which a receiver that has measured believes that the sender is gone.
const SILENCE: Duration = Duration::from_millis(500);

/// The receiving half of a role.
pub(super) struct Receiver {
    /// The one rank whose frames count.
    from: Option<u32>,
    window: Window,
    /// When to give up waiting for the first frame.
    give_up: Duration,
    tallies: BTreeMap<u32, Tally>,
    byes: BTreeSet<u32>,
    first: Option<Duration>,
    last: Duration,
    begin: Option<Mark>,
    end: Option<Mark>,
    next_nag: Duration,
    /// Whether all was measured and the sender has ended.
    pub(super) done: bool,
}

/// The counters at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    at: Duration,
    frames: u64,
    bytes: u64,
}

impl Receiver {
    /// Counts from the first frame on, which must come before `give_up`.
    pub(super) fn new(from: Option<u32>, window: Window, give_up: Duration) -> Receiver {
        Receiver {
            from,
            window,
            give_up,
            tallies: BTreeMap::new(),
            byes: BTreeSet::new(),
            first: None,
            last: Duration::ZERO,
            begin: None,
            end: None,
            next_nag: Duration::ZERO,
            done: false,
        }
    }

    /// Takes one message.
    #[inline]
    pub(super) fn take(&mut self, now: Duration, message: Message, len: usize, news: &mut News) {
        match message.kind {
            Kind::Data | Kind::Bye if self.from.is_some_and(|from| from != message.origin) => {}
            Kind::Data => {
                self.first.get_or_insert(now);
                self.last = now;
                self.tallies.entry(message.origin).or_default().add(message.seq, len);
            }
            Kind::Bye => {
                self.byes.insert(message.origin);
                self.tallies.entry(message.origin).or_default().close(message.seq);
            }
            _ => news.note(message),
        }
    }

    /// Opens and closes the window, and says enough when it is closed.
    pub(super) fn turn(&mut self, station: &mut Station) {
        let now = station.now();
        let Some(first) = self.first else {
            self.done = now >= self.give_up;
            return;
        };
        let opens = first + self.window.warmup;
        let closes = opens + self.window.seconds;
        if self.begin.is_none() && now >= opens {
            self.begin = Some(self.mark(now));
        }
        let over = !self.tallies.is_empty() && self.tallies.keys().all(|origin| self.byes.contains(origin));
        if self.end.is_none() && (now >= closes || over) {
            self.end = Some(self.mark(if over { self.last } else { now }));
        }
        let Some(end) = self.end else { return };
        self.done |= over || now >= self.last.max(end.at) + SILENCE || now >= end.at + OVERTIME;
        if now >= self.next_nag && !over {
            self.next_nag = now + NAG;
            for origin in self.tallies.keys() {
                station.say(Target::Rank(*origin), Kind::Enough, 0);
            }
        }
    }

    fn mark(&self, at: Duration) -> Mark {
        let sum = |of: fn(&Tally) -> u64| self.tallies.values().map(of).sum();
        Mark { at, frames: sum(|tally| tally.frames), bytes: sum(|tally| tally.bytes) }
    }

    /// Begin and end of what was measured; a run that was shorter than its warm-up counts from its start.
    pub(super) fn measured(&self) -> Option<(Mark, Mark)> {
        let end = self.end?;
        let start = Mark { at: self.first?, frames: 0, bytes: 0 };
        Some((self.begin.filter(|begin| begin.at < end.at).unwrap_or(start), end))
    }

    /// What was counted and measured.
    pub(super) fn result(&self) -> Value {
        let sum = |of: fn(&Tally) -> u64| -> u64 { self.tallies.values().map(of).sum() };
        let mut result = json!({
            "frames": sum(|tally| tally.frames),
            "bytes": sum(|tally| tally.bytes),
            "lost": sum(|tally| tally.lost),
            "doubled": sum(|tally| tally.doubled),
            "late": sum(|tally| tally.late),
            "origins": self.tallies.keys().collect::<Vec<_>>(),
            "byes": self.byes,
        });
        if let Some((begin, end)) = self.measured() {
            let seconds = end.at.saturating_sub(begin.at).as_secs_f64().max(1e-9);
            result["seconds"] = json!(seconds);
            result["frames_per_second"] = json!((end.frames - begin.frames) as f64 / seconds);
            result["bits_per_second"] = json!((end.bytes - begin.bytes) as f64 * 8.0 / seconds);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_frames_of_one_rank_count_where_that_is_said() {
        let window = Window { warmup: Duration::ZERO, seconds: Duration::from_secs(1) };
        let mut receiver = Receiver::new(Some(3), window, Duration::MAX);
        for origin in [2, 3, 4] {
            let data = Message { kind: Kind::Data, origin, seq: 0, stamp: 0 };
            receiver.take(Duration::ZERO, data, 60, &mut News::default());
        }
        let result = receiver.result();
        assert_eq!((&result["frames"], &result["origins"]), (&json!(1), &json!([3])));
    }
}
