//! TCP between two tiny guests, emulated: what a kind of link is worth to a guest, and what the switch spends on it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::super::{
    Bench, Series,
    carrier::{Carrier, Net},
    job::{Job, Spec},
    options::Library,
    processes::CpuTimes,
    table::{Row, Table, Target, median},
};

/// How long guests may take to boot, emulated, and a command in them.
const BOOT: Duration = Duration::from_secs(120);
const MBYTE: f64 = 1e6;

/// Columns.
const MBITS: usize = 0;
const CPU: usize = 1;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "TCP between two emulated guests, and CPU time of the ranks for it; the targets are for vhost-user over \
                 stream";
    let columns = ["CPU ms/MB", "/stream", "CPU /stream"];
    let mut table = Table::new("guests", title, "Mbit/s", &columns);
    let tiny = tiny(bench)?;
    let carriers = bench.carriers(|carrier| matches!(carrier, Carrier::Up | Carrier::Mpi(Library::Mpich)));
    for mtu in [1500, 9000] {
        let both: Vec<Way> = carriers
            .iter()
            .flat_map(|&carrier| [Net::Stream, Net::VhostUser].map(|net| Way { carrier, net }))
            .collect();
        let all = bench.rounds(&format!("guests, MTU {mtu}"), &both, |bench, way| {
            let spec = Spec::new(way.carrier, way.net, 2, "", BOOT).with_guests(tiny.clone(), mtu);
            let seconds = bench.options.window().as_secs().max(3) * 2;
            bench.with_job(spec, |job| tcp(job, seconds))
        })?;
        table.rows.extend(all.iter().flat_map(|series| rows(mtu, series, &all)));
    }
    Ok(table)
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    carrier: Carrier,
    net: Net,
}

impl std::fmt::Display for Way {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, {}", self.carrier, self.net.name())
    }
}

fn tiny(bench: &Bench) -> anyhow::Result<PathBuf> {
    let tiny = bench.programs.target.join("tiny");
    ensure!(tiny.join("kernel").exists(), "there is no {}: testbeds/tiny/build makes it", tiny.display());
    Ok(tiny)
}

/// Mbit/s and ms of CPU per MB.
fn tcp(job: &mut Job, seconds: u64) -> anyhow::Result<Vec<f64>> {
    job.wait_until_said("guests are up")?;
    let before = CpuTimes::of(&job.own_processes());
    let said = job.in_guest(0, &format!("iperf3 -c 10.0.0.2 -t {seconds} -J"))?;
    let spent = before.since();
    let report: Value = serde_json::from_str(&said).with_context(|| format!("iperf3 said {said:?}"))?;
    let received = &report["end"]["sum_received"];
    let number =
        |key: &str| received[key].as_f64().with_context(|| format!("iperf3 says no {key}: {report}"));
    let megabytes = number("bytes")? / MBYTE;
    Ok(vec![number("bits_per_second")? / MBYTE, spent.as_secs_f64() * 1e3 / megabytes])
}

fn rows(mtu: u32, series: &Series<Way>, all: &[Series<Way>]) -> Vec<Row> {
    let Way { carrier, net } = series.carrier;
    let case = format!("{}, MTU {mtu}", net.name());
    let mut row = series.row(&case, MBITS);
    row.carrier = carrier.to_string();
    row.notes = vec![series.note(CPU)];
    if net == Net::Stream {
        return vec![row];
    }
    let stream = all.iter().find(|other| other.carrier == Way { carrier, net: Net::Stream });
    let over = |at| Some(median(&series.column(at))? / median(&stream?.column(at))?);
    let text = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    row.notes.extend([text(over(MBITS)), text(over(CPU))]);
    if mtu != 1500 {
        return vec![row];
    }
    row.judged = over(MBITS);
    row.target = Some(Target::AtLeast(1.5));
    let mut cpu = Row::new(format!("{case}: CPU ms/MB"), carrier, series.column(CPU));
    cpu.notes = vec![String::new(), String::new(), text(over(CPU))];
    cpu.judged = over(CPU);
    cpu.target = Some(Target::AtMost(0.6));
    vec![row, cpu]
}
