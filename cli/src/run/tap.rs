//! `--tap`: a guest whose frames the host's kernel carries, by a tap, a bridge and a vxlan interface of its own.

use std::sync::Arc;

use mvpnet_lab::kernel::{self, BridgePlan, Layout, Tunnel};
use mvpnet_node::job::HostTap;
use mvpnet_qemu_driver::supervise::Leftover;
use mvpnet_switch::Vni;

use super::tunnel::Ends;

/// The interfaces of one guest.
#[derive(Debug)]
pub struct TapPlan {
    plan: BridgePlan,
    tunnel: Tunnel,
}

impl TapPlan {
    /// For the guest with this VNI.
    pub fn new(vni: Vni, to: &Ends) -> Self {
        let tunnel = Tunnel { vni, peer: to.peer.ip() };
        let plan = BridgePlan {
            tunnels: vec![tunnel],
            local: Some(to.listen.ip()),
            port: to.listen.port(),
            mtu: to.mtu,
            layout: Layout::PerGuest,
            ..BridgePlan::new(&format!("vni{vni}"))
        };
        Self { plan, tunnel }
    }

    /// What must not outlive the guest.
    pub fn leftovers(&self) -> impl Iterator<Item = Leftover> + use<> {
        let bridge = self.plan.bridge_of(&self.tunnel);
        [bridge, self.tunnel.interface(), self.tunnel.tap()].into_iter().map(Leftover::Interface)
    }

    /// The tap, to be made with the rest when the guest is started.
    pub fn tap(self) -> HostTap {
        let interface = self.tunnel.tap();
        HostTap { interface, make: Arc::new(move || self.make()) }
    }

    fn make(&self) -> Result<(), String> {
        let (tap, bridge) = (self.tunnel.tap(), self.plan.bridge_of(&self.tunnel));
        kernel::up(&self.plan).map_err(|error| error.to_string())?;
        kernel::plug_in(&tap, &bridge).map_err(|error| error.to_string())
    }
}
