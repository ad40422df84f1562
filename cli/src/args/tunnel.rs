//! `mvpnet up --remote`: guests here, their switch elsewhere. The flags as typed, and what they say.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use mvpnet_switch::{Vni, World};

use super::options::{one, shown};
use super::usage::Usage;
use super::values::{self, ValueError};

/// Heading of `--help`.
const TUNNEL: &str = "Switch on another server";

/// The flags as typed.
#[derive(Debug, Default, Args)]
pub struct TunnelFlags {
    /// The switch is this host's `mvpnet bridge`, or its kernel's; frames go there as VXLAN
    ///
    /// Each guest has a VXLAN network of its own, --vni and those that follow, and no frame passes from guest to
    /// guest on this machine. HOST is a name or an address, an IPv6 address in brackets if :PORT follows.
    #[arg(long, value_name = "HOST[:PORT]", help_heading = TUNNEL)]
    pub remote: Option<OsString>,

    /// The first guest's VXLAN network identifier
    #[arg(long, value_name = "N", requires = "remote", help_heading = TUNNEL)]
    pub vni: Option<OsString>,

    /// The address of this machine that VXLAN comes to [default: the one that the route to HOST has]
    #[arg(long, value_name = "ADDRESS", requires = "remote", help_heading = TUNNEL)]
    pub listen: Option<OsString>,

    /// UDP port of VXLAN, here and there [default: 4789]
    #[arg(long, value_name = "PORT", requires = "remote", help_heading = TUNNEL)]
    pub vxlan_port: Option<OsString>,

    /// The first guest's number, when other servers run guests too [default: 0]
    ///
    /// It gives addresses and names: `-N 4 --first-rank 4 --world-size 8` are n0004 to n0007 of eight guests. Rank
    /// lists in front of values mean these numbers.
    #[arg(long, value_name = "R", requires = "remote", help_heading = TUNNEL)]
    pub first_rank: Option<OsString>,

    /// How many guests there are on all servers together [default: as far as this one's go]
    #[arg(long, value_name = "N", requires = "remote", help_heading = TUNNEL)]
    pub world_size: Option<OsString>,

    /// Let this machine's kernel carry the frames, by a tap and a vxlan interface per guest; needs root
    ///
    /// The switch that answers DHCP is then not in the way: guests need their addresses from elsewhere. No --capture
    /// (tcpdump on mvtapVNI does it) and no faults on links.
    #[arg(long, requires = "remote", help_heading = TUNNEL)]
    pub tap: bool,

    /// Write a JSON description of the guests to this file when all are up; removed at the end
    #[arg(long, value_name = "FILE", help_heading = "Life of the job")]
    pub ready_file: Option<OsString>,
}

/// How the guests' frames leave this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// The host with the switch, as typed but for the port.
    pub remote: String,
    /// Its UDP port.
    pub remote_port: u16,
    /// The UDP port here.
    pub port: u16,
    /// The first guest's network.
    pub vni: Vni,
    /// The address here, if one was named.
    pub listen: Option<IpAddr>,
    /// Whether the kernel carries the frames.
    pub tap: bool,
}

/// Which guests of a network are this job's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// How many there are in the network.
    pub world: u32,
}

impl Span {
    /// All guests of a network.
    pub const fn whole(world: u32) -> Self {
        Self { first: 0, count: world, world }
    }

    /// Their numbers.
    pub fn ranks(self) -> std::ops::Range<u32> {
        self.first..self.first + self.count
    }
}

/// What the flags of `mvpnet up` say beyond those of a launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The tunnel, if the switch is elsewhere.
    pub tunnel: Option<Tunnel>,
    /// Which guests are here.
    pub span: Span,
    /// `--ready-file`.
    pub ready_file: Option<PathBuf>,
}

impl Reach {
    pub(super) fn read(flags: &TunnelFlags, count: u32) -> Result<Self, Usage> {
        let first = one("--first-rank", &flags.first_rank, values::number)?.unwrap_or(0);
        let last = u64::from(first) + u64::from(count);
        let world = one("--world-size", &flags.world_size, values::ranks)?;
        let world = world.map_or(last, u64::from);
        if last > world || World::new(u32::try_from(world).unwrap_or(u32::MAX)).is_err() {
            return Err(Usage::OutsideNetwork { first, count, world });
        }
        let world = u32::try_from(world).expect("a world has at most 2^24 ranks");
        let span = Span { first, count, world };
        let tunnel = flags.remote.as_ref().map(|remote| read_tunnel(flags, remote, count)).transpose()?;
        let ready_file = one("--ready-file", &flags.ready_file, values::path)?;
        Ok(Self { tunnel, span, ready_file })
    }
}

