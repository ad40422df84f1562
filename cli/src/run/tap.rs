//! `--tap`: a guest whose frames the host's kernel carries, by a tap, a bridge and a vxlan interface of its own.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mvpnet_lab::kernel::{self, BridgePlan, Layout, Tunnel};
use mvpnet_node::job::HostTap;
use mvpnet_qemu_driver::supervise::Leftover;
use mvpnet_switch::Vni;

use super::tunnel::Ends;

/// How long the kernel may take to show an interface that was made.
const APPEARANCE: Duration = Duration::from_secs(5);

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
        // Kept until it is deleted, so that it is in its bridge before the guest sends, and still after a restart.
        let made = Command::new("ip").args(["tuntap", "add", "dev", &tap, "mode", "tap"]).output();
        let made = made.map_err(|error| format!("`ip` of iproute2: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
        }
        kernel::attach_tap(&tap, &bridge, APPEARANCE).map_err(|error| error.to_string())
    }
}
