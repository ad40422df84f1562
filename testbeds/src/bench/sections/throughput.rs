//! Frames per second between two ranks, by frame size, one way and both ways.

use serde_json::Value;

use super::{
    super::{
        Bench, Series,
        carrier::{Carrier, Net},
        table::{Row, Table, Target, median},
    },
    is_mark_of, is_mvpnet, pair, window_keys,
};

/// A column of [`rate`].
const FRAMES: usize = 0;
const GBITS: usize = 1;
const LOST: usize = 2;

pub(super) fn measure(bench: &mut Bench, net: Net) -> anyhow::Result<Table> {
    let title = format!(
        "Throughput, {}: frames received per second, both directions added up, at most {} at a time",
        net.name(),
        bench.options.burst
    );
    let mut table = Table::new(net.name(), title, "frames/s", &["Gbit/s", "lost %"]);
    let carriers = bench.carriers(|_| true);
    let mut loads: Vec<Load> = bench.options.size.iter().map(|&size| Load::Frames(size)).collect();
    if net == Net::VhostUser {
        loads.push(Load::Packets);
    }
    for load in loads {
        for both in [false, true] {
            let case = format!("{}, {}", load.name(), if both { "both ways" } else { "one way" });
            let all = bench.rounds(&format!("{} {case}", net.name()), &carriers, |bench, carrier| {
                rate(bench, carrier, net, load, both)
            })?;
            table.rows.extend(all.iter().map(|series| row(&case, net, load, series, &all)));
        }
    }
    Ok(table)
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// Frames of so many bytes.
    Frames(usize),
    /// TCP packets of 64 KiB that nobody cuts into segments.
    Packets,
}

impl Load {
    fn name(self) -> String {
        match self {
            Load::Frames(size) => format!("{size} B"),
            Load::Packets => "64 KiB uncut".to_owned(),
        }
    }

    fn keys(self) -> String {
        match self {
            Load::Frames(size) => format!("size={size}"),
            Load::Packets => "segment=1460".to_owned(),
        }
    }
}

/// Frames/s, Gbit/s and lost frames (%) of one run.
fn rate(bench: &mut Bench, carrier: Carrier, net: Net, load: Load, both: bool) -> anyhow::Result<Vec<f64>> {
    let load = format!("{},burst={},{}", load.keys(), bench.options.burst, window_keys(bench));
    let (script, receivers): (_, &[u32]) = if both {
        (format!("0:duplex,to=1,{load};1:duplex,to=0,{load}"), &[0, 1])
    } else {
        (format!("0:blast,to=1,{load};1:sink,{}", window_keys(bench)), &[1])
    };
    let results = bench.results_of(pair(carrier, net, script, bench.options.window()), receivers)?;
    Ok(rates(&results))
}

/// The same of results.
pub(super) fn rates(results: &[Value]) -> Vec<f64> {
    let sum = |key: &str| -> f64 {
        results.iter().map(|result| result["received"][key].as_f64().unwrap_or(0.0)).sum()
    };
    let (frames, lost) = (sum("frames"), sum("lost"));
    vec![sum("frames_per_second"), sum("bits_per_second") / 1e9, 100.0 * lost / (frames + lost).max(1.0)]
}

fn row(case: &str, net: Net, load: Load, series: &Series, all: &[Series]) -> Row {
    let mut row = series.row(case, FRAMES);
    row.notes = vec![series.note(GBITS), series.note(LOST)];
    let over = |mark: Option<&Series>| Some(row.median? / median(&mark?.column(FRAMES))?);
    let direct = over(all.iter().find(|other| other.carrier == Carrier::Direct));
    let relay = over(all.iter().find(|other| is_mark_of(other.carrier, series.carrier)));
    if series.carrier != Carrier::Direct {
        row.to_direct = direct;
        row.to_relay = relay;
    }
    if is_mvpnet(series.carrier) {
        (row.judged, row.target) = match (net, load) {
            (Net::Stream, Load::Frames(..512)) => (relay, Some(Target::AtLeast(0.6))),
            (Net::Stream, _) => (relay, Some(Target::AtLeast(0.9))),
            (Net::Dgram, _) => (relay, Some(Target::AtLeast(0.7))),
            (Net::VhostUser, _) => (direct, Some(Target::AtLeast(0.5))),
        };
    }
    row
}
