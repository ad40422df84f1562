//! Two ranks on two hosts, which are namespaces joined by one cable: what gets through of what MPI itself streams, and how
//! much of it the bare relay.

use std::{fmt, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use nix::unistd::geteuid;
use serde_json::Value;

use super::{
    super::{
        Bench, Series,
        carrier::{Carrier, Net, Over, mpirun, two_hosts},
        options::Library,
        table::{Row, Table, Target, median},
    },
    is_mvpnet, pair,
    throughput::rates,
    window_keys,
};

/// The two hosts, as long as this lives.
pub(super) struct Hosts;

impl Hosts {
    /// Makes them.
    pub(super) fn up() -> anyhow::Result<Hosts> {
        ensure!(geteuid().is_root(), "making network namespaces needs root");
        let said = Command::new(two_hosts("up")).output()?;
        ensure!(
            said.status.success(),
            "testbeds/mpi-two-hosts/up: {}",
            String::from_utf8_lossy(&said.stderr)
        );
        Ok(Hosts)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // What is left of them the next `up` removes.
        let _ = Command::new(two_hosts("down")).output();
    }
}

/// What streams from one host to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// The MPI library, messages of 64 KiB, no frames.
    Messages(Library),
    /// Frames between generators.
    Frames(Carrier, Net),
}

impl Way {
    /// All that is built.
    fn all(bench: &Bench) -> Vec<Way> {
        let carriers =
            bench.carriers(|carrier| matches!(carrier, Carrier::Mpi(_) | Carrier::Relay(Over::Mpi(_))));
        let ways = carriers.into_iter().flat_map(|carrier| {
            let frames = [Net::Stream, Net::VhostUser].map(|net| Way::Frames(carrier, net));
            let mark = match carrier {
                Carrier::Relay(Over::Mpi(library)) => Some(Way::Messages(library)),
                _ => None,
            };
            mark.into_iter().chain(frames)
        });
        ways.collect()
    }

    /// Gbit/s, frames per second, lost frames (%).
    fn rates(self, bench: &mut Bench, size: usize) -> anyhow::Result<Vec<f64>> {
        let window = bench.options.window();
        match self {
            Way::Messages(library) => {
                let program = bench.programs.of(Carrier::Relay(Over::Mpi(library))).unwrap_or_default();
                Ok(vec![messages(&program, library, window)?])
            }
            Way::Frames(carrier, net) => {
                let keys = window_keys(bench);
                let load = format!("size={size},burst={}", bench.options.burst);
                let script = format!("0:blast,to=1,{load},{keys};1:sink,{keys}");
                let spec = pair(carrier, net, script, window).on_two_hosts();
                let rates = rates(&bench.results_of(spec, &[1])?);
                Ok(vec![rates[1], rates[0], rates[2]])
            }
        }
    }

    /// The same MPI, with frames and without.
    fn is_mark_of(self, other: Way) -> bool {
        match (self, other) {
            (Way::Messages(library), Way::Frames(carrier, _)) => carrier.over() == Some(Over::Mpi(library)),
            _ => false,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Way::Messages(library) => format!("messages {}", library.name()),
            Way::Frames(carrier, net) => format!("{carrier}, {}", net.name()),
        };
        formatter.pad(&text)
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "Two hosts, one way; /relay is to what the MPI library streams in messages of 64 KiB";
    let mut table = Table::new("hosts", title, "Gbit/s", &["frames/s", "lost %"]);
    let _hosts = match Hosts::up() {
        Ok(hosts) => hosts,
        Err(error) => {
            table.rows.push(Row::failed("all", "two hosts", &error));
            return Ok(table);
        }
    };
    let ways = Way::all(bench);
    for size in [1514, 9014] {
        let case = format!("{size} B");
        let all =
            bench.rounds(&format!("two hosts, {case}"), &ways, |bench, way: Way| way.rates(bench, size))?;
        table.rows.extend(all.iter().map(|series| row(&case, series, &all)));
    }
    Ok(table)
}

fn row(case: &str, series: &Series<Way>, all: &[Series<Way>]) -> Row {
    let mut row = series.row(case, 0);
    let Way::Frames(carrier, _) = series.carrier else { return row };
    row.notes = vec![series.note(1), series.note(2)];
    let mark = all.iter().find(|other| other.carrier.is_mark_of(series.carrier));
    row.to_relay =
        row.median.zip(mark.and_then(|mark| median(&mark.column(0)))).map(|(own, mark)| own / mark);
    if is_mvpnet(carrier) {
        (row.judged, row.target) = (row.to_relay, Some(Target::AtLeast(0.8)));
    }
    row
}

/// Gbit/s of MPI alone.
fn messages(program: &Path, library: Library, window: Duration) -> anyhow::Result<f64> {
    let mut command = mpirun(library, 2, Some(1));
    let said = command.arg(program).arg("messages").arg(window.as_secs_f64().to_string()).output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    let line = stdout.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("MPI streamed nothing: {}", stderr.trim()))?;
    let result: Value = serde_json::from_str(line)?;
    let bits = result["bits_per_second"].as_f64().context("no rate")?;
    Ok(bits / 1e9)
}
