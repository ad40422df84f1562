//! An interface as the kernel has it: as much of it as matters here.

use std::net::IpAddr;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub alias: Option<String>,
    pub group: u32,
    pub is_up: bool,
    pub mtu: u32,
    /// The index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// Whether it gives itself an IPv6 address when it goes up; none where there is no IPv6.
    pub makes_address: Option<bool>,
    pub kind: LinkKind,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkKind {
    Bridge(BridgeSettings),
    Vxlan(VxlanSettings),
    /// A tun or tap.
    Tap,
    /// Anything else, as the kernel calls it; an empty name: hardware.
    Other(String),
}

/// How a bridge is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BridgeSettings {
    /// Spanning tree.
    pub stp: bool,
    /// How long a new port only listens, in hundredths of a second.
    pub forward_delay: u32,
    /// Whether multicast goes only where somebody asked for it.
    pub snooping: bool,
}

/// How a tunnel is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VxlanSettings {
    pub vni: u32,
    pub peer: Option<IpAddr>,
    pub local: Option<IpAddr>,
    /// The index of the interface that it is bound to.
    pub device: Option<u32>,
    pub port: u16,
    /// Whether it follows the addresses that datagrams come from.
    pub learning: bool,
    /// Whether outer IPv4 packets must not be fragmented.
    pub df: bool,
    /// Whether outer IPv4 datagrams have a checksum.
    pub sums: bool,
    /// Whether IPv6 datagrams without a checksum are accepted.
    pub accepts_no_sum6: bool,
}

impl LinkKind {
    /// What the kernel calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Vxlan(_) => "vxlan",
            Self::Tap => "tap",
            Self::Other(name) if name.is_empty() => "device",
            Self::Other(name) => name,
        }
    }
}

impl VxlanSettings {
    /// Whether the kernel refuses to have both: the same datagrams would be for either.
    pub fn collides_with(&self, other: &Self) -> bool {
        let is_v6 =
            |settings: &Self| settings.peer.or(settings.local).is_some_and(|address| address.is_ipv6());
        self.vni == other.vni && self.port == other.port && is_v6(self) == is_v6(other)
    }
}

#[cfg(test)]
impl Link {
    /// An interface that is nothing special.
    pub fn other(index: u32, name: &str, kind: &str) -> Self {
        Self {
            index,
            name: name.to_owned(),
            alias: None,
            group: 0,
            is_up: true,
            mtu: 1500,
            master: None,
            makes_address: Some(true),
            kind: LinkKind::Other(kind.to_owned()),
        }
    }
}
