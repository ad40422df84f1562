//! Ports of this host: the tunnels' UDP port, and the TCP ports through which guests' sshd is reached.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use mvpnet_qemu_driver::ports::FIRST_PORT;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use super::finding::Verdict;
use super::holders::{Holder, Protocol, holders};
use super::machine::Machine;
use super::system::{Ran, System};
use super::wanted::Wanted;

/// The tunnels' port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelPort {
    /// What came of binding it: nothing, or why not.
    pub bound: Result<(), io::ErrorKind>,
    /// Who has it.
    pub holders: Vec<Holder>,
    /// Interfaces of the kernel that end tunnels at this port.
    pub interfaces: Vec<String>,
    /// The addresses of this host.
    pub addresses: Vec<String>,
}

/// A port that a guest's sshd would be reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The port.
    pub port: u16,
    /// Who has it.
    pub holders: Vec<Holder>,
}

impl TunnelPort {
    /// Tries, and lets go of it at once.
    pub fn read(system: &System, wanted: &Wanted) -> Self {
        let bound = bind(wanted).map(drop).map_err(|error| error.kind());
        let (mut found, mut interfaces, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        match bound {
            Err(io::ErrorKind::AddrInUse) => {
                found = holders(system, Protocol::Udp, wanted.vxlan_port).1;
                interfaces = vxlan_interfaces(
                    &system.run("ip", &["-j", "-d", "link", "show", "type", "vxlan"]),
                    wanted.vxlan_port,
                );
            }
            Err(io::ErrorKind::AddrNotAvailable) => {
                let all = getifaddrs().map(|all| all.filter_map(|each| address(&each)).collect::<Vec<_>>());
                addresses = all
                    .unwrap_or_default()
                    .iter()
                    .filter(|ip| is_reachable(ip))
                    .map(IpAddr::to_string)
                    .collect();
            }
            _ => {}
        }
        Self { bound, holders: found, interfaces, addresses }
    }

    /// Whether tunnels can end here. A bridge of ours that runs already is no obstacle.
    pub fn check(&self, machine: &Machine, wanted: &Wanted) -> Verdict {
        let port = wanted.vxlan_port;
        match self.bound {
            Ok(()) => Verdict::ok(format!("UDP port {port} is free")),
            Err(io::ErrorKind::AddrInUse) => self.taken(machine, port),
            Err(io::ErrorKind::AddrNotAvailable) => {
                let listen = wanted.listen.map(|listen| listen.to_string()).unwrap_or_default();
                let seen =
                    format!("{listen} is no address of this host, which has {}", self.addresses.join(", "));
                let mend = self.addresses.first().map(|first| format!("mvpnet doctor --listen {first}"));
                Verdict::failure(seen, mend)
            }
            Err(io::ErrorKind::PermissionDenied) => {
                let mend = format!("sysctl -w net.ipv4.ip_unprivileged_port_start={port}");
                Verdict::failure(format!("UDP port {port} is root's to bind"), Some(machine.as_root(&mend)))
            }
            Err(error) => Verdict::failure(format!("UDP port {port} cannot be bound: {error}"), None),
        }
    }

    /// Whether a bridge of ours has the port: it answers its peers' probes itself.
    pub fn is_bridges(&self) -> bool {
        self.holders.iter().any(|holder| holder.is_mvpnet("bridge"))
    }

    fn taken(&self, machine: &Machine, port: u16) -> Verdict {
        if let Some(ours) = self.holders.iter().find(|holder| holder.is_mvpnet("bridge")) {
            return Verdict::ok(format!("UDP port {port} is that of {}, which runs", ours.words()));
        }
        if let Some(holder) = self.holders.first() {
            let seen = format!("UDP port {port} is taken by {}", holder.words());
            return Verdict::failure(seen, Some(holder.end(machine)));
        }
        if let Some(first) = self.interfaces.first() {
            let names = self.interfaces.join(", ");
            let seen = format!(
                "UDP port {port} is the kernel's, for the vxlan interfaces {names}: well with a kernel bridge, \
                 and nothing else can end tunnels here"
            );
            let down =
                self.interfaces.iter().map(|name| format!("ip link delete {name}")).collect::<Vec<_>>();
            let command = if self.interfaces.len() == 1 {
                format!("ip link delete {first}")
            } else {
                format!("sh -c '{}'", down.join("; "))
            };
            return Verdict::warning(seen, Some(machine.as_root(&command)));
        }
        let seen = format!("UDP port {port} is taken by a process that you cannot see");
        Verdict::failure(seen, Some(machine.as_root(&format!("ss -lunp sport = :{port}"))))
    }
}

/// Binds the tunnels' port as a bridge would: to one address, or to all of both families.
pub fn bind(wanted: &Wanted) -> io::Result<UdpSocket> {
    if wanted.listen.is_some() {
        return UdpSocket::bind(wanted.endpoint());
    }
    match UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, wanted.vxlan_port))) {
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
            Err(error)
        }
        // A host without IPv6.
        Err(_) => UdpSocket::bind(wanted.endpoint()),
        Ok(socket) => Ok(socket),
    }
}

/// The interfaces among `ip -j -d link` that use the port.
fn vxlan_interfaces(ran: &Ran, port: u16) -> Vec<String> {
    let links: serde_json::Value =
        ran.out().and_then(|out| serde_json::from_str(out).ok()).unwrap_or_default();
    let links = links.as_array().cloned().unwrap_or_default();
    let uses =
        |link: &&serde_json::Value| link["linkinfo"]["info_data"]["port"].as_u64() == Some(port.into());
    links.iter().filter(uses).filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect()
}

/// An interface's address.
pub(super) fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(v4.ip().into()),
        (_, Some(v6)) => Some(v6.ip().into()),
        _ => None,
    }
}

