//! The script that tells each rank's generator what to do: `MVPNET_LOADGEN`.
//!
//! ```text
//! script = clause *( ";" clause )
//! clause = [ ranks ":" ] mode *( "," key "=" value )
//! ranks  = "*" | item *( "," item )       item = N | N "-" M
//! ```
//!
//! A later clause overrides an earlier one for the ranks that it names; a rank that none names is `idle`.
//! Times are seconds, or carry a unit: `2`, `0.3`, `2ms`, `500us`.
//!
//! | mode | keys (default) |
//! | --- | --- |
//! | `idle`, `echo` | `seconds` (until stopped). Both answer hellos and pings, as every mode does that reads |
//! | `deaf` | `seconds` (until stopped). Reads nothing |
//! | `blast` | `to` (rank or `all`), `size` (1514), `seconds` (2), `warmup` (0.3), `burst` (64 frames per system call, within 64 KiB), `count`, `rate` (frames/s), `patience` (30), `segment` (bytes: frames are TCP packets that the receiver is to cut into segments of that length; vhost-user only) |
//! | `sink` | `seconds` (2), `warmup` (0.3), `patience` (30), `check` (`head` or `all`), `from` (counts only that rank's frames) |
//! | `duplex` | those of `blast` and `sink`: sends and counts at once |
//! | `pingpong` | `to`, `size` (64), `gap` (0), `seconds` (2), `warmup` (0.3), `patience` (30) |
//! | `allping` | `size` (64), `patience` (30), `peers` (world size) |
//! | `garbage-KIND` | `to`, `count` (1000), `rate`, `length`, `bytes`, `size`, `seed`, `seconds`, `patience` (30); see [`Garbage`] |
//!
//! `blast`, `sink`, `duplex` and `pingpong` also have `then`: `off` ends the generator when it has measured, as a
//! guest that switches itself off; `stay` goes on answering. The default is `stay` for a generator that has a
//! monitor, so that its job ends when its driver says so, and `off` without.

mod clause;

use std::time::Duration;

use thiserror::Error;

use self::clause::parse_clause;

/// Whom to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One rank.
    Rank(u32),
    /// All others, by broadcast.
    All,
}

/// When to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Not measured, counted from the first frame.
    pub warmup: Duration,
    /// Measured after that.
    pub seconds: Duration,
}

/// Sending load.
#[derive(Debug, Clone, PartialEq)]
pub struct Blast {
    /// Whom to send to.
    pub to: Target,
    /// Bytes of each frame.
    pub size: usize,
    /// At most so many frames per system call.
    pub burst: usize,
    /// End after so many frames instead of when the receiver has measured.
    pub count: Option<u64>,
    /// At most so many frames per second.
    pub rate: Option<u64>,
    /// Frames are TCP packets to be cut into segments of so many bytes by who receives them.
    pub segment: Option<u16>,
}

/// Counting load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sink {
    /// Whether to compare the filling of each frame.
    pub check_all: bool,
    /// The one rank whose frames count.
    pub from: Option<u32>,
}

/// Ways to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// Wrong lengths: `length` is declared and `bytes` follow. Without `length`, a list of nasty ones in turn. On
    /// dgram, datagrams of these lengths as far as the socket carries them.
    Lengths,
    /// Frames of 0 to 13 bytes, in turn (`size`: of that size only).
    Runts,
    /// Frames of 64 KiB (`size`) that are sound otherwise.
    Huge,
    /// Broadcast frames of `size` bytes.
    Broadcast,
    /// Frames to ranks outside the job.
    Absent,
    /// Frames whose source is another rank's, an absent rank's, broadcast, multicast, zero, or the destination's.
    Forged,
    /// Random bytes in place of frames, from `seed`; on stream even the lengths are random.
    Noise,
    /// Half a frame, then silence.
    Half,
    /// Half a frame, then the link is closed.
    Cut,
}

impl Garbage {
    const NAMES: [(&'static str, Garbage); 9] = [
        ("garbage-lengths", Garbage::Lengths),
        ("garbage-runts", Garbage::Runts),
        ("garbage-huge", Garbage::Huge),
        ("garbage-broadcast", Garbage::Broadcast),
        ("garbage-absent", Garbage::Absent),
        ("garbage-forged", Garbage::Forged),
        ("garbage-noise", Garbage::Noise),
        ("garbage-half", Garbage::Half),
        ("garbage-cut", Garbage::Cut),
    ];

    /// The mode's name.
    pub fn name(self) -> &'static str {
        Garbage::NAMES.iter().find(|(_, kind)| *kind == self).map_or("garbage", |(name, _)| name)
    }
}

/// How to misbehave.
#[derive(Debug, Clone, PartialEq)]
pub struct Misdeeds {
    /// In which way.
    pub kind: Garbage,
    /// Whom the frames are for, where they are for anybody; it is pinged before and after.
    pub to: Option<u32>,
    /// How many.
    pub count: u64,
    /// At most so many per second.
    pub rate: Option<u64>,
    /// The length to declare.
    pub length: Option<u32>,
    /// How many bytes to let follow it.
    pub bytes: Option<usize>,
    /// Bytes of a frame.
    pub size: Option<usize>,
    /// Where random numbers start.
    pub seed: u64,
    /// How long to stay afterwards; without it, until stopped.
    pub seconds: Option<Duration>,
}

