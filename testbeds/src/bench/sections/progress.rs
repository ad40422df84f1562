//! How ranks wait: round trips and CPU with `--progress adaptive` and `--progress spin`, on one host and on two.

use std::{fmt, process::Command};

use super::{
    super::{
        Bench,
        carrier::{Carrier, Net},
        job::Spec,
        table::{Row, Table},
    },
    STARTING,
    hosts::Hosts,
    roundtrip::{script, trips},
};

/// One way to wait, somewhere.
#[derive(Debug, Clone, Copy)]
struct Way {
    carrier: Carrier,
    spins: bool,
}

impl Way {
    fn flags(self) -> &'static [&'static str] {
        if self.spins { &["--progress", "spin"] } else { &["--progress", "adaptive"] }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.carrier, if self.spins { "spin" } else { "adaptive" })
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "How ranks wait: round trips of 64 bytes on stream links, and CPU of all ranks, of one core";
    let mut table = Table::new("progress", title, "p50 us", &["p99 us", "CPU %", "lost"]);
    let carriers = bench.carriers(|carrier| matches!(carrier, Carrier::Mpi(_)));
    let carriers: Vec<Carrier> =
        carriers.into_iter().filter(|&carrier| knows_the_flag(bench, carrier)).collect();
    if carriers.is_empty() {
        println!("\nprogress: left out, no mvpnet here knows --progress");
        return Ok(table);
    }
    let ways: Vec<Way> =
        carriers.iter().flat_map(|&carrier| [false, true].map(|spins| Way { carrier, spins })).collect();
    for two_hosts in [false, true] {
        let place = if two_hosts { "two hosts" } else { "one host" };
        let hosts = if two_hosts { Some(Hosts::up()) } else { None };
        if let Some(Err(error)) = &hosts {
            table.rows.push(Row::failed(place, "two hosts", error));
            continue;
        }
        for (ranks, gap, pace) in
            [(2, "0", "busy"), (2, "2ms", "after 2 ms"), (16, "0", "busy"), (16, "2ms", "after 2 ms")]
        {
            let case = format!("{place}, {ranks} ranks, {pace}");
            let all = bench.rounds(&format!("progress, {case}"), &ways, |bench, way| {
                // The peer that answers is on the other host.
                let script = script(bench, gap).replace("to=1", &format!("to={}", ranks - 1));
                let script = script.replace("1:echo", &format!("{}:echo", ranks - 1));
                let limit = STARTING * 3 + bench.options.window();
                let spec = Spec::new(way.carrier, Net::Stream, ranks, script, limit).with(way.flags());
                trips(bench, if two_hosts { spec.on_two_hosts() } else { spec })
            })?;
            for series in &all {
                table.rows.push(series.row_with_notes(&case, 3));
            }
        }
    }
    Ok(table)
}

fn knows_the_flag(bench: &Bench, carrier: Carrier) -> bool {
    let help =
        bench.programs.of(carrier).and_then(|program| Command::new(program).arg("--help").output().ok());
    help.is_some_and(|said| String::from_utf8_lossy(&said.stdout).contains("--progress "))
}
