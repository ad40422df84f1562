//! The way to a peer: which interface it leaves by, and how long packets may be, as this host believes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use mvpnet_transports::vxlan::inner_mtu;
use serde_json::Value;

use super::finding::Verdict;
use super::machine::Machine;
use super::system::{System, quoted};

/// The MTU of an Ethernet network (RFC 894).
const ETHERNET: u32 = 1500;
/// IPv6 needs it (RFC 8200 §5).
const LEAST_FOR_IPV6: u32 = 1280;

/// A way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub to: IpAddr,
    /// The interface.
    pub device: String,
    /// The next router, if one is on the way.
    pub via: Option<String>,
    /// The MTU of the way: the route's own, if it has one, else the interface's.
    pub mtu: u32,
    /// Whether the route itself has an MTU.
    pub is_routes_own: bool,
    /// The address that packets leave with.
    pub from: Option<IpAddr>,
}

impl Route {
    /// Asks the kernel; an error says what it answered.
    pub fn read(system: &System, to: IpAddr) -> Result<Self, String> {
        let from = source(to).map_err(|error| error.to_string())?;
        let ran = system.run("ip", &["-j", "route", "get", &to.to_string()]);
        let routes: Value = ran.out().and_then(|out| serde_json::from_str(out).ok()).unwrap_or_default();
        let route = &routes[0];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let device = text(&route["dev"]).ok_or("`ip route get` does not say by which interface")?;
        let own = route["metrics"][0]["mtu"].as_u64().and_then(|mtu| u32::try_from(mtu).ok());
        let devices =
            system.number(format!("/sys/class/net/{device}/mtu")).and_then(|mtu| u32::try_from(mtu).ok());
        let mtu = own.or(devices).ok_or_else(|| format!("{device} has no MTU"))?;
        Ok(Self {
            to,
            device,
            via: text(&route["gateway"]).or_else(|| text(&route["via"]["host"])),
            mtu,
            is_routes_own: own.is_some(),
            from: Some(from),
        })
    }

    /// What guests would get.
    pub fn inner(&self) -> Option<u32> {
        inner_mtu(self.mtu, self.to)
    }

    /// The MTU of this end of the way. Whether packets of that length arrive is another question.
    pub fn check(&self, machine: &Machine, name: &str) -> Verdict {
        let Self { device, mtu, to, .. } = self;
        let guests = match self.inner() {
            Some(inner) => format!("guests get {inner}"),
            None => "no packet of a guest fits".to_owned(),
        };
        let seen = format!("packets to {name} ({to}) leave by {device}, whose MTU is {mtu}: {guests}");
        let mend = if self.is_routes_own {
            machine.as_root(&format!("ip route replace {}", self.words(None)))
        } else {
            machine.as_root(&format!("ip link set dev {} mtu {ETHERNET}", quoted(device)))
        };
        match self.inner() {
            // Nothing that leaves the host: its MTU is 65536.
            _ if device == "lo" => Verdict::ok(format!("{name} ({to}) is this host")),
            Some(inner) if inner < LEAST_FOR_IPV6 => {
                Verdict::failure(format!("{seen}, too little for IPv6"), Some(mend))
            }
            None => Verdict::failure(seen, Some(mend)),
            // Somebody has set it, or a router has said so (RFC 1191 §3).
            Some(_) if *mtu < ETHERNET && !self.is_routes_own => {
                Verdict::warning(format!("{seen}, less than an Ethernet carries"), Some(mend))
            }
            Some(_) => Verdict::ok(seen),
        }
    }

    /// The route as `ip route replace` takes it, with another MTU.
    pub fn words(&self, mtu: Option<u32>) -> String {
        let via = self.via.as_ref().map(|via| format!("via {via} ")).unwrap_or_default();
        let mtu = mtu.map(|mtu| format!(" mtu lock {mtu}")).unwrap_or_default();
        format!("{} {via}dev {}{mtu}", self.to, quoted(&self.device))
    }
}

/// The address that datagrams to `to` would leave with.
pub(super) fn source(to: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // Sends nothing. The port is that for discarding (RFC 863).
    socket.connect(SocketAddr::new(to, 9))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn route(mtu: u32) -> Route {
        let to = [192, 0, 2, 2].into();
        Route { to, device: "eth0".into(), via: None, mtu, is_routes_own: false, from: None }
    }

    fn check(route: &Route) -> Verdict {
        route.check(&Machine::default(), "server2")
    }

    #[test]
    fn a_low_mtu_is_a_warning_and_one_too_low_for_ipv6_a_failure() {
        let verdict = check(&route(1500));
        assert_eq!(verdict.status, Status::Ok);
        assert!(verdict.seen.ends_with("whose MTU is 1500: guests get 1450"), "{}", verdict.seen);
        let low = check(&route(1400));
        assert_eq!(
            (low.status, low.mend.as_deref()),
            (Status::Warning, Some("sudo ip link set dev eth0 mtu 1500"))
        );
        assert_eq!(check(&route(1329)).status, Status::Failure);
        assert_eq!(check(&route(100)).status, Status::Failure);
    }

    #[test]
    fn a_route_with_an_mtu_of_its_own_is_replaced() {
        let own = Route { is_routes_own: true, via: Some("10.0.0.1".into()), ..route(1400) };
        assert_eq!(check(&own).status, Status::Ok);
        let mend = "sudo ip route replace 192.0.2.2 via 10.0.0.1 dev eth0";
        assert_eq!(check(&Route { mtu: 1000, ..own.clone() }).mend.unwrap(), mend);
        assert_eq!(own.words(Some(1400)), "192.0.2.2 via 10.0.0.1 dev eth0 mtu lock 1400");
    }

    #[test]
    fn this_host_is_no_network() {
        let system = System::here();
        if system.run("ip", &["-V"]).out().is_some() {
            let lo = Route::read(&system, Ipv4Addr::LOCALHOST.into()).unwrap();
            assert_eq!((lo.device.as_str(), check(&lo).status), ("lo", Status::Ok));
        }
    }
}
