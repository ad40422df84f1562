//! 32, 64 and 128 ranks start, ping all pairs, stop: wall time.

use std::time::Duration;

use anyhow::ensure;

use super::{
    super::{
        Bench,
        carrier::Net,
        job::{Job, Spec},
        table::Table,
    },
    is_mvpnet,
};
use crate::wall::now;

const LIMIT: Duration = Duration::from_secs(180);

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "Ranks start, ping all pairs, stop";
    let mut table = Table::new("start", title, "s in all", &["s to up", "s to pinged", "pairs"]);
    let carriers = bench.carriers(is_mvpnet);
    for ranks in [32, 64, 128] {
        let case = format!("{ranks} ranks");
        let all = bench.rounds(&format!("start, {case}"), &carriers, |bench, carrier| {
            let spec = Spec::new(carrier, Net::Stream, ranks, "allping,patience=150", LIMIT);
            let start = now();
            let (up, pinged, pairs) = bench.with_job(spec, |job| {
                job.wait_until_up()?;
                let up = start.elapsed();
                let pairs = pinged(job, ranks)?;
                Ok((up, start.elapsed(), pairs))
            })?;
            Ok(vec![start.elapsed().as_secs_f64(), up.as_secs_f64(), pinged.as_secs_f64(), pairs as f64])
        })?;
        for series in &all {
            table.rows.push(series.row_with_notes(&case, 3));
        }
    }
    Ok(table)
}

/// Waits until everybody has heard of everybody: how many pairs that were.
fn pinged(job: &mut Job, ranks: u32) -> anyhow::Result<u64> {
    let ranks: Vec<u32> = (0..ranks).collect();
    let results = job.results(&ranks)?;
    let missing: Vec<String> = results
        .iter()
        .filter(|result| result["missing"] != serde_json::json!([]))
        .map(|result| format!("{} misses {}", result["rank"], result["missing"]))
        .collect();
    ensure!(missing.is_empty(), "not all answered: {}", missing.join(", "));
    Ok(results.iter().filter_map(|result| result["answered"].as_u64()).sum())
}
