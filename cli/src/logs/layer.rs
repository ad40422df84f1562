//! The `tracing` layer: makes a line of each event and hands it to the rank that it belongs to.
//!
//! An event belongs to the rank named by the innermost span around it that has a field `rank`
//! (`info_span!("rank", rank = 3)`), else to the process's first rank. Such spans are to be of level
//! `INFO` or graver; other spans are ignored.
//!
//! A line is `TIME LEVEL rank N MODULE: message key=value …`, UTC, in one piece and at most
//! [`MAX_LINE`] bytes; line ends within it become a newline and a tab, other control characters are
//! escaped, so that nothing a guest says can pass for a line of its own or drive a terminal.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::level::Level;
use super::sink::Sink;

/// No line is longer, in bytes; the rest is cut off, and `…` says so.
pub(super) const MAX_LINE: usize = 16 * 1024;

/// The field of a span that names the rank.
const RANK: &str = "rank";

/// Everything that lines can go to.
pub(super) struct Sinks {
    /// At least one.
    pub(super) ranks: Vec<Sink>,
    pub(super) stderr: Stderr,
}

/// The copy for people.
pub(super) struct Stderr {
    pub(super) level: Level,
    pub(super) out: Mutex<Box<dyn Write + Send>>,
    /// Written before each line: on a terminal, wipes the progress line.
    pub(super) before: &'static str,
}

impl Sinks {
    fn of_rank(&self, rank: Option<u32>) -> &Sink {
        rank.and_then(|rank| self.ranks.iter().find(|sink| sink.rank == rank)).unwrap_or(&self.ranks[0])
    }

    /// A filter may silence a subsystem on stderr too, never make it louder there.
    fn stderr_wants(&self, sink: &Sink, target: &str, event: Level) -> bool {
        self.stderr.level.admits(event) && sink.filtered(target).is_none_or(|level| level.admits(event))
    }

    fn wanted(&self, target: &str, event: Level) -> bool {
        self.ranks.iter().any(|sink| sink.wants(target, event) || self.stderr_wants(sink, target, event))
    }

    fn write(&self, rank: Option<u32>, target: &str, event: Level, fields: &LineFields) {
        let sink = self.of_rank(rank);
        let to_stderr = self.stderr_wants(sink, target, event);
        if !to_stderr && !sink.wants(target, event) {
            return;
        }
        let line = line(rank.unwrap_or(sink.rank), target, event, fields);
        sink.write(target, event, &line);
        if to_stderr {
            let mut out = self.stderr.out.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = out.write_all(format!("{}{line}", self.stderr.before).as_bytes());
        }
    }
}

fn line(rank: u32, target: &str, event: Level, fields: &LineFields) -> String {
    let mut line = String::with_capacity(160);
    if SystemTime.format_time(&mut Writer::new(&mut line)).is_err() {
        line.push('-');
    }
    let _ = write!(line, " {event:<5} rank {rank} {target}:");
    for text in [&fields.message, &fields.others] {
        if !text.is_empty() {
            line.push(' ');
            push_clean(&mut line, text);
        }
    }
    if line.len() >= MAX_LINE {
        line.truncate(line.floor_char_boundary(MAX_LINE - "…\n".len()));
        line.push('…');
    }
    line.push('\n');
    line
}

fn push_clean(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\n\t"),
            '\t' => line.push('\t'),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
        if line.len() > MAX_LINE {
            return;
        }
    }
}

/// What an event says.
#[derive(Default)]
struct LineFields {
    message: String,
    others: String,
    severity: Option<Level>,
}

impl Visit for LineFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "severity" => self.severity = value.parse().ok(),
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
            return;
        }
        let space = if self.others.is_empty() { "" } else { " " };
        let _ = write!(self.others, "{space}{}={value:?}", field.name());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The rank of a span, in its extensions.
struct SpanRank(u32);

struct RankField(Option<u32>);

impl Visit for RankField {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == RANK {
            self.0 = u32::try_from(value).ok();
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == RANK {
            self.0 = u32::try_from(value).ok();
        }
    }

    /// For `rank = %rank` and `rank = ?rank`.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == RANK {
            self.0 = format!("{value:?}").parse().ok();
        }
    }
}

/// Routes events to ranks.
pub(super) struct RankLayer(pub(super) Arc<Sinks>);

impl RankLayer {
    fn matters(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() {
            return metadata.fields().field(RANK).is_some();
        }
        self.0.wanted(metadata.target(), Level::gravest_of(metadata.level()))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RankLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.matters(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.matters(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Levels are decided per call site, once each; a hint would only have to find the finest filter.
        None
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut rank = RankField(None);
        attributes.record(&mut rank);
        if let (Some(rank), Some(span)) = (rank.0, context.span(id)) {
            span.extensions_mut().insert(SpanRank(rank));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = LineFields::default();
        event.record(&mut fields);
        let rank = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<SpanRank>().map(|SpanRank(rank)| *rank))
        });
        let metadata = event.metadata();
        let severity = Level::of_event(metadata.level(), fields.severity);
        self.0.write(rank, metadata.target(), severity, &fields);
    }
}
