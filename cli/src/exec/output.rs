//! What commands said, for people or programs. Nothing is kept back longer than it takes to have a line, unless it is to
//! be shown in order.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use mvpnet_node::session::Outcome;
use serde_json::json;

use crate::node_set::{folded, node_name};
use crate::session::exit_code;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As it comes; of one node.
    Raw,
    /// Line by line, as lines come.
    Lines { labels: bool },
    /// The same, node by node.
    InOrder { labels: bool },
    /// A JSON line for each node, when it has ended.
    Json,
    /// The same, in the order of the nodes.
    JsonInOrder,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Output,
    Error,
}

/// How a node's part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) timed_out: bool,
    pub(super) elapsed: Duration,
}

/// What all nodes have said.
#[derive(Debug)]
pub(crate) struct Output<W = Box<dyn Write>, E = Box<dyn Write>> {
    style: Style,
    nodes: BTreeMap<u32, Node>,
    stdout: W,
    stderr: E,
}

#[derive(Debug, Default)]
struct Node {
    /// What waits for the end of its line, or of the node.
    output: Vec<u8>,
    error: Vec<u8>,
    ending: Option<Ending>,
    shown: bool,
}

/// The exit code of a time-out (timeout(1)).
const TIMED_OUT: u8 = 124;

impl Style {
    /// What is shown of one node needs no lines.
    pub(super) fn for_one(self) -> Self {
        match self {
            Self::Lines { .. } | Self::InOrder { .. } => Self::Raw,
            json => json,
        }
    }

    fn keeps_all(self) -> bool {
        matches!(self, Self::InOrder { .. } | Self::Json | Self::JsonInOrder)
    }
}

impl Ending {
    pub(super) fn code(&self) -> u8 {
        if self.timed_out { TIMED_OUT } else { exit_code(&self.outcome) }
    }

    /// What went wrong, if it did.
    fn trouble(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(why) if self.timed_out => Some(format!("its time was over: {why}")),
            _ if self.timed_out => Some("killed, its time was over".into()),
            Outcome::Exited(0) | Outcome::Closed => None,
            Outcome::Exited(code) => Some(format!("exit code {code}")),
            Outcome::Killed(signal) => Some(match nix::sys::signal::Signal::try_from(*signal) {
                Ok(signal) => format!("killed by {signal}"),
                Err(_) => format!("killed by signal {signal}"),
            }),
            Outcome::Failed(why) => Some(why.clone()),
        }
    }
}

impl Output {
    /// On this process's own output.
    pub(crate) fn new(style: Style, ranks: &[u32]) -> Self {
        Self::over(style, ranks, Box::new(io::stdout()), Box::new(io::stderr()))
    }
}

impl<W: Write, E: Write> Output<W, E> {
    fn over(style: Style, ranks: &[u32], stdout: W, stderr: E) -> Self {
        let nodes = ranks.iter().map(|rank| (*rank, Node::default())).collect();
        Self { style, nodes, stdout, stderr }
    }

    /// A node says something.
    pub(super) fn say(&mut self, rank: u32, kind: Kind, data: &[u8]) -> io::Result<()> {
        if self.style == Style::Raw {
            return match kind {
                Kind::Output => self.stdout.write_all(data).and_then(|()| self.stdout.flush()),
                Kind::Error => self.stderr.write_all(data),
            };
        }
        let Some(node) = self.nodes.get_mut(&rank) else { return Ok(()) };
        node.of(kind).extend_from_slice(data);
        if self.style.keeps_all() { Ok(()) } else { self.show_lines(rank, kind, false) }
    }

    /// A node's part is over.
    pub(super) fn end(&mut self, rank: u32, ending: Ending) -> io::Result<()> {
        let Some(node) = self.nodes.get_mut(&rank) else { return Ok(()) };
        node.ending = Some(ending);
        match self.style {
            Style::Raw => Ok(()),
            Style::Lines { .. } | Style::Json => self.show(rank),
            Style::InOrder { .. } | Style::JsonInOrder => {
                while let Some((rank, node)) = self.nodes.iter().find(|(_, node)| !node.shown)
                    && node.ending.is_some()
                {
                    self.show(*rank)?;
                }
                Ok(())
            }
        }
    }

