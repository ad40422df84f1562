//! What came of a scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::tally::Numbers;
use super::times::{Times, nanos};
use super::{Kind, Scenario, Traffic};
use crate::books::{self, Amount, History};

/// What came of a scenario: the same for the same scenario and seed, whenever and wherever it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed that it ran with.
    pub seed: u64,
    /// How many ranks there were.
    pub ranks: u32,
    /// How much simulated time has passed.
    #[serde(rename = "simulated_ns", serialize_with = "nanos")]
    pub simulated: Duration,
    /// Each line of traffic, in the scenario's order.
    pub rows: Vec<Row>,
    /// Frames that guests sent.
    #[serde(serialize_with = "amount")]
    pub sent: Amount,
    /// Frames that guests got.
    #[serde(serialize_with = "amount")]
    pub received: Amount,
    /// Frames, or copies of them, that were dropped, by reason.
    pub drops: BTreeMap<&'static str, u64>,
    /// Second copies that links made.
    pub duplicated: u64,
    /// Frames in which links flipped a bit.
    pub corrupted: u64,
    /// What happened when, if it was kept; see [`Run::keep_history`](super::Run::keep_history).
    #[serde(skip)]
    pub history: Option<History>,
}

/// What came of one line of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its kind's name.
    pub kind: &'static str,
    /// Who sent.
    pub from: String,
    /// Whom to.
    pub to: String,
    /// Pings, connections, datagrams or frames that were sent, or hosts that were to boot.
    pub sent: u64,
    /// What should have arrived of these: of a broadcast a copy at every other rank.
    pub expected: u64,
    /// Pings that were answered, connections whose bytes arrived intact, datagrams or frames that arrived, hosts that
    /// got their address. Second copies do not count.
    pub received: u64,
    /// Pings without an answer, datagrams and frames that had not arrived at the end.
    pub lost: u64,
    /// Connections that were refused, reset or given up, and what could not be sent.
    pub failed: u64,
    /// Pings and connections that were under way at the end, hosts that had no address by then.
    pub open: u64,
    /// Connections, datagrams and frames whose content arrived changed, and nobody noticed but us.
    pub damaged: u64,
    /// Second copies that arrived.
    pub duplicates: u64,
    /// Bytes that arrived: of files, datagrams' payload, or frames.
    pub bytes: u64,
    /// Round trips of pings, durations of transfers and boots, one-way times of datagrams and frames.
    pub times: Option<Times>,
    /// Bytes that arrived over the time from the first that was sent to the last that arrived, in bit/s.
    pub bits_per_second: Option<u64>,
}

impl Row {
    pub(super) fn new(traffic: &Traffic, numbers: &Numbers) -> Row {
        let settled = numbers.received + numbers.failed + numbers.damaged;
        let rest = numbers.expected.saturating_sub(settled + numbers.lost);
        // Nobody waits for a datagram or a frame: what has not come is lost.
        let (lost, open) = match traffic.kind {
            Kind::Udp { .. } | Kind::Frames { .. } | Kind::Broadcast { .. } => (numbers.lost + rest, 0),
            Kind::Ping { .. } | Kind::Tcp { .. } | Kind::Boot => (numbers.lost, rest),
        };
        let to = if matches!(traffic.kind, Kind::Boot) { String::new() } else { traffic.to.to_string() };
        Row {
            kind: traffic.kind.name(),
            from: traffic.from.to_string(),
            to,
            sent: numbers.sent,
            expected: numbers.expected,
            received: numbers.received,
            lost,
            failed: numbers.failed,
            open,
            damaged: numbers.damaged,
            duplicates: numbers.duplicates,
            bytes: numbers.bytes,
            times: numbers.times.times(),
            bits_per_second: rate(numbers),
        }
    }
}

fn rate(numbers: &Numbers) -> Option<u64> {
    let time = numbers.last?.saturating_since(numbers.first?).as_nanos();
    if numbers.bytes == 0 {
        return None;
    }
    u64::try_from((u128::from(numbers.bytes) * 8 * 1_000_000_000).checked_div(time)?).ok()
}

impl Report {
    pub(super) fn new(
        scenario: &Scenario,
        seed: u64,
        simulated: Duration,
        rows: Vec<Row>,
        traffic: books::Traffic,
    ) -> Report {
        Report {
            scenario: scenario.name.clone(),
            seed,
            ranks: scenario.ranks,
            simulated,
            rows,
            sent: traffic.sent,
            received: traffic.received,
            drops: traffic.drops.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
            duplicated: traffic.duplicated,
            corrupted: traffic.corrupted,
            history: traffic.history,
        }
    }

    /// As JSON, for programs: times in nanoseconds.
    pub fn to_json(&self) -> String {
        // Numbers, texts and maps with texts as keys: there is nothing that could fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

fn amount<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields {
        frames: u64,
        bytes: u64,
    }
    Fields { frames: amount.frames, bytes: amount.bytes }.serialize(serializer)
}
