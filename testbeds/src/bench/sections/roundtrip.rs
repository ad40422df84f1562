//! Round trips of 64 bytes: back to back, and after 2 ms of silence, when everybody has gone to sleep; and what the ranks
//! take of the processors meanwhile.

use std::time::Duration;

use anyhow::Context;

use super::{
    super::{
        Bench, Series,
        carrier::{Carrier, Net},
        job::{Job, Spec},
        processes::CpuTimes,
        table::{Row, Table, Target, median},
    },
    is_mark_of, is_mvpnet, pair, window_keys,
};

/// Columns of [`trips`].
const P50: usize = 0;
const P99: usize = 1;
const CPU: usize = 2;
const LOST: usize = 3;

/// How long between two pings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Busy,
    AfterSilence,
}

impl Pace {
    fn name(self) -> &'static str {
        match self {
            Pace::Busy => "back to back",
            Pace::AfterSilence => "after 2 ms of silence",
        }
    }

    fn gap(self) -> &'static str {
        if self == Pace::Busy { "0" } else { "2ms" }
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "Round trips of 64 bytes: median, and CPU of all ranks meanwhile, of one core";
    let mut table = Table::new("roundtrip", title, "p50 us", &["p99 us", "CPU %", "lost"]);
    for net in Net::ALL {
        let mut carriers = bench.carriers(|_| true);
        if net == Net::Stream {
            carriers.insert(1, Carrier::Sleepers);
        }
        for pace in [Pace::Busy, Pace::AfterSilence] {
            let case = format!("{}, {}", net.name(), pace.name());
            let all = bench.rounds(&format!("round trip, {case}"), &carriers, |bench, carrier| {
                let script = script(bench, pace.gap());
                trips(bench, pair(carrier, net, script, bench.options.window()))
            })?;
            table.rows.extend(all.iter().map(|series| row(&case, pace, series, &all)));
        }
    }
    Ok(table)
}

/// Rank 0 pings rank 1.
pub(super) fn script(bench: &Bench, gap: &str) -> String {
    format!("0:pingpong,to=1,gap={gap},{};1:echo", window_keys(bench))
}

/// p50 and p99 (us), CPU of the ranks (% of a core), lost pings.
pub(super) fn trips(bench: &mut Bench, spec: Spec) -> anyhow::Result<Vec<f64>> {
    let (interrupt, window) = (bench.interrupt.clone(), bench.options.window());
    bench.with_job(spec, |job: &mut Job| {
        job.wait_until_up()?;
        // The generators meet and warm up.
        interrupt.sleep(Duration::from_millis(400))?;
        let before = CpuTimes::of(&job.own_processes());
        interrupt.sleep(window.mul_f64(0.7))?;
        let percent = before.percent();
        let result = job.results(&[0])?.remove(0);
        let number = |key: &str| result[key].as_f64().context("no ping was answered");
        Ok(vec![number("p50_us")?, number("p99_us")?, percent, number("lost")?])
    })
}

fn row(case: &str, pace: Pace, series: &Series, all: &[Series]) -> Row {
    let mut row = series.row(case, P50);
    let is_ours = is_mvpnet(series.carrier);
    row.notes =
        vec![series.note(P99), if is_ours { series.note(CPU) } else { String::new() }, series.note(LOST)];
    let over = |pick: &dyn Fn(Carrier) -> bool| {
        let mark = all.iter().find(|other| pick(other.carrier))?;
        Some(row.median? / median(&mark.column(P50))?)
    };
    let direct = over(&|other| other == Carrier::Direct);
    let relay = over(&|other| is_mark_of(other, series.carrier));
    if series.carrier != Carrier::Direct {
        row.to_direct = direct;
        row.to_relay = relay;
    }
    match pace {
        Pace::Busy if is_ours => (row.judged, row.target) = (direct, Some(Target::AtMost(3.0))),
        Pace::AfterSilence if is_ours => row.judge_value(Target::AtMost(60.0)),
        _ => {}
    }
    row
}
