//! 32 ranks start, ping all pairs, stop: wall time.

use std::time::Duration;

use anyhow::ensure;

use super::{
    super::{Bench, carrier::Net, job::Spec, table::Table},
    is_mvpnet,
};
use crate::wall::now;

const RANKS: u32 = 32;
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = format!("{RANKS} ranks start, ping all pairs, stop");
    let mut table = Table::new(title, "s in all", &["s to up", "s to pinged", "pairs"]);
    let carriers = bench.carriers(is_mvpnet);
    let all = bench.rounds("start", &carriers, |bench, carrier| {
        let script = "allping,patience=100".to_owned();
        let spec = Spec { carrier, net: Net::Stream, ranks: RANKS, script, limit: LIMIT };
        let start = now();
        let (up, pinged, pairs) = bench.with_job(spec, |job| {
            job.wait_until_up()?;
            let up = start.elapsed();
            let ranks: Vec<u32> = (0..RANKS).collect();
            let results = job.results(&ranks)?;
            let missing: Vec<String> = results
                .iter()
                .filter(|result| result["missing"] != serde_json::json!([]))
                .map(|result| format!("{} misses {}", result["rank"], result["missing"]))
                .collect();
            ensure!(missing.is_empty(), "not all answered: {}", missing.join(", "));
            let pairs: u64 = results.iter().filter_map(|result| result["answered"].as_u64()).sum();
            Ok((up, start.elapsed(), pairs))
        })?;
        Ok(vec![start.elapsed().as_secs_f64(), up.as_secs_f64(), pinged.as_secs_f64(), pairs as f64])
    })?;
    for series in &all {
        let mut row = series.row(&format!("{RANKS} ranks"), 0);
        row.notes = (1..=3).map(|at| series.note(at)).collect();
        table.rows.push(row);
    }
    Ok(table)
}
