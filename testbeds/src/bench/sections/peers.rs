//! Memory of a rank by the number of peers that it has exchanged frames with, in a job of 128 ranks.

use anyhow::{Context, ensure};

use super::{
    super::{
        Bench,
        carrier::{Carrier, Net},
        job::{Job, Spec},
        processes::{self, Memory},
        table::{Row, Table, median},
    },
    STARTING,
};

const RANKS: u32 = 128;
const KIB: f64 = 1024.0;
/// Ranks, and how many peers each of them pings. Rank 0 talks to all of the job anyway.
const TALKERS: [(u32, u32); 3] = [(1, 1), (2, 16), (3, 127)];

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "Memory of a rank of 128 that has exchanged frames with so many peers; a page that N processes share is an \
                 Nth of each";
    let mut table = Table::new("peers", title, "KiB", &["own KiB", "shared KiB"]);
    let carriers = bench.carriers(|carrier| matches!(carrier, Carrier::Mpi(_)));
    let all = bench.rounds("peers", &carriers, |bench, carrier| {
        let pings = TALKERS.map(|(rank, peers)| format!("{rank}:allping,peers={},patience=100", peers + 1));
        let script = format!("echo;{}", pings.join(";"));
        let spec = Spec::new(carrier, Net::Stream, RANKS, script, STARTING * 6);
        bench.with_job(spec, |job: &mut Job| {
            job.wait_until_up()?;
            job.results(&TALKERS.map(|(rank, _)| rank))?;
            let mut values = Vec::new();
            for (rank, _) in TALKERS {
                let memory = of_rank(job, rank)?;
                let [own, shared] = [memory.own, memory.shared].map(|bytes| bytes as f64 / KIB);
                values.extend([own + shared, own, shared]);
            }
            Ok(values)
        })
    })?;
    for series in &all {
        for (at, (_, peers)) in TALKERS.into_iter().enumerate() {
            let mut row = series.row(&format!("{peers} peers"), 3 * at);
            row.notes = vec![series.note(3 * at + 1), series.note(3 * at + 2)];
            table.rows.push(row);
        }
        let at = |column| median(&series.column(column));
        let (fewest, most) = (TALKERS[0].1, TALKERS[2].1);
        let each = at(0).zip(at(6)).map(|(few, many)| (many - few) / f64::from(most - fewest));
        let mut row = Row::new("each peer more", series.carrier, each.into_iter().collect());
        row.failure = series.failure.clone();
        table.rows.push(row);
    }
    Ok(table)
}

/// The memory of the process that is this rank: its keepers, which are the same program, have less.
fn of_rank(job: &Job, rank: u32) -> anyhow::Result<Memory> {
    let wanted = Some(rank.to_string());
    let names = ["PMI_RANK", "OMPI_COMM_WORLD_RANK"];
    let is_of_rank = |pid| names.iter().any(|name| processes::variable(pid, name) == wanted);
    let found: Vec<Memory> =
        job.own_processes().into_iter().filter(|&pid| is_of_rank(pid)).filter_map(Memory::of).collect();
    ensure!(!found.is_empty(), "no process of rank {rank} was found");
    found.into_iter().max_by_key(|memory| memory.own + memory.shared).context("no memory")
}
