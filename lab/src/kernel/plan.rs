//! What there is to be, as values.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mvpnet_switch::Vni;
use mvpnet_transports::vxlan::{OVERHEAD_V4, OVERHEAD_V6, PORT};
use thiserror::Error;

use super::names;

/// The MTU behind a VXLAN over IPv4 on a usual network.
const DEFAULT_MTU: u32 = 1500 - OVERHEAD_V4;
/// The smallest MTU that IPv4 has (RFC 791 §3.2), and the kernel's for Ethernet.
const MIN_MTU: u32 = 68;
/// The largest that fits with its headers into an IP packet.
const MAX_MTU: u32 = 65535 - OVERHEAD_V6;

/// The most ports of a kernel bridge.
pub(super) const MAX_PORTS: usize = 1023;

/// A tunnel: one guest's way to the other host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its number on the wire.
    pub vni: Vni,
    /// The host at the other end.
    pub peer: IpAddr,
}

/// How bridges join the tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// One bridge, `br-NAME`, for all: they are one network. What the switch host has.
    #[default]
    Shared,
    /// A bridge of its own for each, `mvbr40`, into which [`plug_in`](super::plug_in) puts the guest's tap:
    /// nothing passes from guest to guest. What the guests' host has.
    PerGuest,
}

/// Bridges and tunnels that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePlan {
    /// What they are called together; part of their mark and of the bridge's name.
    pub name: String,
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// The address that tunnels begin at; none: as the route to the peer has it.
    pub local: Option<IpAddr>,
    /// The interface that tunnels are bound to; none: they go out as the route to the peer has it. Link-local peers
    /// need one. A bound tunnel costs something: the kernel drops what is too large for it without telling the guest.
    pub device: Option<String>,
    /// The UDP port, here and at the peers.
    pub port: u16,
    /// The guests' MTU: what the path carries, less the headers.
    pub mtu: u32,
    /// How bridges join the tunnels.
    pub layout: Layout,
}

/// Why a plan makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Characters that a lab's name cannot have.
    #[error("`{0}` is no name for a bridge: letters, digits, `-`, `_` and `.` make one")]
    Name(String),
    /// Characters that an interface's name cannot have.
    #[error("`{0}` is no name of an interface")]
    Interface(String),
    /// Too long for Linux.
    #[error("the interface name `{name}` is longer than the {max} bytes that Linux allows")]
    LongName {
        /// The name.
        name: String,
        /// The most bytes.
        max: usize,
    },
    /// More tunnels than the kernel has ports for.
    #[error(
        "a bridge of the kernel has {MAX_PORTS} ports at most, not {0}: the bridge in user space has more"
    )]
    TooMany(usize),
    /// The same VNI twice.
    #[error("VNI {0} is there twice: each tunnel needs one of its own")]
    Twice(Vni),
    /// Nothing can be sent to this address, or not to one host.
    #[error("{peer} cannot be the far end of VNI {vni}: it is not the address of one other host")]
    Peer {
        /// The tunnel.
        vni: Vni,
        /// The address.
        peer: IpAddr,
    },
    /// A link-local address without an interface.
    #[error("the link-local peer {peer} of VNI {vni} needs to be told the interface that it is behind")]
    NoDevice {
        /// The tunnel.
        vni: Vni,
        /// The address.
        peer: IpAddr,
    },
    /// IPv4 at one end and IPv6 at the other.
    #[error("VNI {vni} cannot go from {local} to {peer}: both ends are IPv4 or both are IPv6")]
    Families {
        /// The tunnel.
        vni: Vni,
        /// The near end.
        local: IpAddr,
        /// The far end.
        peer: IpAddr,
    },
    /// The local address is none of a host.
    #[error("tunnels cannot begin at {0}: it is not the address of a host")]
    Local(IpAddr),
    /// Port zero.
    #[error("the UDP port of a tunnel cannot be 0")]
    Port,
    /// No interface can have this MTU.
    #[error("an MTU of {mtu} bytes is not possible: {MIN_MTU} to {MAX_MTU} are")]
    Mtu {
        /// The MTU.
        mtu: u32,
    },
}

impl Tunnel {
    /// The name of its interface, `vxlan40`.
    pub fn interface(&self) -> String {
        names::vxlan(self.vni)
    }

    /// The name of its guest's tap, `mvtap40`.
    pub fn tap(&self) -> String {
        names::tap(self.vni)
    }
}

