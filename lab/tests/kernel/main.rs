//! The kernel's bridge and tunnels, made and removed in network namespaces of this machine. Needs root; elsewhere each
//! test says that it is skipped, or fails with `MVPNET_REQUIRE=all`.

mod ending;
mod namespace;
mod printed;
mod refusing;
mod setting;
mod taps;
mod traffic;
mod up_and_down;

use std::net::IpAddr;

use mvpnet_lab::kernel::{BridgePlan, Tunnel};
use mvpnet_switch::Vni;

/// A switch host at `local`, with a tunnel for each of these VNIs to `peer`.
pub fn plan(local: &str, peer: &str, vnis: impl IntoIterator<Item = u32>) -> BridgePlan {
    let peer: IpAddr = peer.parse().expect("an address");
    let tunnel = |vni| Tunnel { vni: Vni::new(vni).expect("a small number"), peer };
    BridgePlan {
        local: Some(local.parse().expect("an address")),
        tunnels: vnis.into_iter().map(tunnel).collect(),
        ..BridgePlan::new("cluster")
    }
}

/// The usual one.
pub fn two_tunnels() -> BridgePlan {
    plan("10.1.0.2", "10.1.0.1", [40, 41])
}
