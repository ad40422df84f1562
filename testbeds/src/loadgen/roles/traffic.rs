//! Load: sending it, counting it, or both at once. The receiver measures, between the end of the warm-up and the
//! end of the window, and then tells the sender that it has enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{RoleError, strays};
use crate::loadgen::{
    burst::Burst,
    frame::{Kind, Message, rank_mac},
    link::{LinkError, Sent},
    script::{Blast, Target, Window},
    station::Station,
    tally::Tally,
};

/// How much longer than its window a sender goes on when nobody says enough.
const OVERTIME: Duration = Duration::from_secs(5);
/// Silence after which a receiver that has measured believes that the sender is gone.
const SILENCE: Duration = Duration::from_millis(500);
/// How often a receiver that has measured says so.
const NAG: Duration = Duration::from_millis(50);
/// How often a sender says that it has sent all.
const BYES: u32 = 3;

/// Meets the peers, sends and counts as told, publishes.
pub fn run(
    station: &mut Station,
    send: Option<&Blast>,
    receive: bool,
    window: Window,
    patience: Duration,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    let mut receiver = receive.then(|| Receiver::new(window, station.now() + patience));
    let mut news = News::default();
    if let Some(blast) = send {
        let missing = station.meet(blast.to, patience, |now, message, len| match &mut receiver {
            Some(receiver) => receiver.take(now, message, len, &mut news),
            None => news.note(message),
        })?;
        if !missing.is_empty() {
            return Err(RoleError::NobodyThere(missing.into_iter().collect(), patience));
        }
    }
    let mut sender = send.map(|blast| Sender::new(station, blast, window));
    let end = go(station, sender.as_mut(), receiver.as_mut());
    let closed = match end {
        Ok(()) => false,
        Err(LinkError::Closed) => true,
        Err(error) => return Err(error.into()),
    };
    let mut result = json!({"closed": closed, "strays": strays(station)});
    if let Some(sender) = &sender {
        result["sent"] = sender.result();
    }
    if let Some(receiver) = &receiver {
        result["received"] = receiver.result();
    }
    publish(result);
    match &receiver {
        Some(receiver) if receiver.measured().is_none() => Err(RoleError::Stopped),
        _ => Ok(()),
    }
}

fn go(
    station: &mut Station,
    mut sender: Option<&mut Sender>,
    mut receiver: Option<&mut Receiver>,
) -> Result<(), LinkError> {
    loop {
        let mut news = News::default();
        let came = match &mut receiver {
            Some(receiver) => {
                let now = station.now();
                let came = station.receive(|message, len| receiver.take(now, message, len, &mut news))?;
                receiver.turn(station);
                came
            }
            None => station.receive(|message, _| news.note(message))?,
        };
        let mut sent = Pace::Idle;
        if let Some(sender) = &mut sender {
            sender.hear(&news, station.now());
            sent = sender.turn(station)?;
        }
        let sender_done = sender.as_ref().is_none_or(|sender| sender.done());
        if station.stop.raised() || (sender_done && receiver.as_ref().is_none_or(|receiver| receiver.done)) {
            station.link.flush()?;
            return Ok(());
        }
        match sent {
            Pace::Sent => {}
            _ if came > 0 => {
                if sent == Pace::Idle {
                    station.link.flush()?;
                }
            }
            Pace::NoRoom => station.link.wait(&station.stop, true, Some(NAG))?,
            Pace::Later(wait) => station.link.wait(&station.stop, false, Some(wait.min(NAG)))?,
            Pace::Idle => station.attend(Some(NAG))?,
        }
    }
}

/// What the peers said about a sender's load.
#[derive(Debug, Default)]
struct News {
    enough: Vec<u32>,
}

impl News {
    fn note(&mut self, message: Message) {
        if message.kind == Kind::Enough {
            self.enough.push(message.origin);
        }
    }
}

/// What a turn of the sender came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Frames went.
    Sent,
    /// The link is full.
    NoRoom,
    /// The rate allows more only then.
    Later(Duration),
    /// Nothing to do.
    Idle,
}

struct Sender {
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
    fn new(station: &Station, blast: &Blast, window: Window) -> Sender {
        let to = match blast.to {
            Target::Rank(rank) => rank_mac(rank),
            Target::All => crate::loadgen::frame::BROADCAST,
        };
        let begin = station.now();
        Sender {
            to: blast.to,
            burst: Burst::new(blast.burst, blast.size, to, station.me),
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

    fn hear(&mut self, news: &News, now: Duration) {
        for rank in &news.enough {
            self.waiting_for.remove(rank);
        }
        let counted = self.count.is_some_and(|count| self.loaded >= count);
        let enough = self.count.is_none() && (self.waiting_for.is_empty() || now >= self.latest);
        if self.end.is_none() && (counted || enough) {
            self.end = Some(now);
        }
    }

    fn done(&self) -> bool {
        self.byes >= BYES
    }

    /// Sends a few bursts at most, so that what comes in is looked at in between.
    fn turn(&mut self, station: &mut Station) -> Result<Pace, LinkError> {
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

    fn result(&self) -> Value {
        let seconds = self.end.map(|end| end.saturating_sub(self.begin).as_secs_f64());
        json!({"frames": self.loaded, "size": self.size, "seconds": seconds, "unheard": self.waiting_for})
    }
}

struct Receiver {
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
    done: bool,
}

/// The counters at a moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Duration,
    frames: u64,
    bytes: u64,
}

impl Receiver {
    fn new(window: Window, give_up: Duration) -> Receiver {
        Receiver {
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

    #[inline]
    fn take(&mut self, now: Duration, message: Message, len: usize, news: &mut News) {
        match message.kind {
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
    fn turn(&mut self, station: &mut Station) {
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
    fn measured(&self) -> Option<(Mark, Mark)> {
        let end = self.end?;
        let start = Mark { at: self.first?, frames: 0, bytes: 0 };
        Some((self.begin.filter(|begin| begin.at < end.at).unwrap_or(start), end))
    }

    fn result(&self) -> Value {
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