fn read_tunnel(flags: &TunnelFlags, remote: &OsString, count: u32) -> Result<Tunnel, Usage> {
    let port = one("--vxlan-port", &flags.vxlan_port, udp_port)?.unwrap_or(mvpnet_transports::vxlan::PORT);
    let value = |problem| Usage::Value { flag: "--remote", value: shown(remote), problem };
    let (remote, remote_port) = host(remote).map_err(value)?;
    let vni = one("--vni", &flags.vni, vni)?.ok_or(Usage::NoVni)?;
    if vni.plus(count - 1).is_none() {
        return Err(Usage::VniRange { vni, count });
    }
    let listen = one("--listen", &flags.listen, address)?;
    let remote_port = remote_port.unwrap_or(port);
    if flags.tap && remote_port != port {
        return Err(Usage::Tunnel(format!(
            "--tap has one UDP port for both ends, but --remote names {remote_port} and --vxlan-port {port}"
        )));
    }
    Ok(Tunnel { remote, remote_port, port, vni, listen, tap: flags.tap })
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`, or an IPv6 address alone.
pub fn host(value: &OsStr) -> Result<(String, Option<u16>), ValueError> {
    const FORM: ValueError =
        ValueError::Expected("a host like server2, 192.0.2.2:4789 or [2001:db8::2]:4789");
    let text = values::text(value)?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(FORM)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| FORM)?;
            (host, rest.strip_prefix(':'))
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.starts_with('-') || host.contains(['/', ' ']) {
        return Err(FORM);
    }
    let port = port.map(|port| udp_port(OsStr::new(port))).transpose()?;
    Ok((host.to_owned(), port))
}

fn vni(value: &OsStr) -> Result<Vni, ValueError> {
    values::text(value)?
        .parse()
        .map_err(|_| ValueError::Expected("a VXLAN network identifier, 0 to 16777215"))
}

fn address(value: &OsStr) -> Result<IpAddr, ValueError> {
    let text = values::text(value)?;
    text.trim_matches(['[', ']']).parse().map_err(|_| {
        ValueError::Expected("an IPv4 or IPv6 address of this machine (the port is --vxlan-port)")
    })
}

fn udp_port(value: &OsStr) -> Result<u16, ValueError> {
    match values::text(value)?.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ValueError::Expected("a UDP port, 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: TunnelFlags, count: u32) -> Result<Reach, String> {
        Reach::read(&flags, count).map_err(|error| error.to_string())
    }

    fn flags(remote: &str, vni: Option<&str>) -> TunnelFlags {
        TunnelFlags { remote: Some(remote.into()), vni: vni.map(Into::into), ..TunnelFlags::default() }
    }

    #[test]
    fn hosts_have_names_or_addresses_and_perhaps_a_port() {
        for (typed, host_is, port_is) in [
            ("server2", "server2", None),
            ("server2:14789", "server2", Some(14789)),
            ("192.0.2.2", "192.0.2.2", None),
            ("2001:db8::2", "2001:db8::2", None),
            ("[2001:db8::2]", "2001:db8::2", None),
            ("[2001:db8::2]:5", "2001:db8::2", Some(5)),
        ] {
            assert_eq!(host(OsStr::new(typed)), Ok((host_is.to_owned(), port_is)), "{typed}");
        }
        for typed in
            ["", "server2:", "server2:0", "server2:65536", "[server2]:1", "[2001:db8::2", "a b", ":1", "-x"]
        {
            assert!(host(OsStr::new(typed)).is_err(), "{typed}");
        }
    }

    #[test]
    fn ports_and_numbers_have_defaults() {
        let reach = read(flags("server2", Some("40")), 4).unwrap();
        let tunnel = reach.tunnel.unwrap();
        assert_eq!((tunnel.remote_port, tunnel.port, tunnel.vni.value()), (4789, 4789, 40));
        assert_eq!(reach.span, Span::whole(4));
        let part = TunnelFlags {
            first_rank: Some("4".into()),
            vxlan_port: Some("14789".into()),
            ..flags("server2", Some("50"))
        };
        let reach = read(part, 2).unwrap();
        assert_eq!(reach.span, Span { first: 4, count: 2, world: 6 });
        assert_eq!(reach.tunnel.map(|tunnel| (tunnel.remote_port, tunnel.port)), Some((14789, 14789)));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(read(flags("server2", None), 4).unwrap_err().contains("--vni"));
        assert!(read(flags("server2", Some("16777214")), 4).unwrap_err().contains("16777214"));
        let small = TunnelFlags {
            first_rank: Some("6".into()),
            world_size: Some("8".into()),
            ..flags("server2", Some("40"))
        };
        assert!(read(small, 4).unwrap_err().contains("--world-size"));
    }
}
