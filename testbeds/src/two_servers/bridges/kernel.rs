//! The kernel's own: a Linux bridge and a vxlan interface for each VNI.

use std::ops::Range;

use super::super::{Host, TwoServers, VXLAN_PORT};

/// Makes `br0` in server2 with the tunnels of these VNIs.
pub fn make(servers: &TwoServers, vnis: Range<u32>) -> anyhow::Result<()> {
    let mtu = servers.plan().inner_mtu();
    let [local, remote] = [Host::Server2, Host::Server1].map(|host| servers.address(host));
    servers.ip(
        Host::Server2,
        &format!("link add br0 type bridge mcast_snooping 0\nlink set br0 mtu {mtu} up"),
    )?;
    for vni in vnis {
        servers.ip(
            Host::Server2,
            &format!(
                "link add vxlan{vni} type vxlan id {vni} local {local} remote {remote} dstport {VXLAN_PORT}
                 link set vxlan{vni} mtu {mtu} master br0 up"
            ),
        )?;
    }
    Ok(())
}