    /// Says which nodes failed, and the exit code of all.
    pub(super) fn finish(mut self) -> io::Result<u8> {
        let mut troubles: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut code = 0;
        for (rank, node) in &self.nodes {
            let Some(ending) = &node.ending else { continue };
            code = code.max(ending.code());
            if let Some(trouble) = ending.trouble() {
                troubles.entry(trouble).or_default().push(*rank);
            }
        }
        for (trouble, ranks) in troubles {
            let is_said = match self.style {
                // The exit code of one command is this program's.
                Style::Raw => trouble.starts_with("exit code"),
                Style::Json | Style::JsonInOrder => true,
                Style::Lines { .. } | Style::InOrder { .. } => false,
            };
            if !is_said {
                writeln!(self.stderr, "mvpnet: {}: {trouble}", folded(&ranks))?;
            }
        }
        self.stdout.flush()?;
        Ok(code)
    }

    /// Shows what is left of a node that has ended.
    fn show(&mut self, rank: u32) -> io::Result<()> {
        if matches!(self.style, Style::Json | Style::JsonInOrder) {
            self.show_json(rank)?;
        } else {
            self.show_lines(rank, Kind::Output, true)?;
            self.show_lines(rank, Kind::Error, true)?;
        }
        if let Some(node) = self.nodes.get_mut(&rank) {
            node.shown = true;
        }
        Ok(())
    }

    /// Shows whole lines; at the end of the node also one that is not.
    fn show_lines(&mut self, rank: u32, kind: Kind, is_end: bool) -> io::Result<()> {
        let labels = matches!(self.style, Style::Lines { labels: true } | Style::InOrder { labels: true });
        let label = if labels { format!("{}: ", node_name(rank)) } else { String::new() };
        let Some(node) = self.nodes.get_mut(&rank) else { return Ok(()) };
        let waiting = node.of(kind);
        let whole = if is_end {
            waiting.len()
        } else {
            waiting.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
        };
        let mut text = Vec::with_capacity(whole + label.len());
        for line in waiting[..whole].split_inclusive(|byte| *byte == b'\n') {
            text.extend_from_slice(label.as_bytes());
            text.extend_from_slice(line);
            if line.last() != Some(&b'\n') {
                text.push(b'\n');
            }
        }
        waiting.drain(..whole);
        match kind {
            Kind::Output => self.stdout.write_all(&text).and_then(|()| self.stdout.flush()),
            Kind::Error => self.stderr.write_all(&text),
        }
    }

    fn show_json(&mut self, rank: u32) -> io::Result<()> {
        let Some(node) = self.nodes.get_mut(&rank) else { return Ok(()) };
        let Some(ending) = &node.ending else { return Ok(()) };
        let (mut code, mut signal, mut error) = (None, None, None);
        match &ending.outcome {
            Outcome::Exited(number) => code = Some(*number),
            Outcome::Killed(number) => signal = Some(*number),
            Outcome::Failed(why) => error = Some(why.clone()),
            Outcome::Closed => {}
        }
        let object = json!({
            "rank": rank,
            "name": node_name(rank),
            "code": code,
            "signal": signal,
            "error": error,
            "timed_out": ending.timed_out,
            "stdout": String::from_utf8_lossy(&node.output),
            "stderr": String::from_utf8_lossy(&node.error),
            "seconds": (ending.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        });
        node.output = Vec::new();
        node.error = Vec::new();
        writeln!(self.stdout, "{object}")?;
        self.stdout.flush()
    }
}

impl Node {
    fn of(&mut self, kind: Kind) -> &mut Vec<u8> {
        match kind {
            Kind::Output => &mut self.output,
            Kind::Error => &mut self.error,
        }
    }
}

#[cfg(test)]
mod tests;
