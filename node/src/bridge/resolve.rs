//! From the names of peers to their addresses. It asks the system's resolver, which may take its time.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::peers::Peer;

/// Which addresses will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Either kind: IPv4 for those that have both, since it leaves more room for guests.
    Either,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why peers cannot be reached by their names.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver does not know the name.
    #[error(
        "there is no host `{host}`: {error}; correct the name, write its address instead, or add it to /etc/hosts"
    )]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// It has addresses of the other kind only.
    #[error(
        "`{host}` has no {wanted} address, and the bridge listens on an {wanted} address: with --listen :: it takes \
         both"
    )]
    Family {
        /// The name.
        host: String,
        /// `IPv4` or `IPv6`.
        wanted: &'static str,
    },
    /// Nobody can be sent anything there.
    #[error("`{host}` is {address}, which is not the address of a host")]
    NoHost {
        /// The name.
        host: String,
        /// Its address.
        address: IpAddr,
    },
}

impl Family {
    /// What can be reached from an address that is listened on: `::` is all addresses of both kinds.
    pub fn reached_from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(address) if address.is_unspecified() => Self::Either,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The addresses of these peers, in their order, with `port` where no other is named.
///
/// # Errors
/// A name is not known, or has no address of the family.
pub fn resolve(peers: &[Peer], family: Family, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    peers.iter().map(|peer| choose(peer, look_up(peer, port)?, family)).collect()
}

fn choose(peer: &Peer, mut addresses: Vec<SocketAddr>, family: Family) -> Result<SocketAddr, ResolveError> {
    // The first of each kind is the one that the resolver prefers.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let address = match family {
        Family::Either => addresses.first(),
        Family::V4 => addresses.iter().find(|address| address.is_ipv4()),
        Family::V6 => addresses.iter().find(|address| address.is_ipv6()),
    };
    let address = *address.ok_or_else(|| {
        let wanted = if family == Family::V4 { "IPv4" } else { "IPv6" };
        ResolveError::Family { host: peer.host.clone(), wanted }
    })?;
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Err(ResolveError::NoHost { host: peer.host.clone(), address: ip });
    }
    Ok(address)
}

fn look_up(peer: &Peer, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = (peer.host.as_str(), peer.port.unwrap_or(port)).to_socket_addrs();
    match found.map(Iterator::collect::<Vec<_>>) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => {
            Err(ResolveError::Unknown { host: peer.host.clone(), error: io::ErrorKind::NotFound.into() })
        }
        Err(error) => Err(ResolveError::Unknown { host: peer.host.clone(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(peers: &[&str], family: Family) -> Result<Vec<String>, String> {
        let peers: Vec<Peer> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        let addresses = resolve(&peers, family, 4789).map_err(|error| error.to_string())?;
        Ok(addresses.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn addresses_need_no_resolver() {
        let found = resolved(&["127.0.0.2", "60:127.0.0.3:5"], Family::Either).unwrap();
        assert_eq!(found, ["127.0.0.2:4789", "127.0.0.3:5"]);
        assert_eq!(resolved(&["[::1]"], Family::Either).unwrap(), ["[::1]:4789"]);
    }

    #[test]
    fn an_address_of_the_wrong_kind_is_an_error() {
        assert_eq!(
            resolved(&["127.0.0.2", "[::1]"], Family::Either).unwrap(),
            ["127.0.0.2:4789", "[::1]:4789"]
        );
        let error = resolved(&["[::1]"], Family::V4).unwrap_err();
        assert!(
            error.contains("`::1` has no IPv4 address, and the bridge listens on an IPv4 address"),
            "{error}"
        );
        assert_eq!(Family::reached_from("::".parse().unwrap()), Family::Either);
        assert_eq!(Family::reached_from("::1".parse().unwrap()), Family::V6);
    }

    #[test]
    fn nobody_is_reached_at_addresses_of_all_or_none() {
        for peer in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            assert!(resolved(&[peer], Family::Either).unwrap_err().contains("not the address of a host"));
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_an_error_that_says_what_to_do() {
        let error = resolved(&["no-such-host.invalid"], Family::Either).unwrap_err();
        assert!(error.starts_with("there is no host `no-such-host.invalid`: "), "{error}");
        assert!(error.ends_with("write its address instead, or add it to /etc/hosts"), "{error}");
    }
}
