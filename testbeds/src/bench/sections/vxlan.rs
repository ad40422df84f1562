//! Four bridges side by side, each between the same two guests behind the same kernel tunnels: `mvpnet bridge`, the
//! kernel's, Open vSwitch in user space, VDE. The guests are namespaces, so that no emulation hides the bridge. At
//! last, what becomes of every frame in ours.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};

use super::super::{
    Bench, Series,
    table::{Row, Table, Target, median},
};
use crate::two_servers::{
    Host, Plan, TwoServers,
    bridges::{Bridge, Kind, Status},
    traffic::{Load, settle, tcp},
};

const GUESTS: [Host; 2] = [Host::Guest(0), Host::Guest(1)];

/// What is measured of each bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// TCP between guests that leave nothing to their cards: what a real wire carries.
    OffloadOff,
    /// TCP between guests that leave checksums and segmentation to their cards.
    OffloadOn,
    /// Short frames, from so many generators.
    Short(u32),
}

impl Case {
    const ALL: [Case; 4] = [Case::OffloadOff, Case::OffloadOn, Case::Short(1), Case::Short(2)];

    fn name(self) -> String {
        match self {
            Case::OffloadOff => "TCP, offload off".to_owned(),
            Case::OffloadOn => "TCP, offload on".to_owned(),
            Case::Short(1) => "64 B, 1 generator".to_owned(),
            Case::Short(senders) => format!("64 B, {senders} generators"),
        }
    }

    /// How much of a rival's rate ours has to reach.
    fn target(self, rival: Kind) -> Target {
        match (rival, self) {
            (Kind::Kernel, Case::OffloadOff) => Target::AtLeast(0.75),
            (Kind::Kernel, Case::OffloadOn) => Target::AtLeast(0.2),
            (Kind::Kernel, Case::Short(_)) => Target::AtLeast(0.35),
            _ => Target::AtLeast(1.0),
        }
    }
}

/// The programs that this is about.
struct Programs {
    mvpnet: PathBuf,
    pps: PathBuf,
}