/// What one rank's generator does.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Answers, for so long.
    Answer {
        /// Without it, until stopped.
        seconds: Option<Duration>,
    },
    /// Reads nothing, for so long.
    Deaf {
        /// Without it, until stopped.
        seconds: Option<Duration>,
    },
    /// Sends load, counts load, or both.
    Traffic {
        /// What to send.
        send: Option<Blast>,
        /// What to count.
        receive: Option<Sink>,
        /// When to measure.
        window: Window,
    },
    /// Measures round trips.
    PingPong {
        /// To whom.
        to: u32,
        /// Bytes of a ping.
        size: usize,
        /// Silence between an answer and the next ping.
        gap: Duration,
        /// When to measure.
        window: Window,
    },
    /// Pings all ranks once, answers theirs.
    AllPing {
        /// Bytes of a ping.
        size: usize,
        /// How many ranks there are, if not all.
        peers: Option<u32>,
    },
    /// Misbehaves.
    Garbage(Misdeeds),
}

/// One rank's part of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// The mode as it was written.
    pub mode: String,
    /// What to do.
    pub job: Job,
    /// How long to wait for the peers.
    pub patience: Duration,
    /// Whether to go on answering after a measurement, if that is said.
    pub stay: Option<bool>,
}

/// Why a script cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ScriptError {
    #[error("{0:?} is no list of ranks")]
    Ranks(String),
    #[error("no mode {0:?}; there are idle, echo, deaf, blast, sink, duplex, pingpong, allping and {names}", names = garbage_names())]
    Mode(String),
    #[error("{mode} has no key {key:?}")]
    Key { mode: String, key: String },
    #[error("{mode} needs {key}=")]
    Missing { mode: String, key: &'static str },
    #[error("{key}={value} is not {expected}")]
    Value { key: &'static str, value: String, expected: &'static str },
}

fn garbage_names() -> String {
    Garbage::NAMES.map(|(name, _)| name).join(", ")
}

/// The role of `rank` in `script`.
pub fn role_of(script: &str, rank: u32) -> Result<Role, ScriptError> {
    let mut role = parse_clause("idle")?;
    for clause in script.split(';').map(str::trim).filter(|clause| !clause.is_empty()) {
        let (ranks, rest) = clause.split_once(':').unwrap_or(("*", clause));
        let parsed = parse_clause(rest)?;
        if names_rank(ranks, rank)? {
            role = parsed;
        }
    }
    Ok(role)
}

fn names_rank(ranks: &str, rank: u32) -> Result<bool, ScriptError> {
    let bad = || ScriptError::Ranks(ranks.to_owned());
    let mut named = false;
    for item in ranks.split(',').map(str::trim) {
        let (first, last) = match item.split_once('-') {
            _ if item == "*" => (0, u32::MAX),
            Some((first, last)) => {
                (first.parse().map_err(|_| bad())?, last.parse::<u32>().map_err(|_| bad())?)
            }
            None => {
                let only = item.parse().map_err(|_| bad())?;
                (only, only)
            }
        };
        named |= (first..=last).contains(&rank);
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_finds_its_own_clause() {
        let script = "0:blast,to=1,size=60,seconds=3;1-3,7:sink,seconds=3; 7:echo";
        let Job::Traffic { send: Some(blast), receive: None, window } = role_of(script, 0).unwrap().job
        else {
            panic!("rank 0 blasts")
        };
        assert_eq!((blast.to, blast.size), (Target::Rank(1), 60));
        assert_eq!(window.seconds, Duration::from_secs(3));
        assert_eq!(role_of(script, 3).unwrap().mode, "sink");
        assert_eq!(role_of(script, 7).unwrap().mode, "echo");
        assert_eq!(role_of(script, 4).unwrap().mode, "idle");
    }

    #[test]
    fn a_clause_without_ranks_is_everybody_s() {
        assert_eq!(role_of("allping", 31).unwrap().mode, "allping");
        assert_eq!(role_of("*:deaf", 31).unwrap().mode, "deaf");
        assert_eq!(role_of("", 0).unwrap().mode, "idle");
    }

    #[test]
    fn what_comes_after_a_measurement_can_be_told() {
        let stay = |script| role_of(script, 0).unwrap().stay;
        assert_eq!(stay("sink"), None);
        assert_eq!((stay("sink,then=stay"), stay("pingpong,to=1,then=off")), (Some(true), Some(false)));
    }

    #[test]
    fn times_have_units() {
        for (text, micros) in [("2ms", 2000), ("500us", 500), ("0.25", 250_000), ("3s", 3_000_000)] {
            let Job::PingPong { gap, .. } = role_of(&format!("pingpong,to=1,gap={text}"), 0).unwrap().job
            else {
                panic!("a ping-pong")
            };
            assert_eq!(gap, Duration::from_micros(micros), "{text}");
        }
    }

    #[test]
    fn every_mode_of_garbage_is_known_by_its_name() {
        for (name, kind) in Garbage::NAMES {
            let Job::Garbage(misdeeds) = role_of(name, 0).unwrap().job else { panic!("{name}") };
            assert_eq!((misdeeds.kind, kind.name()), (kind, name));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let text = |script| role_of(script, 0).unwrap_err().to_string();
        assert!(text("0:blats,to=1").starts_with("no mode \"blats\"; there are idle,"));
        assert_eq!(text("0:blast"), "blast needs to=");
        assert_eq!(text("0:sink,to=1"), "sink has no key \"to\"");
        assert_eq!(text("0:blast,to=1,size=9"), "size=9 is not 60 to 69632 bytes");
        assert_eq!(text("0:blast,to=1,segment=1448,size=69632"), "size=69632 is not 100 to 65549 bytes");
        assert_eq!(
            text("0:blast,to=all,segment=1448"),
            "to=all is not a rank, for packets that are to be cut"
        );
        assert_eq!(text("x:sink"), "\"x\" is no list of ranks");
        assert_eq!(text("sink,seconds=-1"), "seconds=-1 is not a time (2, 0.3, 2ms, 500us)");
    }
}
