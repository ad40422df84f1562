//! Open vSwitch with its user-space datapath: the bridge `br-phy` holds server2's cable and address, and `br-int` a
//! tunnel for each VNI (the layout of its guide "Connecting VMs Using Tunnels (Userspace)").
//!
//! It sees what a packet socket sees, so the tunnels on server1 are made without a checksum in their UDP header (as
//! RFC 7348 §5 wants it anyway): over a veth the kernel would leave it unfinished.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use super::{
    super::{Host, TwoServers, VXLAN_PORT, output_of},
    need, remake_tunnels, wait_until,
};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

pub(super) fn start(
    servers: &TwoServers,
    directory: &Path,
    processes: &mut Vec<Child>,
) -> anyhow::Result<()> {
    need("ovs-vswitchd", "openvswitch-switch")?;
    let [local, remote] = [Host::Server2, Host::Server1].map(|host| servers.address(host));
    // Seen from server1, which is at their other end.
    remake_tunnels(servers, |_| format!("local {remote} remote {local} dstport {VXLAN_PORT} noudpcsum"))?;
    let at = |name: &str| directory.join(name).display().to_string();
    let (database, socket) = (at("conf.db"), at("db.sock"));
    output_of(Command::new("ovsdb-tool").args(["create", &database, SCHEMA]))?;
    let mut run = |program: &str, words: &[String]| {
        let log = File::create(directory.join(program))?;
        let mut command = servers.command(Host::Server2, program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, directory);
        }
        command.args(words).stdout(Stdio::null()).stderr(log);
        processes.push(command.spawn().with_context(|| format!("cannot start {program}"))?);
        Ok::<(), anyhow::Error>(())
    };
    let control = |name: &str| format!("--unixctl={}", at(name));
    run("ovsdb-server", &[database, format!("--remote=punix:{socket}"), control("db.ctl")])?;
    wait_until("the database of Open vSwitch", || Path::new(&socket).exists())?;
    configure(&socket, "--no-wait init")?;
    run("ovs-vswitchd", &[format!("unix:{socket}"), control("vs.ctl")])?;
    configure(&socket, "add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy eth0")?;
    configure(&socket, "add-br br-int -- set bridge br-int datapath_type=netdev")?;
    for vni in servers.vnis() {
        configure(
            &socket,
            &format!(
                "add-port br-int vx{vni} -- set interface vx{vni} type=vxlan options:local_ip={local} \
                 options:remote_ip={remote} options:key={vni}"
            ),
        )?;
    }
    let width = if local.is_ipv4() { 24 } else { 64 };
    servers.ip(
        Host::Server2,
        &format!("address delete {local}/{width} dev eth0\naddress add {local}/{width} dev br-phy\nlink set br-phy up"),
    )
}

/// `ovs-vsctl`, which waits until the switch has done it.
fn configure(socket: &str, words: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ovs-vsctl");
    command.args([&format!("--db=unix:{socket}"), "--timeout=20"]).args(words.split_whitespace());
    output_of(&mut command).map(|_| ())
}
