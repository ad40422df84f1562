//! What ranks cost whose guests are silent: CPU time of mvpnet's own processes, not of mpirun and not of the guests.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use nix::unistd::Pid;

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
use crate::wall::now;

/// What is done at the start is over by then.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let span = Duration::from_secs(if bench.options.quick { 3 } else { 10 });
    let title = format!("CPU of idle ranks over {} s, of one core: all ranks", span.as_secs());
    let mut table = Table::new(title, "all %", &["per rank %", "processes"]);
    let carriers = bench.carriers(is_mvpnet);
    for ranks in [2_u32, 16] {
        let case = format!("{ranks} ranks");
        let all = bench.rounds(&format!("idle, {case}"), &carriers, |bench, carrier| {
            let script = "idle".to_owned();
            let spec = Spec { carrier, net: Net::Stream, ranks, script, limit: STARTING * 2 + span };
            let interrupt = bench.interrupt.clone();
            bench.with_job(spec, |job| {
                job.wait_until_up()?;
                interrupt.sleep(SETTLE)?;
                let processes = job.own_processes();
                let expected = if carrier == Carrier::Up { 1 } else { ranks as usize };
                ensure!(processes.len() >= expected, "{} processes for {ranks} ranks", processes.len());
                let (before, start) = (cpu_times(&processes), now());
                interrupt.sleep(span)?;
                let (after, elapsed) = (cpu_times(&processes), start.elapsed());
                ensure!(after.len() == processes.len(), "a process ended meanwhile");
                let spent: Duration = after.iter().map(|(pid, time)| time.saturating_sub(before[pid])).sum();
                let percent = 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64();
                Ok(vec![percent, percent / f64::from(ranks), processes.len() as f64])
            })
        })?;
        for series in &all {
            let mut row = series.row(&case, 0);
            row.notes = vec![series.note(1), series.note(2)];
            // Two ranks: under 0.5 % each. Sixteen: under 5 % together.
            row.judge_value(Target::AtMost(if ranks == 2 { 1.0 } else { 5.0 }));
            table.rows.push(row);
        }
    }
    Ok(table)
}

fn cpu_times(processes: &[Pid]) -> BTreeMap<Pid, Duration> {
    processes.iter().filter_map(|&pid| Some((pid, processes::cpu_time(pid)?))).collect()
}