impl BridgePlan {
    /// A bridge without tunnels yet, on the usual port, with the MTU of a usual network.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tunnels: Vec::new(),
            local: None,
            device: None,
            port: PORT,
            mtu: DEFAULT_MTU,
            layout: Layout::Shared,
        }
    }

    /// The name of the bridge that a tunnel is a port of.
    pub fn bridge_of(&self, tunnel: &Tunnel) -> String {
        match self.layout {
            Layout::Shared => names::bridge(&self.name),
            Layout::PerGuest => names::guest_bridge(tunnel.vni),
        }
    }

    /// Whether it makes sense. Whoever uses the plan asks this.
    pub fn check(&self) -> Result<(), PlanError> {
        names::check(&self.name)?;
        self.device.as_deref().map_or(Ok(()), names::check_interface)?;
        if !(MIN_MTU..=MAX_MTU).contains(&self.mtu) {
            return Err(PlanError::Mtu { mtu: self.mtu });
        }
        if self.port == 0 {
            return Err(PlanError::Port);
        }
        if let Some(local) = self.local.filter(|local| !is_of_a_host(*local)) {
            return Err(PlanError::Local(local));
        }
        if self.layout == Layout::Shared && self.tunnels.len() > MAX_PORTS {
            return Err(PlanError::TooMany(self.tunnels.len()));
        }
        let mut vnis = BTreeSet::new();
        for tunnel in &self.tunnels {
            if !vnis.insert(tunnel.vni) {
                return Err(PlanError::Twice(tunnel.vni));
            }
            self.check_ends(*tunnel)?;
        }
        Ok(())
    }

    fn check_ends(&self, Tunnel { vni, peer }: Tunnel) -> Result<(), PlanError> {
        if !is_of_a_host(peer) || self.local == Some(peer) {
            return Err(PlanError::Peer { vni, peer });
        }
        if let Some(local) = self.local.filter(|local| local.is_ipv4() != peer.is_ipv4()) {
            return Err(PlanError::Families { vni, local, peer });
        }
        let is_link_local = matches!(peer, IpAddr::V6(peer) if peer.is_unicast_link_local());
        if is_link_local && self.device.is_none() {
            return Err(PlanError::NoDevice { vni, peer });
        }
        Ok(())
    }
}

fn is_of_a_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || is_broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(local: &str, peers: &[(u32, &str)]) -> BridgePlan {
        let tunnel =
            |(vni, peer): &(u32, &str)| Tunnel { vni: Vni::new(*vni).unwrap(), peer: peer.parse().unwrap() };
        BridgePlan {
            local: Some(local.parse().unwrap()),
            tunnels: peers.iter().map(tunnel).collect(),
            ..BridgePlan::new("cluster")
        }
    }

    fn refusal(plan: &BridgePlan) -> String {
        plan.check().unwrap_err().to_string()
    }

    #[test]
    fn tunnels_to_one_host_and_to_several_make_sense() {
        assert_eq!(plan("10.0.0.2", &[]).check(), Ok(()));
        assert_eq!(plan("10.0.0.2", &[(40, "10.0.0.1"), (41, "10.0.0.1"), (50, "10.0.0.9")]).check(), Ok(()));
        assert_eq!(plan("fd00::2", &[(40, "fd00::1")]).check(), Ok(()));
    }

    #[test]
    fn a_vni_is_there_once() {
        let refused = refusal(&plan("10.0.0.2", &[(40, "10.0.0.1"), (40, "10.0.0.9")]));
        assert_eq!(refused, "VNI 40 is there twice: each tunnel needs one of its own");
    }

    #[test]
    fn the_far_end_is_another_host() {
        for peer in ["0.0.0.0", "239.1.1.1", "255.255.255.255", "10.0.0.2"] {
            let refused = refusal(&plan("10.0.0.2", &[(40, peer)]));
            assert!(refused.starts_with(&format!("{peer} cannot be the far end of VNI 40")), "{refused}");
        }
        let refused = refusal(&plan("10.0.0.2", &[(40, "fd00::1")]));
        assert_eq!(refused, "VNI 40 cannot go from 10.0.0.2 to fd00::1: both ends are IPv4 or both are IPv6");
    }

    #[test]
    fn a_link_local_peer_is_behind_an_interface() {
        let mut plan = plan("fe80::2", &[(40, "fe80::1")]);
        assert!(refusal(&plan).contains("needs to be told the interface"));
        plan.device = Some("eth0".to_owned());
        assert_eq!(plan.check(), Ok(()));
        plan.device = Some("eth0; reboot".to_owned());
        assert!(refusal(&plan).contains("is no name of an interface"));
    }

    #[test]
    fn one_bridge_has_a_limited_number_of_ports() {
        let tunnels: Vec<(u32, &str)> = (0..1024).map(|vni| (vni, "10.0.0.1")).collect();
        assert_eq!(plan("10.0.0.2", &tunnels[1..]).check(), Ok(()));
        let all = plan("10.0.0.2", &tunnels);
        assert_eq!(all.check(), Err(PlanError::TooMany(1024)));
        assert_eq!(BridgePlan { layout: Layout::PerGuest, ..all }.check(), Ok(()));
    }

    #[test]
    fn ports_and_mtus_have_bounds() {
        let sound = plan("10.0.0.2", &[]);
        assert_eq!(refusal(&BridgePlan { port: 0, ..sound.clone() }), "the UDP port of a tunnel cannot be 0");
        let refused = refusal(&BridgePlan { mtu: 67, ..sound.clone() });
        assert_eq!(refused, "an MTU of 67 bytes is not possible: 68 to 65465 are");
        assert!(BridgePlan { mtu: 65466, ..sound }.check().is_err());
    }

    #[test]
    fn guests_that_must_not_meet_have_a_bridge_each() {
        let mut plan = plan("10.0.0.1", &[(40, "10.0.0.2")]);
        assert_eq!(plan.bridge_of(&plan.tunnels[0]), "br-cluster");
        plan.layout = Layout::PerGuest;
        assert_eq!(plan.bridge_of(&plan.tunnels[0]), "mvbr40");
        assert_eq!(plan.tunnels[0].tap(), "mvtap40");
    }
}
