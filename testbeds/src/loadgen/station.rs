//! A generator at its link: it answers hellos and pings by itself, meets its peers, and hands the rest to its role.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    frame::{self, BROADCAST, Kind, MIN_FRAME, Message, Reading},
    link::{Link, LinkError, Sent},
    script::Target,
    stop::Stop,
};

/// How often to say something again that may have been lost.
pub const AGAIN: Duration = Duration::from_millis(200);

/// Frames that no role counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Strays {
    /// Frames of a generator whose check or length is wrong.
    pub corrupt: u64,
    /// Frames of somebody else: the switch's, for example.
    pub foreign: u64,
    /// Frames of a generator for another rank, which the switch should have kept.
    pub astray: u64,
}

/// A generator at its link.
#[derive(Debug)]
pub struct Station {
    /// The link.
    pub link: Link,
    /// Which rank this is.
    pub me: u32,
    /// How many ranks there are, where that is known.
    pub world: Option<u32>,
    /// When to end.
    pub stop: Stop,
    /// Frames that no role counts.
    pub strays: Strays,
    /// Whether the filling of frames is compared.
    pub check_all: bool,
    start: Instant,
    answers: Vec<(Message, usize)>,
    scratch: Vec<u8>,
}

impl Station {
    /// At this link, as this rank.
    pub fn new(link: Link, me: u32, world: Option<u32>, stop: Stop) -> Station {
        Station {
            link,
            me,
            world,
            stop,
            strays: Strays::default(),
            check_all: false,
            start: clock(),
            answers: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Time since this station began.
    pub fn now(&self) -> Duration {
        clock().duration_since(self.start)
    }

    /// Reads once. Hellos and pings are answered; every other message of a generator goes to `each` with its
    /// frame's length. Returns how many frames came.
    pub fn receive(&mut self, mut each: impl FnMut(Message, usize)) -> Result<usize, LinkError> {
        let (strays, answers, all) = (&mut self.strays, &mut self.answers, self.check_all);
        let own = frame::rank_mac(self.me);
        let count = self.link.receive(|bytes| match frame::read(bytes, all) {
            Reading::Whole(_) if bytes[..6] != own && bytes[..6] != BROADCAST => strays.astray += 1,
            Reading::Whole(message) => match message.kind {
                Kind::Hello | Kind::Ping => answers.push((message, bytes.len())),
                _ => each(message, bytes.len()),
            },
            Reading::Damaged => strays.corrupt += 1,
            Reading::Foreign => strays.foreign += 1,
        })?;
        for at in 0..self.answers.len() {
            let (message, len) = self.answers[at];
            let kind = if message.kind == Kind::Ping { Kind::Pong } else { Kind::HelloAck };
            self.queue(Target::Rank(message.origin), len, Message { kind, origin: self.me, ..message });
        }
        self.answers.clear();
        Ok(count)
    }

    /// Lets a message wait for the next flush of the link.
    pub fn queue(&mut self, to: Target, len: usize, message: Message) {
        self.scratch.resize(len, 0);
        frame::write(&mut self.scratch, address(to), frame::rank_mac(self.me), message);
        self.link.queue(&self.scratch);
    }

    /// Sends a short message, as soon as there is room.
    pub fn say(&mut self, to: Target, kind: Kind, seq: u64) {
        self.queue(to, MIN_FRAME, Message { kind, origin: self.me, seq, stamp: 0 });
    }

    /// Sends what waits; then waits for something to read, or the time, or stop.
    pub fn attend(&mut self, at_most: Option<Duration>) -> Result<(), LinkError> {
        let room = self.link.flush()? == Sent::NoRoom;
        self.link.wait(&self.stop, room, at_most)
    }

    /// The ranks that a target means.
    pub fn peers(&self, target: Target) -> BTreeSet<u32> {
        match target {
            Target::Rank(rank) => BTreeSet::from([rank]),
            Target::All => (0..self.world.unwrap_or(2)).filter(|&rank| rank != self.me).collect(),
        }
    }

    /// Says hello until all of `target` have answered. Returns who has not when patience or the job ended. What
    /// else comes in the meantime goes to `each`: a peer that was faster has begun already.
    pub fn meet(
        &mut self,
        target: Target,
        patience: Duration,
        mut each: impl FnMut(Duration, Message, usize),
    ) -> Result<BTreeSet<u32>, LinkError> {
        let mut missing = self.peers(target);
        let begin = self.now();
        let mut next = begin;
        while !missing.is_empty() && !self.stop.raised() && self.now() < begin + patience {
            if self.now() >= next {
                self.say(target, Kind::Hello, 0);
                next = self.now() + AGAIN;
            }
            self.attend(Some(next.saturating_sub(self.now())))?;
            let now = self.now();
            self.receive(|message, len| {
                if message.kind == Kind::HelloAck {
                    missing.remove(&message.origin);
                } else {
                    each(now, message, len);
                }
            })?;
        }
        Ok(missing)
    }
}

fn address(to: Target) -> [u8; 6] {
    match to {
        Target::Rank(rank) => frame::rank_mac(rank),
        Target::All => BROADCAST,
    }
}

#[allow(clippy::disallowed_methods, reason = "a generator is a program of its own, with a wall clock")]
fn clock() -> Instant {
    Instant::now()
}
