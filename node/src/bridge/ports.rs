//! The ports of the bridge and the tunnels of the VTEP: which belongs to which.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mvpnet_switch::{BridgePort, Instant, Vni};
use mvpnet_transports::vxlan::{Tunnel, TunnelId};

use crate::capture::{Layout, Port};

/// Both ends of every VNI.
#[derive(Debug, Default)]
pub(super) struct PortTable {
    /// By the tunnel's number.
    ports: Vec<Option<BridgePort>>,
    /// By the port's number.
    tunnels: Vec<Option<Attached>>,
}

/// What is behind a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    pub(super) tunnel: TunnelId,
    pub(super) peer: SocketAddr,
    /// The interface of the capture.
    pub(super) interface: Port,
    /// When a frame last came from there.
    pub(super) last_seen: Option<Instant>,
}

/// How long somebody may be silent without being thought away.
const SILENCE: Duration = Duration::from_secs(5);

impl Attached {
    /// Whether nothing has come from there of late.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.last_seen.is_none_or(|seen| now.saturating_since(seen) >= SILENCE)
    }
}

impl PortTable {
    pub(super) fn join(&mut self, port: BridgePort, attached: Attached) {
        *place(&mut self.tunnels, port.index()) = Some(attached);
        *place(&mut self.ports, attached.tunnel.index()) = Some(port);
    }

    pub(super) fn part(&mut self, port: BridgePort) -> Option<Attached> {
        let attached = place(&mut self.tunnels, port.index()).take()?;
        *place(&mut self.ports, attached.tunnel.index()) = None;
        Some(attached)
    }

    #[inline]
    pub(super) fn port(&self, tunnel: TunnelId) -> Option<BridgePort> {
        *self.ports.get(tunnel.index())?
    }

    #[inline]
    pub(super) fn behind(&self, port: BridgePort) -> Option<&Attached> {
        self.tunnels.get(port.index())?.as_ref()
    }

    #[inline]
    pub(super) fn heard_from(&mut self, port: BridgePort, now: Instant) -> Option<Port> {
        let attached = self.tunnels.get_mut(port.index())?.as_mut()?;
        attached.last_seen = Some(now);
        Some(attached.interface)
    }

    pub(super) fn captured_by(&mut self, port: BridgePort, interface: Port) {
        if let Some(Some(attached)) = self.tunnels.get_mut(port.index()) {
            attached.interface = interface;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Attached> {
        self.tunnels.iter().flatten()
    }
}

fn place<T>(table: &mut Vec<Option<T>>, index: usize) -> &mut Option<T> {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    &mut table[index]
}

/// The interfaces of a capture: one for each VNI that there is when it begins, and one for all that come later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    by_vni: BTreeMap<Vni, Port>,
    later: Option<Port>,
}

impl Interfaces {
    /// Lays out the capture of a bridge of this name.
    /// The second says what the file looks like; `may_grow` makes an interface for tunnels that are added later.
    pub fn lay_out(name: &str, tunnels: &[Tunnel], may_grow: bool) -> (Self, Layout) {
        let mut layout = Layout::new(format!("bridge {name}"));
        let by_vni = tunnels.iter().map(|Tunnel { vni, peer }| {
            (*vni, layout.tunnel(format!("vni{vni}"), format!("VNI {vni}, the tunnel to {peer}")))
        });
        let by_vni = by_vni.collect();
        let later =
            may_grow.then(|| layout.tunnel("later", "tunnels that were added after this capture began"));
        (Self { by_vni, later }, layout)
    }

    /// The interface of a VNI; without a capture it does not matter which.
    pub(super) fn of(&self, vni: Vni) -> Port {
        self.by_vni.get(&vni).copied().or(self.later).unwrap_or(Port::Tunnel(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vni_that_comes_later_shares_an_interface_with_all_that_do() {
        let tunnel =
            |vni| Tunnel { vni: Vni::new(vni).unwrap(), peer: SocketAddr::from(([192, 0, 2, 1], 4789)) };
        let (interfaces, _) = Interfaces::lay_out("lab", &[40, 41].map(tunnel), true);
        let of = |vni| interfaces.of(Vni::new(vni).unwrap());
        assert_eq!([of(40), of(41), of(60), of(61)], [0, 1, 2, 2].map(Port::Tunnel));
    }
}
