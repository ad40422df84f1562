//! Many hosts with a TCP/IP stack boot: DHCP, ARP, and one ping to a neighbour each.

use std::time::Duration;

use mvpnet_sim::{Failure, LinkModel, Sim};
use mvpnet_testbeds::bench::table::{Row, Table, Target};

use super::seconds;

pub(super) fn measure(ranks: u32) -> Result<Table, Failure> {
    let mut table = Table::new(
        "simulation-boot",
        "Simulation: hosts boot (DHCP, ARP, one ping to the neighbour)",
        "s",
        &["MiB"],
    );
    let mut sim = Sim::new(1, ranks).links(LinkModel::CLUSTER_10G);
    let (took, ()) = seconds(|| {
        for rank in 0..ranks {
            sim.client(rank, async move |host| {
                host.ping(host.address_of((rank + 1) % ranks), Duration::from_secs(1)).await?;
                Ok(())
            });
        }
        sim.run()
    })?;
    let mut row = Row::new(format!("{ranks} hosts"), "mvpnet sim", vec![took]);
    let resident = resident_mib();
    row.notes = vec![resident.map(|mib| format!("{mib:.0}")).unwrap_or_default()];
    row.judge_value(Target::AtMost(60.0));
    table.rows.push(row);
    let mut row = Row::new(format!("{ranks} hosts: MiB"), "mvpnet sim", resident.into_iter().collect());
    row.judge_value(Target::AtMost(4096.0));
    table.rows.push(row);
    Ok(table)
}

/// The most memory that this process has had (proc(5), `VmHWM`).
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
