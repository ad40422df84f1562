//! From scenarios to TOML: only what differs from what is assumed anyway, so that it stays short.

use std::fmt::{self, Write as _};
use std::time::Duration;

use mvpnet_switch::Config;
use mvpnet_transports::link::{LinkModel, format_duration};

use super::{Kind, Ranks, Scenario, Targets, Traffic};

impl fmt::Display for Scenario {
    /// As TOML that [`Scenario::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            writeln!(f, "name = {}", quoted(&self.name))?;
        }
        if !self.about.is_empty() {
            writeln!(f, "about = {}", quoted(&self.about))?;
        }
        if let Some(seed) = self.seed {
            writeln!(f, "seed = {seed}")?;
        }
        writeln!(f, "ranks = {}", self.ranks)?;
        writeln!(f, "duration = \"{}\"", format_duration(self.duration))?;
        if self.mtu != Config::DEFAULT_MTU {
            writeln!(f, "mtu = {}", self.mtu)?;
        }
        if self.links != LinkModel::IDEAL {
            writeln!(f, "links = \"{}\"", self.links)?;
        }
        self.traffic.iter().try_for_each(|traffic| write_traffic(f, traffic))?;
        for (time, change) in &self.changes {
            write!(f, "\n[[at]]\ntime = \"{}\"\nchange = \"{change}\"\n", format_duration(*time))?;
        }
        Ok(())
    }
}

fn write_traffic(f: &mut fmt::Formatter<'_>, traffic: &Traffic) -> fmt::Result {
    write!(f, "\n[[traffic]]\nkind = \"{}\"\n", traffic.kind.name())?;
    if traffic.from != Ranks::All {
        writeln!(f, "from = \"{}\"", traffic.from)?;
    }
    if traffic.to != Targets::All {
        writeln!(f, "to = \"{}\"", traffic.to)?;
    }
    match traffic.kind {
        Kind::Ping { timeout } if timeout != Kind::PING_TIMEOUT => {
            writeln!(f, "timeout = \"{}\"", format_duration(timeout))?;
        }
        Kind::Tcp { bytes } => writeln!(f, "bytes = \"{bytes}\"")?,
        Kind::Udp { len } | Kind::Frames { len } | Kind::Broadcast { len } => writeln!(f, "len = {len}")?,
        Kind::Ping { .. } | Kind::Boot => {}
    }
    if traffic.start != Duration::ZERO {
        writeln!(f, "start = \"{}\"", format_duration(traffic.start))?;
    }
    if traffic.count != 1 {
        writeln!(f, "count = {}", traffic.count)?;
    }
    if traffic.every != Duration::ZERO {
        writeln!(f, "every = \"{}\"", format_duration(traffic.every))?;
    }
    Ok(())
}

/// A basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
