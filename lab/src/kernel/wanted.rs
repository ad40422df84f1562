//! What a plan comes to: interfaces, with all that is set on them.

use super::link::{BridgeSettings, VxlanSettings};
use super::names;
use super::plan::{BridgePlan, Layout, PlanError, Tunnel};

/// The least MTU of a tunnel's interface, if it is not bound to another one, whose MTU it then cannot exceed. It is
/// larger than the guests' on purpose: what is too large for the interface a bridge drops without a word, but what is
/// too large for the *path* the kernel answers with ICMP, in a bridge too (Linux 5.9), so that the guest is told (RFC
/// 1191 §4, RFC 4443 §3.2).
const PORT_MTU: u32 = 9216;

/// An interface that there is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub name: String,
    pub mtu: u32,
    /// The bridge that it is a port of.
    pub master: Option<String>,
    pub kind: WantedKind,
}

/// What it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WantedKind {
    Bridge,
    Vxlan(WantedTunnel),
}

/// How a tunnel is to be set, but for the number that its interface has today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedTunnel {
    /// The interface that it is bound to.
    pub device: Option<String>,
    settings: VxlanSettings,
}

/// How every bridge is set. Without spanning tree, and so without a delay before a new port forwards: there is no
/// second way between two guests. Without snooping: multicast, by which IPv6 finds its neighbours, goes to every
/// guest, as in our own switch, whatever a guest has reported and whether or not the report arrived.
pub(super) const BRIDGE: BridgeSettings = BridgeSettings { stp: false, forward_delay: 0, snooping: false };

impl WantedTunnel {
    /// All settings, with the index of the interface that it is bound to.
    pub fn settings(&self, device: Option<u32>) -> VxlanSettings {
        VxlanSettings { device, ..self.settings }
    }
}

/// The interfaces of a plan, bridges before their ports.
pub(super) fn wanted(plan: &BridgePlan) -> Result<Vec<Wanted>, PlanError> {
    plan.check()?;
    let bridge = |name| Wanted { name, mtu: plan.mtu, master: None, kind: WantedKind::Bridge };
    let tunnel = |tunnel: &Tunnel| Wanted {
        name: tunnel.interface(),
        mtu: if plan.device.is_none() { plan.mtu.max(PORT_MTU) } else { plan.mtu },
        master: Some(plan.bridge_of(tunnel)),
        kind: WantedKind::Vxlan(WantedTunnel {
            device: plan.device.clone(),
            settings: settings(plan, tunnel),
        }),
    };
    let tunnels = plan.tunnels.iter();
    Ok(match plan.layout {
        Layout::Shared => {
            [bridge(names::bridge(&plan.name))].into_iter().chain(tunnels.map(tunnel)).collect()
        }
        Layout::PerGuest => tunnels.flat_map(|t| [bridge(plan.bridge_of(t)), tunnel(t)]).collect(),
    })
}

fn settings(plan: &BridgePlan, tunnel: &Tunnel) -> VxlanSettings {
    let is_v4 = tunnel.peer.is_ipv4();
    VxlanSettings {
        vni: tunnel.vni.value(),
        peer: Some(tunnel.peer),
        local: plan.local,
        device: None,
        port: plan.port,
        // It has one far end, and a datagram that pretends to be from elsewhere must not move it.
        learning: false,
        // RFC 7348 §4.3: VTEPs do not fragment.
        df: is_v4,
        sums: true,
        // RFC 7348 §5 has other VTEPs send none, which RFC 6935 §5 permits to tunnels over IPv6.
        accepts_no_sum6: !is_v4,
    }
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::Vni;

    use super::*;

    fn plan(layout: Layout) -> BridgePlan {
        let tunnel = |vni| Tunnel { vni: Vni::new(vni).unwrap(), peer: "10.0.0.1".parse().unwrap() };
        BridgePlan { tunnels: vec![tunnel(40), tunnel(41)], layout, ..BridgePlan::new("cluster") }
    }

    fn ports(plan: &BridgePlan) -> Vec<(String, Option<String>)> {
        wanted(plan).unwrap().into_iter().map(|wanted| (wanted.name, wanted.master)).collect()
    }

    #[test]
    fn bridges_come_before_their_ports() {
        let port = |name: &str, master: Option<&str>| (name.to_owned(), master.map(str::to_owned));
        assert_eq!(
            ports(&plan(Layout::Shared)),
            [
                port("br-cluster", None),
                port("vxlan40", Some("br-cluster")),
                port("vxlan41", Some("br-cluster"))
            ]
        );
        assert_eq!(
            ports(&plan(Layout::PerGuest)),
            [
                port("mvbr40", None),
                port("vxlan40", Some("mvbr40")),
                port("mvbr41", None),
                port("vxlan41", Some("mvbr41"))
            ]
        );
    }

    #[test]
    fn a_bridge_has_the_guests_mtu_and_its_ports_have_more() {
        let mtus: Vec<u32> = wanted(&plan(Layout::Shared)).unwrap().iter().map(|wanted| wanted.mtu).collect();
        assert_eq!(mtus, [1450, PORT_MTU, PORT_MTU]);
    }
}
