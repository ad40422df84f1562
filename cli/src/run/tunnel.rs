//! The way from `--remote HOST` to tunnels: names to addresses, the address of this machine that the far end answers
//! to, and the MTU that is left for guests.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

use mvpnet_switch::Vni;
use mvpnet_transports::mem::MemTransport;
use mvpnet_transports::vxlan::probe::{PathMtu, Probe, Reach};
use mvpnet_transports::vxlan::{TunnelTransport, inner_mtu, tunnels};

use crate::args::{Tunnel, Usage};

/// The two ends of the tunnels, found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where VXLAN comes to.
    pub listen: SocketAddr,
    /// Where it goes.
    pub peer: SocketAddr,
    /// The longest IP packet that guests can send.
    pub mtu: u32,
    /// Both ends, for people.
    pub described: String,
}

/// Finds out where the ends of the tunnels are and what the path between them carries. `mtu` is what the user wants
/// the guests to have.
pub fn find(tunnel: &Tunnel, mtu: Option<u32>) -> Result<Ends, Usage> {
    let peer = resolve(&tunnel.remote, tunnel.remote_port)?;
    let here = match tunnel.listen {
        Some(here) if here.is_ipv4() != peer.is_ipv4() => {
            return Err(Usage::Tunnel(format!(
                "--listen {here} and --remote {peer} are not of one kind: both IPv4 or both IPv6"
            )));
        }
        Some(here) => here,
        None => route_to(peer)?,
    };
    let listen = SocketAddr::new(here, tunnel.port);
    check_ends(tunnel, listen, peer)?;
    let probe = Probe { from: Some(here), attempts: 2, ..Probe::new(peer) };
    let route = probe.route_mtu().map_err(|error| Usage::Tunnel(error.to_string()))?;
    let (path, found) = ask(&probe, route);
    let mtu = guest_mtu(mtu, path, peer)?;
    let described = format!("VXLAN from {listen} to {peer}, guests' MTU {mtu}: {found}");
    Ok(Ends { listen, peer, mtu, described })
}

/// Finds what cannot be an end of a tunnel from here.
fn check_ends(tunnel: &Tunnel, listen: SocketAddr, peer: SocketAddr) -> Result<(), Usage> {
    if listen == peer {
        return Err(Usage::Tunnel(format!(
            "--remote {} is this machine itself, and the guests' tunnels would end at {listen} at both ends: name the server \
             that `mvpnet bridge` runs on; a bridge on this machine has a port of its own (--remote {}:PORT)",
            tunnel.remote, tunnel.remote
        )));
    }
    match UdpSocket::bind((listen.ip(), 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Err(Usage::Tunnel(format!(
            "--listen {}: this machine does not have that address; `ip address` shows those that it has",
            listen.ip()
        ))),
        // Whatever else is wrong is told by who needs the port.
        _ => Ok(()),
    }
}

/// Makes a tunnel for each of `fabric`.
pub fn make(ends: &Ends, first: Vni, fabric: Vec<MemTransport>) -> Result<Vec<TunnelTransport>, Usage> {
    let mut made =
        tunnels(fabric, ends.listen, ends.peer, first).map_err(|error| Usage::Tunnel(error.to_string()))?;
    made.iter_mut().for_each(|end| end.set_mtu(ends.mtu));
    Ok(made)
}

/// Asks the far end whether it hears, and how long packets to it may be. Only a bridge of ours answers; without an
/// answer the route has to be believed, and the guests are started all the same: their bridge may come later.
fn ask(probe: &Probe, route: u32) -> (u32, String) {
    let peer = probe.peer.ip();
    let told = |text: &str| (route, text.to_owned());
    match probe.reach() {
        Ok(Reach::Answered { .. }) => match probe.path_mtu() {
            Ok(Some(PathMtu { path, .. })) if path < route => (
                path,
                format!("the bridge answers; its path takes {path} bytes, not the {route} of the route"),
            ),
            _ => told("the bridge answers"),
        },
        Ok(Reach::Refused) => told(&format!(
            "nobody listens there yet; start `mvpnet bridge` on {peer}, or see `mvpnet doctor {peer}`"
        )),
        Ok(Reach::Silent) => told(
            "no answer, as from a kernel's bridge, a bridge that does not know this address, or a firewall; \
             `mvpnet doctor` tells them apart",
        ),
        Err(error) => told(&error.to_string()),
    }
}

fn guest_mtu(wanted: Option<u32>, path: u32, peer: SocketAddr) -> Result<u32, Usage> {
    let most = inner_mtu(path, peer.ip()).ok_or_else(|| {
        Usage::Tunnel(format!("the path to {peer} carries {path} bytes, which is too little for VXLAN"))
    })?;
    match wanted {
        Some(mtu) if mtu > most => Err(Usage::MtuOverPath { mtu, remote: peer.ip().to_string(), path, most }),
        Some(mtu) => Ok(mtu),
        // The largest that a NIC can have.
        None => Ok(most.min(*crate::args::MTU.end())),
    }
}

/// The first address of a name. A name has addresses of both kinds at times: IPv4 comes first, since every guest's
/// packet then has 20 bytes more.
fn resolve(host: &str, port: u16) -> Result<SocketAddr, Usage> {
    let found = (host, port).to_socket_addrs().map_err(|error| {
        Usage::Tunnel(format!("--remote {host}: {error}\nadd it to /etc/hosts, or give its address"))
    })?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| Usage::Tunnel(format!("--remote {host} has no address")))
}

