//! What is there, for people and programs.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::link::{Link, LinkKind};
use super::names::Mark;

/// What is there under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// The name.
    pub name: String,
    /// Each bridge, with its ports after it.
    pub interfaces: Vec<Interface>,
}

/// An interface of ours, or a port of a bridge of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `bridge`, `vxlan`, `tap`, or what else the kernel calls it.
    pub kind: String,
    /// Whether mvpnet made it, and [`down()`](super::down) removes it.
    pub ours: bool,
    /// Whether it is switched on.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// Where it leads to, if it is a tunnel.
    pub tunnel: Option<TunnelState>,
}

/// Where a tunnel leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelState {
    /// Its number on the wire.
    pub vni: u32,
    /// The far end.
    pub peer: Option<IpAddr>,
    /// The near end, if it is set.
    pub local: Option<IpAddr>,
    /// The interface that it is bound to, if it is.
    pub device: Option<String>,
    /// The UDP port.
    pub port: u16,
    /// Whether it follows the addresses that datagrams come from; ours do not.
    pub learning: bool,
}

impl State {
    pub(super) fn new(name: &str, links: &[Link]) -> Self {
        let mark = Mark::new(name);
        let name_of = |index| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
        let our_bridges: Vec<u32> =
            links.iter().filter(|link| mark.is_on(link)).map(|link| link.index).collect();
        let mut interfaces: Vec<Interface> = links
            .iter()
            .filter(|link| {
                mark.is_on(link) || link.master.is_some_and(|master| our_bridges.contains(&master))
            })
            .map(|link| Interface {
                name: link.name.clone(),
                kind: link.kind.name().to_owned(),
                ours: mark.is_on(link),
                up: link.is_up,
                mtu: link.mtu,
                bridge: link.master.and_then(name_of),
                tunnel: tunnel(link, name_of),
            })
            .collect();
        interfaces.sort_by_cached_key(Interface::place);
        Self { name: name.to_owned(), interfaces }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.interfaces.is_empty()
    }
}

impl Interface {
    /// Bridges by name, and after each its tunnels by number and its other ports by name.
    fn place(&self) -> (String, bool, u32, String) {
        let bridge = self.bridge.clone().unwrap_or_else(|| self.name.clone());
        let vni = self.tunnel.as_ref().map_or(u32::MAX, |tunnel| tunnel.vni);
        (bridge, self.bridge.is_some(), vni, self.name.clone())
    }
}

fn tunnel(link: &Link, name_of: impl Fn(u32) -> Option<String>) -> Option<TunnelState> {
    let LinkKind::Vxlan(settings) = link.kind else { return None };
    Some(TunnelState {
        vni: settings.vni,
        peer: settings.peer,
        local: settings.local,
        device: settings.device.and_then(name_of),
        port: settings.port,
        learning: settings.learning,
    })
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = if self.bridge.is_some() { "    " } else { "" };
        write!(f, "{indent}{}: {}", self.name, self.kind)?;
        if let Some(tunnel) = &self.tunnel {
            write!(f, " {tunnel}")?;
        }
        write!(f, ", {}, MTU {}", if self.up { "up" } else { "down" }, self.mtu)?;
        if self.ours { Ok(()) } else { f.write_str(", not ours") }
    }
}

impl fmt::Display for TunnelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.vni)?;
        if let Some(local) = self.local {
            write!(f, " from {local}")?;
        }
        if let Some(peer) = self.peer {
            write!(f, " to {peer}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " by {device}")?;
        }
        write!(f, ", UDP port {}", self.port)
    }
}

/// A line for each interface, with its end.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.interfaces.iter().try_for_each(|interface| writeln!(f, "{interface}"))
    }
}
