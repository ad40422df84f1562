//! Many ranks of which some storm: what is left to a unicast stream between two others, and whether all stays bounded.

use anyhow::Context;

use super::{
    super::{
        Bench,
        carrier::{Carrier, Net},
        job::{Job, Spec},
        processes,
        table::{Table, Target, median},
    },
    STARTING, is_mvpnet, window_keys,
};

/// Ranks that send broadcasts as fast as they can.
const STORMING: u32 = 4;
const MIB: f64 = (1 << 20) as f64;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = format!(
        "Unicast of 1514 bytes between two ranks, alone and while {STORMING} others broadcast as much as they can. All ranks \
         receive the storm; fair is what two of them have of the cores, by the senders that the receiver hears in turn"
    );
    let columns = ["/alone", "fair", "dropped", "largest MiB"];
    let mut table = Table::new("storm", title, "frames/s", &columns);
    let carriers = bench.carriers(is_mvpnet);
    for ranks in [16_u32, 64, 128] {
        let all = bench.rounds(&format!("storm, {ranks} ranks"), &carriers, |bench, carrier| {
            let keys = window_keys(bench);
            let alone = format!("0:blast,to=1,patience=100,{keys};1:sink,from=0,patience=100,{keys}");
            let storm = format!("{alone};2-{}:garbage-broadcast,size=1514,count={}", STORMING + 1, u64::MAX);
            let [quiet, _, _] = stream(bench, carrier, ranks, alone)?;
            let [loud, dropped, largest] = stream(bench, carrier, ranks, storm)?;
            Ok(vec![quiet, loud, dropped, largest])
        })?;
        for series in &all {
            table.rows.push(series.row(&format!("{ranks} ranks, alone"), 0));
            let mut row = series.row(&format!("{ranks} ranks, {STORMING} storming"), 1);
            row.judged = row.median.zip(median(&series.column(0))).map(|(loud, quiet)| loud / quiet);
            let fair = 2.0 / f64::from(ranks) / f64::from(STORMING + 1);
            row.target = Some(Target::AtLeast(fair));
            let ratio = row.judged.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
            row.notes = vec![ratio, format!("{fair:.3}"), series.note(2), series.note(3)];
            table.rows.push(row);
        }
    }
    Ok(table)
}

/// Frames per second, frames that the ranks dropped, MiB of the largest process.
fn stream(bench: &mut Bench, carrier: Carrier, ranks: u32, script: String) -> anyhow::Result<[f64; 3]> {
    let limit = STARTING * 4 + bench.options.window() * 4;
    let spec = Spec::new(carrier, Net::Stream, ranks, script, limit);
    bench.with_job(spec, |job: &mut Job| {
        job.wait_until_up()?;
        let result = job.results(&[1])?.remove(0);
        let rate = result["received"]["frames_per_second"].as_f64().context("no rate")?;
        let sizes = job.own_processes().into_iter().filter_map(processes::resident);
        let largest = sizes.max().context("the ranks have ended")? as f64 / MIB;
        Ok([rate, job.dropped()?, largest])
    })
}
