//! Round trips of 64 bytes: back to back, and after 2 ms of silence, when everybody has gone to sleep.

use anyhow::Context;

use super::{
    super::{
        Bench,
        carrier::{Carrier, Net},
        table::{Table, Target, median},
    },
    is_mark_of, is_mvpnet, pair, window_keys,
};

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let mut table = Table::new("Round trips of 64 bytes: median", "p50 us", &["p99 us", "lost"]);
    for net in [Net::Stream, Net::Dgram] {
        let carriers = bench.carriers(|carrier| net == Net::Stream || !matches!(carrier, Carrier::Relay(_)));
        for (name, gap) in [("busy", "0"), ("idle", "2ms")] {
            let case = format!("{}, {name}", net.name());
            let all = bench.rounds(&format!("round trip, {case}"), &carriers, |bench, carrier| {
                let script = format!("0:pingpong,to=1,gap={gap},{};1:echo", window_keys(bench));
                let spec = pair(carrier, net, script, bench.options.window());
                let result = bench.results_of(spec, &[0])?.remove(0);
                let number = |key: &str| result[key].as_f64().context("no ping was answered");
                Ok(vec![number("p50_us")?, number("p99_us")?, number("lost")?])
            })?;
            for series in &all {
                let mut row = series.row(&case, 0);
                row.notes = vec![series.note(1), series.note(2)];
                let over = |pick: &dyn Fn(Carrier) -> bool| {
                    let mark = all.iter().find(|other| pick(other.carrier))?;
                    Some(row.median? / median(&mark.column(0))?)
                };
                let direct = over(&|other| other == Carrier::Direct);
                let relay = over(&|other| is_mark_of(other, series.carrier));
                if series.carrier != Carrier::Direct {
                    row.to_direct = direct;
                    row.to_relay = relay;
                }
                if is_mvpnet(series.carrier) && name == "busy" {
                    (row.judged, row.target) = (direct, Some(Target::AtMost(3.0)));
                }
                table.rows.push(row);
            }
        }
    }
    Ok(table)
}
