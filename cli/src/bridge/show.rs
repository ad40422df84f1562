//! How a bridge does, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;

use mvpnet_node::bridge::{Status, Volume};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::columns::{aligned, duration};

/// Addresses that a table shows; JSON has them all.
const SHOWN: usize = 32;

/// One line of JSON.
pub(super) fn json(status: &Status) -> String {
    format!("{}\n", serde_json::json!(status))
}

/// The whole of it.
pub(super) fn table(status: &Status) -> String {
    let Status { name, pid, uptime_s, listen, mtu, .. } = status;
    let mut text = format!(
        "bridge {name} (process {pid}), up {}, on UDP {listen}, MTU {mtu} for the guests\n\n",
        duration(*uptime_s)
    );
    let header = ["VNI", "PEER", "RECEIVED", "SENT", "DROPPED", "LAST SEEN"].map(str::to_owned);
    let rows = status.ports.iter().map(|port| {
        let last_seen = port.last_seen_s.map_or("never".to_owned(), |age| format!("{} ago", duration(age)));
        let dropped: u64 = port.drops.values().sum();
        [
            port.vni.to_string(),
            port.peer.clone(),
            volume(port.received),
            volume(port.sent),
            dropped.to_string(),
            last_seen,
        ]
    });
    text.push_str(&aligned(std::iter::once(header).chain(rows)));
    text.push('\n');
    text.push_str(&addresses(status));
    let losses = losses(status);
    if !losses.is_empty() {
        text.push('\n');
        text.push_str(&losses);
    }
    text
}

/// What is said at the end.
pub(super) fn summary(status: &Status) -> String {
    let mut text = format!(
        "mvpnet: up {}: received {}, sent {}\n",
        duration(status.uptime_s),
        volume(status.received()),
        volume(status.sent())
    );
    for line in losses(status).lines() {
        let _ = writeln!(text, "mvpnet: {line}");
    }
    text
}

fn addresses(status: &Status) -> String {
    if status.fdb.is_empty() {
        return "no addresses learned yet\n".to_owned();
    }
    let header = ["MAC", "VNI", "LAST SEEN"].map(str::to_owned);
    // The table has those that were silent longest first.
    let rows =
        status.fdb.iter().rev().take(SHOWN).map(|entry| {
            [entry.mac.clone(), entry.vni.to_string(), format!("{} ago", duration(entry.age_s))]
        });
    let mut text = aligned(std::iter::once(header).chain(rows));
    if status.fdb.len() > SHOWN {
        let _ = writeln!(text, "and {} more (--json has them all)", status.fdb.len() - SHOWN);
    }
    text
}

/// What did not get through, if anything.
fn losses(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |what: &str, counts: BTreeMap<&str, u64>| {
        let counts: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if !counts.is_empty() {
            let _ = writeln!(text, "{what}: {}", counts.join(", "));
        }
    };
    line("frames dropped", status.drops());
    line(
        "datagrams refused",
        status.refusals.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
    );
    if status.kernel_drops > 0 {
        let _ = writeln!(text, "datagrams that the kernel had no room for: {}", status.kernel_drops);
    }
    if !status.books_balance {
        text.push_str("the counters do not balance, which is a defect of mvpnet\n");
    }
    text
}

fn volume(Volume { frames, bytes }: Volume) -> String {
    format!("{frames} ({})", size(bytes))
}

/// Three digits or four.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, UNITS[0]);
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// What parts of the program have to say besides, the capture above all, looks as everything else does.
pub(super) fn log_to_stderr() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .event_format(Lines)
        .finish();
    // Somebody has set one already: then that is where it goes.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Lines;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N>
    for Lines
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        out.write_str("mvpnet: ")?;
        context.format_fields(out.by_ref(), event)?;
        out.write_char('\n')
    }
}

#[cfg(test)]
mod tests;
