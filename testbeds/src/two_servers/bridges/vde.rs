//! VDE: one `vde_switch`, and for each VNI a `vde_plug` between it and VXLAN (vdeplug 4.0.1, libvdeplug_vxlan(1)).
//!
//! That plug speaks VXLAN to a multicast group and one VNI on a UDP port, so the tunnels on server1 have a group and a port
//! for each VNI. It would send to single hosts whose addresses it has learned, but keeps these without their length and
//! cannot send to them (EDESTADDRREQ): with a table of no size it learns nothing and always sends to the group.

use std::{
    fs::File,
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context, ensure};

use super::{
    super::{Host, TwoServers, VXLAN_PORT},
    need, remake_tunnels, wait_until,
};

pub(super) fn start(
    servers: &TwoServers,
    directory: &Path,
    processes: &mut Vec<Child>,
) -> anyhow::Result<()> {
    need("vde_switch", "vde2")?;
    need("vde_plug", "vdeplug")?;
    ensure!(!servers.plan().ipv6, "the groups are IPv4 groups");
    let local = servers.address(Host::Server1);
    let first = servers.plan().vni;
    // Administratively scoped (RFC 2365 §6.1).
    let place = |vni: u32| (format!("239.0.0.{}", vni - first + 1), u32::from(VXLAN_PORT) + vni - first);
    remake_tunnels(servers, |vni| {
        let (group, port) = place(vni);
        format!("local {local} group {group} dev eth0 dstport {port}")
    })?;
    let switch = directory.join("switch");
    let mut run = |program: &str, words: &[String]| {
        let log = File::create(directory.join(format!("log-{}", processes.len())))?;
        // It reads commands from a terminal, and ends with its input.
        let mut command = servers.command(Host::Server2, program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        processes.push(command.spawn().with_context(|| format!("cannot start {program}"))?);
        Ok::<(), anyhow::Error>(())
    };
    run("vde_switch", &["-s".to_owned(), switch.display().to_string()])?;
    wait_until("vde_switch", || switch.join("ctl").exists())?;
    for vni in servers.vnis() {
        let (group, port) = place(vni);
        let tunnel = format!("vxlan://{group}/vni={vni}/port={port}/if=eth0/hashsize=0");
        run("vde_plug", &[format!("vde://{}", switch.display()), tunnel])?;
    }
    let groups =
        || servers.run(Host::Server2, &["ip", "maddress", "show", "dev", "eth0"]).unwrap_or_default();
    wait_until("vde_plug", || servers.vnis().all(|vni| groups().contains(&place(vni).0)))
}