/// Whether tunnels from elsewhere can end there.
fn is_reachable(ip: &IpAddr) -> bool {
    !ip.is_loopback() && !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Those of the first ports for guests' ssh that are taken, one for each guest.
pub fn taken_ssh_ports(system: &System, wanted: &Wanted) -> Vec<Taken> {
    /// More are not looked at: the answer would not be another.
    const MOST: u32 = 100;
    let count = u16::try_from(wanted.guests().min(MOST)).unwrap_or(u16::MAX);
    let taken =
        (FIRST_PORT..FIRST_PORT + count).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_err());
    taken.map(|port| Taken { port, holders: holders(system, Protocol::Tcp, port).1 }).collect()
}

/// A guest whose port is taken gets another, which is worth knowing.
pub fn check_ssh_ports(taken: &[Taken], machine: &Machine, wanted: &Wanted) -> Verdict {
    let last = FIRST_PORT.saturating_add(u16::try_from(wanted.guests().max(1) - 1).unwrap_or(u16::MAX));
    let Some(first) = taken.first() else {
        let range = if last == FIRST_PORT { last.to_string() } else { format!("{FIRST_PORT} to {last}") };
        return Verdict::ok(format!("127.0.0.1:{range} is free for ssh to guests"));
    };
    let ports: Vec<String> = taken.iter().map(|taken| taken.port.to_string()).collect();
    let by = first.holders.first().map_or("somebody".to_owned(), Holder::words);
    let seen = format!("127.0.0.1:{} is taken by {by}: guests get ports further up", ports.join(", "));
    let mend = match first.holders.first() {
        Some(holder) => holder.end(machine),
        None => machine.as_root(&format!("ss -ltnp sport = :{}", first.port)),
    };
    Verdict::warning(seen, Some(mend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn holder(command: &str) -> Holder {
        Holder { process: 7, command: command.into(), is_own: true, unit: None }
    }

    fn port(bound: Result<(), io::ErrorKind>, holders: Vec<Holder>, interfaces: &[&str]) -> TunnelPort {
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        TunnelPort { bound, holders, interfaces, addresses: vec!["192.0.2.1".into()] }
    }

    fn check(port: &TunnelPort) -> Verdict {
        port.check(&Machine::default(), &Wanted::default())
    }

    const IN_USE: Result<(), io::ErrorKind> = Err(io::ErrorKind::AddrInUse);

    #[test]
    fn a_taken_port_names_its_holder_and_how_to_end_it() {
        let verdict = check(&port(IN_USE, vec![holder("flanneld")], &[]));
        assert_eq!(
            verdict,
            Verdict::failure("UDP port 4789 is taken by flanneld (process 7)", Some("kill 7".into()))
        );
        let unseen = check(&port(IN_USE, vec![], &[]));
        assert_eq!(unseen.mend.unwrap(), "sudo ss -lunp sport = :4789");
    }

    #[test]
    fn a_bridge_that_runs_and_a_kernel_that_ends_tunnels_are_no_failures() {
        assert_eq!(check(&port(IN_USE, vec![holder("mvpnet bridge --vni 40")], &[])).status, Status::Ok);
        let kernel = check(&port(IN_USE, vec![], &["vxlan40", "vxlan41"]));
        assert_eq!(kernel.status, Status::Warning);
        assert_eq!(kernel.mend.unwrap(), "sudo sh -c 'ip link delete vxlan40; ip link delete vxlan41'");
    }

    #[test]
    fn an_address_that_is_not_here_names_those_that_are() {
        let verdict = check(&port(Err(io::ErrorKind::AddrNotAvailable), vec![], &[]));
        assert_eq!(verdict.mend.unwrap(), "mvpnet doctor --listen 192.0.2.1");
    }

    #[test]
    fn a_port_that_a_socket_holds_is_seen_as_taken() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let vxlan_port = socket.local_addr().unwrap().port();
        let listen = Some([127, 0, 0, 1].into());
        let wanted = Wanted { vxlan_port, listen, ..Wanted::default() };
        let read = TunnelPort::read(&System::here(), &wanted);
        assert_eq!(read.bound, IN_USE);
        assert!(
            read.check(&Machine::default(), &wanted)
                .seen
                .contains(&format!("process {}", std::process::id()))
        );
        let elsewhere = Wanted { listen: Some([192, 0, 2, 77].into()), ..wanted };
        assert_eq!(TunnelPort::read(&System::here(), &elsewhere).bound, Err(io::ErrorKind::AddrNotAvailable));
    }

    #[test]
    fn interfaces_of_the_kernel_are_known_by_their_port() {
        let out = r#"[{},{"ifname":"vxlan40","linkinfo":{"info_data":{"id":40,"port":4789}}},
            {"ifname":"flannel.1","linkinfo":{"info_data":{"port":8472}}}]"#;
        let ran = Ran::Ended { code: Some(0), out: out.into(), err: String::new() };
        assert_eq!(vxlan_interfaces(&ran, 4789), ["vxlan40"]);
        assert!(vxlan_interfaces(&Ran::Absent, 4789).is_empty());
    }

    #[test]
    fn a_taken_ssh_port_is_a_warning() {
        let taken = [Taken { port: 2200, holders: vec![holder("sshd")] }];
        let verdict = check_ssh_ports(&taken, &Machine::default(), &Wanted::default());
        assert_eq!((verdict.status, verdict.mend.as_deref()), (Status::Warning, Some("kill 7")));
        let four = Wanted { ranks: Some(4), ..Wanted::default() };
        assert!(check_ssh_ports(&[], &Machine::default(), &four).seen.contains("2200 to 2203"));
    }
}