/// The address of this machine that packets to `peer` have.
fn route_to(peer: SocketAddr) -> Result<IpAddr, Usage> {
    let any: SocketAddr = if peer.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    // Connecting a UDP socket sends nothing; it asks the routes.
    let asked = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(peer)?;
        socket.local_addr()
    });
    let no_route = |error| Usage::Tunnel(format!("there is no way from here to {}: {error}", peer.ip()));
    asked.map(|here| here.ip()).map_err(no_route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_get_what_the_path_leaves() {
        let v4 = "192.0.2.2:4789".parse().unwrap();
        let v6 = "[2001:db8::2]:4789".parse().unwrap();
        assert_eq!(guest_mtu(None, 1500, v4).unwrap(), 1450);
        assert_eq!(guest_mtu(None, 1500, v6).unwrap(), 1430);
        assert_eq!(guest_mtu(None, 9000, v4).unwrap(), 8950);
        assert_eq!(guest_mtu(Some(1400), 1500, v4).unwrap(), 1400);
        let error = guest_mtu(Some(1500), 1500, v4).unwrap_err().to_string();
        assert!(error.contains("carries 1500 bytes, of which VXLAN leaves 1450"), "{error}");
    }

    #[test]
    fn a_tunnel_has_two_ends_and_the_near_one_is_here() {
        let tunnel = |remote: &str, listen: Option<&str>| Tunnel {
            remote: remote.to_owned(),
            remote_port: 4789,
            port: 4789,
            vni: Vni::new(40).unwrap(),
            listen: listen.map(|listen| listen.parse().unwrap()),
            tap: false,
        };
        let refused = |tunnel: Tunnel| find(&tunnel, None).unwrap_err().to_string();
        let itself = refused(tunnel("127.0.0.1", None));
        assert!(itself.starts_with("--remote 127.0.0.1 is this machine itself"), "{itself}");
        let other_port = Tunnel { remote_port: 4790, ..tunnel("127.0.0.1", None) };
        assert!(find(&other_port, None).is_ok());
        // RFC 5737: nobody's.
        let absent = refused(tunnel("127.0.0.1", Some("192.0.2.77")));
        assert!(
            absent.starts_with("--listen 192.0.2.77: this machine does not have that address"),
            "{absent}"
        );
    }

    #[test]
    fn the_way_to_loopback_is_loopback() {
        assert_eq!(route_to("127.0.0.2:4789".parse().unwrap()).unwrap(), IpAddr::from([127, 0, 0, 1]));
        assert!(resolve("no-such-host.invalid", 1).unwrap_err().to_string().contains("/etc/hosts"));
    }
}