impl Programs {
    fn find(bench: &Bench) -> anyhow::Result<Programs> {
        ensure!(nix::unistd::geteuid().is_root(), "making network namespaces needs root");
        let mvpnet = bench.programs.target.join("release/mvpnet");
        let pps = bench.programs.loadgen.with_file_name("mvpnet-pps");
        for program in [&mvpnet, &pps] {
            ensure!(program.exists(), "{} is not there: call ci/bench", program.display());
        }
        Ok(Programs { mvpnet, pps })
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let title = "VXLAN: a bridge between two guests behind kernel tunnels; TCP in Gbit/s, frames of 64 bytes in \
                 thousands a second; the targets are for mvpnet's over this one's";
    let mut table = Table::new("vxlan", title, "rate", &["mvpnet/this", "offload on server1"]);
    let programs = match Programs::find(bench) {
        Ok(programs) => programs,
        Err(error) => {
            let mut row = Row::new("all", Kind::Mvpnet, Vec::new());
            row.failure = Some(format!("{error:#}"));
            table.rows.push(row);
            return Ok(table);
        }
    };
    for case in Case::ALL {
        let all = bench.rounds(&case.name(), &Kind::ALL, |bench, kind| {
            Ok(vec![rate(&programs, case, kind, bench.options.window())?])
        })?;
        table.rows.extend(all.iter().map(|series| row(case, series, &all)));
    }
    table.rows.extend(accounts(bench, &programs)?);
    Ok(table)
}

fn row(case: Case, series: &Series<Kind>, all: &[Series<Kind>]) -> Row {
    let mut row = series.row(&case.name(), 0);
    let ours =
        all.iter().find(|other| other.carrier == Kind::Mvpnet).and_then(|ours| median(&ours.column(0)));
    row.notes = vec![String::new(), if spares_offload(case, series.carrier) { "off" } else { "" }.to_owned()];
    if series.carrier != Kind::Mvpnet {
        row.judged = ours.zip(row.median).map(|(ours, rival)| ours / rival);
        row.target = Some(case.target(series.carrier));
        row.notes[0] = row.judged.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    }
    row
}

/// Where a bridge cannot do with unfinished frames, server1 finishes them before the cable.
fn spares_offload(case: Case, kind: Kind) -> bool {
    case == Case::OffloadOn && !kind.knows_offload()
}

/// Gbit/s, or thousands of frames per second.
fn rate(programs: &Programs, case: Case, kind: Kind, window: Duration) -> anyhow::Result<f64> {
    let (servers, _bridge) = lay(programs, kind)?;
    if spares_offload(case, kind) {
        servers.offload(Host::Server1, "eth0", false)?;
    }
    for guest in GUESTS {
        servers.offload(guest, "eth0", case == Case::OffloadOn)?;
    }
    settle(&servers, GUESTS[0], GUESTS[1])?;
    Ok(match case {
        Case::Short(senders) => {
            let load = Load { program: &programs.pps, senders, rate: None, window };
            load.rate_of_arrival(&servers)? / 1e3
        }
        _ => tcp(&servers, GUESTS[0], GUESTS[1], window)?.bits_per_second / 1e9,
    })
}

/// Two guests, their tunnels, and a bridge.
fn lay(programs: &Programs, kind: Kind) -> anyhow::Result<(TwoServers, Bridge)> {
    let servers = TwoServers::up(Plan::with_guests(2))?;
    let bridge = Bridge::start(kind, &servers, &programs.mvpnet)?;
    Ok((servers, bridge))
}

/// At half of the maximum rate nothing is lost; at more than it, what is lost is in a counter.
fn accounts(bench: &mut Bench, programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let window = bench.options.window();
    let all = bench.rounds("VXLAN accounts", &[Kind::Mvpnet], |_, kind| {
        let most = rate(programs, Case::Short(1), kind, window)? * 1e3;
        let half = account(programs, Some(most / 2.0), 1, window)?;
        let full = account(programs, None, 2, window)?;
        Ok(vec![half.lost as f64, full.lost as f64, full.uncounted as f64, full.sent as f64])
    })?;
    let series = &all[0];
    let row = |case: &str, column, judged| {
        let mut row = series.row(case, column);
        if judged {
            row.judge_value(Target::AtMost(0.0));
        }
        row
    };
    Ok(vec![
        row("64 B, half of its maximum: frames lost", 0, true),
        row("64 B, all that 2 generators send: frames lost", 1, false),
        row("64 B, the same: frames lost without a counter", 2, true),
    ])
}

/// What became of a number of frames.
struct Account {
    sent: u64,
    lost: u64,
    uncounted: u64,
}

fn account(
    programs: &Programs,
    rate: Option<f64>,
    senders: u32,
    window: Duration,
) -> anyhow::Result<Account> {
    let (servers, _bridge) = lay(programs, Kind::Mvpnet)?;
    settle(&servers, GUESTS[0], GUESTS[1])?;
    // The guests say nothing by themselves from now on, so that each frame is one of ours.
    for guest in GUESTS {
        let quiet = "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6 && ip link set eth0 arp off";
        servers.run(guest, &["sh", "-c", quiet])?;
    }
    let before = Status::of(&servers, &programs.mvpnet)?;
    let volley = Load { program: &programs.pps, senders, rate, window }.volley(&servers)?;
    let after = Status::of(&servers, &programs.mvpnet)?;
    ensure!(after.books_balance, "the books of the bridge do not balance: {after:?}");
    let lost = volley.sent.saturating_sub(volley.arrived);
    let counted = after.lost().checked_sub(before.lost()).context("counters only grow")?;
    if lost > counted {
        eprintln!("lost {lost} of {}, counted {counted}: {after:?}", volley.sent);
    }
    Ok(Account { sent: volley.sent, lost, uncounted: lost.saturating_sub(counted) })
}
