//! What idle ranks take away from busy ones: throughput between two ranks of a job of 2 and of a job of 16.

use super::{
    super::{
        Bench,
        carrier::Net,
        job::Spec,
        table::{Table, Target, median},
    },
    STARTING, is_mvpnet,
    throughput::rates,
    window_keys,
};

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title =
        "Two busy ranks, 1514 bytes one way, alone and beside 14 idle ranks; the target is for the ratio";
    let mut table = Table::new("crowd", title, "frames/s", &["/alone"]);
    let carriers = bench.carriers(is_mvpnet);
    // A repetition measures both jobs, one after the other.
    let all = bench.rounds("crowd", &carriers, |bench, carrier| {
        let keys = window_keys(bench);
        let script = format!("0:blast,to=1,burst={},{keys};1:sink,{keys}", bench.options.burst);
        let mut rate = |ranks| {
            let limit = STARTING * 2 + bench.options.window() * 2;
            let spec = Spec::new(carrier, Net::Stream, ranks, script.clone(), limit);
            Ok::<f64, anyhow::Error>(rates(&bench.results_of(spec, &[1])?)[0])
        };
        Ok(vec![rate(2)?, rate(16)?])
    })?;
    for series in &all {
        table.rows.push(series.row("2 ranks", 0));
        let mut row = series.row("16 ranks", 1);
        row.judged = row.median.zip(median(&series.column(0))).map(|(crowd, alone)| crowd / alone);
        row.target = Some(Target::AtLeast(0.8));
        row.notes = vec![row.judged.map(|ratio| format!("{ratio:.2}")).unwrap_or_default()];
        table.rows.push(row);
    }
    Ok(table)
}
