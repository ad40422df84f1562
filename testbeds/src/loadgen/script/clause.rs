//! One clause of a script: its mode and its keys.

use std::time::Duration;

use super::{
    super::frame::{MAX_FRAME, MIN_FRAME, segmented},
    Blast, Garbage, Job, Misdeeds, Role, ScriptError, Sink, Target, Window,
};

/// Reads `mode,key=value,…`.
pub(super) fn parse_clause(text: &str) -> Result<Role, ScriptError> {
    let mut parts = text.split(',').map(str::trim);
    let mode = parts.next().unwrap_or_default().to_owned();
    let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    let mut keys = Keys { mode: mode.clone(), pairs: pairs.collect() };
    let patience = keys.time("patience")?.unwrap_or(Duration::from_secs(30));
    let measures = matches!(mode.as_str(), "blast" | "sink" | "duplex" | "pingpong");
    let stay = if measures { keys.stay()? } else { None };
    let job = match mode.as_str() {
        "idle" | "echo" => Job::Answer { seconds: keys.time("seconds")? },
        "deaf" => Job::Deaf { seconds: keys.time("seconds")? },
        "blast" => Job::Traffic { send: Some(keys.blast()?), receive: None, window: keys.window()? },
        "sink" => Job::Traffic { send: None, receive: Some(keys.sink()?), window: keys.window()? },
        "duplex" => {
            Job::Traffic { send: Some(keys.blast()?), receive: Some(keys.sink()?), window: keys.window()? }
        }
        "pingpong" => Job::PingPong {
            to: keys.required("to", "a rank")?,
            size: keys.size(64)?,
            gap: keys.time("gap")?.unwrap_or_default(),
            window: keys.window()?,
        },
        "allping" => Job::AllPing { size: keys.size(64)?, peers: keys.number("peers", "a number of ranks")? },
        name => match Garbage::NAMES.iter().find(|(known, _)| *known == name) {
            Some(&(_, kind)) => Job::Garbage(keys.misdeeds(kind)?),
            None => return Err(ScriptError::Mode(mode)),
        },
    };
    keys.finish()?;
    Ok(Role { mode, job, patience, stay })
}

/// The keys of a clause; each is taken out when it is read, so that what is left is unknown.
struct Keys<'a> {
    mode: String,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Keys<'a> {
    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(name, _)| *name == key)?;
        Some(self.pairs.remove(at).1)
    }

    fn number<T: std::str::FromStr>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ScriptError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ScriptError::Value { key, value: value.to_owned(), expected }),
        }
    }

    fn required<T: std::str::FromStr>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<T, ScriptError> {
        let missing = ScriptError::Missing { mode: self.mode.clone(), key };
        self.number(key, expected)?.ok_or(missing)
    }

    fn size(&mut self, default: usize) -> Result<usize, ScriptError> {
        let size = self.number("size", "a number of bytes")?.unwrap_or(default);
        if (MIN_FRAME..=MAX_FRAME).contains(&size) {
            return Ok(size);
        }
        Err(ScriptError::Value { key: "size", value: size.to_string(), expected: "60 to 69632 bytes" })
    }

    fn time(&mut self, key: &'static str) -> Result<Option<Duration>, ScriptError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let (number, unit) = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]
            .into_iter()
            .find_map(|(suffix, unit)| Some((value.strip_suffix(suffix)?, unit)))
            .unwrap_or((value, 1.0));
        let seconds = number.parse::<f64>().ok().map(|number| number * unit);
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(duration) => Ok(Some(duration)),
            None => Err(ScriptError::Value {
                key,
                value: value.to_owned(),
                expected: "a time (2, 0.3, 2ms, 500us)",
            }),
        }
    }

    fn window(&mut self) -> Result<Window, ScriptError> {
        let warmup = self.time("warmup")?.unwrap_or(Duration::from_millis(300));
        Ok(Window { warmup, seconds: self.time("seconds")?.unwrap_or(Duration::from_secs(2)) })
    }

    fn check(&mut self) -> Result<bool, ScriptError> {
        match self.take("check") {
            None | Some("head") => Ok(false),
            Some("all") => Ok(true),
            Some(value) => {
                Err(ScriptError::Value { key: "check", value: value.to_owned(), expected: "head or all" })
            }
        }
    }

    fn stay(&mut self) -> Result<Option<bool>, ScriptError> {
        match self.take("then") {
            None => Ok(None),
            Some("stay") => Ok(Some(true)),
            Some("off") => Ok(Some(false)),
            Some(value) => {
                Err(ScriptError::Value { key: "then", value: value.to_owned(), expected: "stay or off" })
            }
        }
    }

    fn blast(&mut self) -> Result<Blast, ScriptError> {
        let to = match self.take("to") {
            None => return Err(ScriptError::Missing { mode: self.mode.clone(), key: "to" }),
            Some("all") => Target::All,
            Some(rank) => Target::Rank(rank.parse().map_err(|_| ScriptError::Value {
                key: "to",
                value: rank.to_owned(),
                expected: "a rank or all",
            })?),
        };
        let count = self.number("count", "a number of frames")?;
        let rate = self.number("rate", "frames per second")?;
        let burst = self.number("burst", "a number of frames")?.unwrap_or(64);
        let segment = self.number("segment", "a number of bytes")?;
        let size = if segment.is_some() { self.packet(to)? } else { self.size(1514)? };
        Ok(Blast { to, size, burst, count, rate, segment })
    }

    /// The size of packets that are to be cut, 44 full ones of a usual Ethernet if nothing else is said.
    fn packet(&mut self, to: Target) -> Result<usize, ScriptError> {
        if to == Target::All {
            let expected = "a rank, for packets that are to be cut";
            return Err(ScriptError::Value { key: "to", value: "all".to_owned(), expected });
        }
        let size = self.number("size", "a number of bytes")?.unwrap_or(64_294);
        if (segmented::MIN..=segmented::MAX).contains(&size) {
            return Ok(size);
        }
        Err(ScriptError::Value { key: "size", value: size.to_string(), expected: "100 to 65549 bytes" })
    }

    fn sink(&mut self) -> Result<Sink, ScriptError> {
        Ok(Sink { check_all: self.check()?, from: self.number("from", "a rank")? })
    }

    fn misdeeds(&mut self, kind: Garbage) -> Result<Misdeeds, ScriptError> {
        Ok(Misdeeds {
            kind,
            to: self.number("to", "a rank")?,
            count: self.number("count", "a number of frames")?.unwrap_or(1000),
            rate: self.number("rate", "frames per second")?,
            length: self.number("length", "a 32-bit number")?,
            bytes: self.number("bytes", "a number of bytes")?,
            size: self.number("size", "a number of bytes")?,
            seed: self.number("seed", "a 64-bit number")?.unwrap_or(1),
            seconds: self.time("seconds")?,
        })
    }

    fn finish(self) -> Result<(), ScriptError> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => Err(ScriptError::Key { mode: self.mode, key: (*key).to_owned() }),
        }
    }
}
