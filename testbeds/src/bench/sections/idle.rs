//! What ranks cost whose guests are silent: CPU time of mvpnet's own processes, not of mpirun and not of the guests; and how
//! long it takes until they are all there.

use std::time::Duration;

use anyhow::ensure;

use super::{
    super::{
        Bench,
        carrier::{Carrier, Net},
        job::Spec,
        processes::CpuTimes,
        table::{Table, Target},
    },
    STARTING, is_mvpnet,
};
use crate::wall::now;

/// What is done at the start is over by then.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let span = Duration::from_secs(if bench.options.quick { 3 } else { 10 });
    let title = format!("CPU of idle ranks over {} s, of one core: all ranks", span.as_secs());
    let mut table = Table::new("idle", title, "all %", &["per rank %", "processes", "s to up"]);
    let carriers = bench.carriers(is_mvpnet);
    for ranks in [2_u32, 16, 128] {
        let case = format!("{ranks} ranks");
        let limit = STARTING * if ranks > 16 { 6 } else { 2 } + span;
        let all = bench.rounds(&format!("idle, {case}"), &carriers, |bench, carrier| {
            let spec = Spec::new(carrier, Net::Stream, ranks, "idle", limit);
            let (interrupt, start) = (bench.interrupt.clone(), now());
            bench.with_job(spec, |job| {
                job.wait_until_up()?;
                let up = start.elapsed().as_secs_f64();
                interrupt.sleep(SETTLE)?;
                let processes = job.own_processes();
                let expected = if carrier == Carrier::Up { 1 } else { ranks as usize };
                ensure!(processes.len() >= expected, "{} processes for {ranks} ranks", processes.len());
                let before = CpuTimes::of(&processes);
                interrupt.sleep(span)?;
                let percent = before.percent();
                ensure!(before.all_live(), "a process ended meanwhile");
                Ok(vec![percent, percent / f64::from(ranks), processes.len() as f64, up])
            })
        })?;
        for series in &all {
            let mut row = series.row_with_notes(&case, 3);
            row.judge_value(Target::AtMost(match ranks {
                2 => 1.0,
                // Under 0.2 % each.
                16 => 3.2,
                _ => 20.0,
            }));
            table.rows.push(row);
        }
    }
    Ok(table)
}
