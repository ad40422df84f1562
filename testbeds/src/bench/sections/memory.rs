//! Resident memory of ranks without a qemu under flood: into a guest that reads, and into one that does not.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{
    super::{
        Bench,
        carrier::{Carrier, Net},
        job::Spec,
        processes,
        table::{Table, Target},
    },
    STARTING, is_mvpnet,
};

const MIB: f64 = (1 << 20) as f64;
/// Queues and pools are full by then; what grows later grows without end.
const FILLING: Duration = Duration::from_secs(2);
/// What may come on top and still be called flat, MiB.
const GROWTH: f64 = 4.0;
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let span = Duration::from_secs(if bench.options.quick { 3 } else { 8 });
    let title = format!(
        "Resident memory of the largest process of a job of two ranks under flood for {} s (up: both ranks in one)",
        (FILLING + span).as_secs()
    );
    let mut table = Table::new("memory", title, "MiB", &["before"]);
    let carriers = bench.carriers(is_mvpnet);
    let seconds = (FILLING + span).as_secs() + 5;
    let reader = |to| format!("0:blast,to={to},seconds={seconds};1:sink,seconds={seconds}");
    // Who is deaf cannot be met.
    let deaf = format!("0:garbage-huge,size=9014,count={};1:deaf", u64::MAX);
    for (case, script) in
        [("unicast, reader", reader("1")), ("broadcast, reader", reader("all")), ("9014 B, deaf guest", deaf)]
    {
        let all = bench.rounds(&format!("memory, {case}"), &carriers, |bench, carrier| {
            let spec = Spec::new(carrier, Net::Stream, 2, script.clone(), STARTING);
            let interrupt = bench.interrupt.clone();
            bench.with_job(spec, |job| {
                job.wait_until_up()?;
                let processes = job.own_processes();
                let largest = || {
                    let sizes = processes.iter().filter_map(|&pid| processes::resident(pid));
                    sizes.max().context("the ranks have ended")
                };
                ensure!(!processes.is_empty(), "no process of the job was found");
                let before = largest()?;
                interrupt.sleep(FILLING)?;
                let full = largest()?;
                let mut most = full;
                for _ in 0..span.as_millis() / LOOK.as_millis() {
                    interrupt.sleep(LOOK)?;
                    most = most.max(largest()?);
                }
                let growth = most.saturating_sub(full);
                Ok(vec![most as f64 / MIB, before as f64 / MIB, growth as f64 / MIB])
            })
        })?;
        for series in &all {
            let mut row = series.row(case, 0);
            row.notes = vec![series.note(1)];
            let ranks = if series.carrier == Carrier::Up { 2.0 } else { 1.0 };
            row.judge_value(Target::AtMost(64.0 * ranks));
            table.rows.push(row);
            let mut row = series.row(&format!("{case}: growth"), 2);
            row.failure = None;
            row.judge_value(Target::AtMost(GROWTH));
            table.rows.push(row);
        }
    }
    Ok(table)
}
