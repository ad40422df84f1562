//! The peers of a bridge as people name them: `[VNI-LIST:]HOST[:PORT]`, on the command line or in a file, and which
//! of them each VNI gets. What addresses their names have is found elsewhere (`resolve.rs`).

mod assign;
mod file;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use mvpnet_switch::{VniList, VniListError};

pub use assign::{AssignError, Assignment, assign};
pub use file::{PeersFileError, read_peers};

/// A host with tunnels to the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The VNIs that it was named for; without them it has all that nobody else has.
    pub vnis: Option<VniList>,
    /// Its name, or its address without brackets.
    pub host: String,
    /// Its UDP port, if that is not the usual one.
    pub port: Option<u16>,
    /// The line of the file that names it, if a file does.
    pub line: Option<usize>,
}

/// Why a text names no peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nothing is there.
    #[error("`{0}` names no host: write HOST, 40-43:HOST or 40-43:HOST:PORT")]
    NoHost(String),
    /// A list of VNIs that is none.
    #[error("`{peer}`: {problem}")]
    Vnis {
        /// As typed.
        peer: String,
        /// What is wrong with the list.
        problem: VniListError,
    },
    /// An IPv6 address that cannot be told from what is around it.
    #[error("`{peer}`: an IPv6 address stands in brackets: {instead}")]
    Bare {
        /// As typed.
        peer: String,
        /// How it is written.
        instead: String,
    },
    /// Brackets around something else, or only one of them.
    #[error("`{0}`: brackets are for an IPv6 address, like [2001:db8::1]")]
    Brackets(String),
    /// No host can have this name.
    #[error("`{peer}`: `{host}` is neither a host's name nor an address")]
    Host {
        /// As typed.
        peer: String,
        /// What is no host.
        host: String,
    },
    /// A port that is none.
    #[error("`{peer}`: `{port}` is no UDP port: those are 1 to 65535")]
    Port {
        /// As typed.
        peer: String,
        /// What is no port.
        port: String,
    },
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Peer, PeerError> {
        if is_ipv6(text) {
            return Err(PeerError::Bare { peer: text.to_owned(), instead: bracketed(text) });
        }
        let (vnis, place) = match text.split_once(':') {
            Some((list, place)) if is_list(list) => (Some(list), place),
            _ => (None, text),
        };
        let vnis = vnis
            .map(str::parse)
            .transpose()
            .map_err(|problem| PeerError::Vnis { peer: text.to_owned(), problem })?;
        let (host, port) = host_and_port(text, place)?;
        Ok(Peer { vnis, host: host.to_owned(), port, line: None })
    }
}

/// Whether this can only be meant as VNIs: no host is called so.
fn is_list(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b','))
}

/// An IPv6 address, perhaps with its zone (RFC 4007 §11).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "zone"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

/// How an address without brackets could have been meant: `40:fd00::1` is one as a whole too.
fn bracketed(text: &str) -> String {
    match text.split_once(':') {
        Some((list, address)) if is_list(list) && is_ipv6(address) => {
            format!("[{text}], or {list}:[{address}] if it begins with VNIs")
        }
        _ => format!("[{text}]"),
    }
}

fn host_and_port<'a>(peer: &str, place: &'a str) -> Result<(&'a str, Option<u16>), PeerError> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let brackets = || PeerError::Brackets(peer.to_owned());
        let (address, rest) =
            rest.split_once(']').filter(|(address, _)| is_ipv6(address)).ok_or_else(brackets)?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(brackets)?) };
        (address, port)
    } else {
        let list = peer.strip_suffix(place).unwrap_or_default();
        if is_ipv6(place) {
            return Err(PeerError::Bare { peer: peer.to_owned(), instead: format!("{list}[{place}]") });
        }
        let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
        if host.is_empty() {
            return Err(PeerError::NoHost(peer.to_owned()));
        }
        if !is_host(host) {
            return Err(PeerError::Host { peer: peer.to_owned(), host: host.to_owned() });
        }
        (host, port)
    };
    let number = |port: &str| {
        let plain = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse()
            .ok()
            .filter(|number| plain && *number > 0)
            .ok_or_else(|| PeerError::Port { peer: peer.to_owned(), port: port.to_owned() })
    };
    Ok((host, port.map(number).transpose()?))
}

/// Whether a host can have this name (RFC 1123 §2.1, and the underscores that people use), or it is an IPv4
/// address. Digits and dots that are no address would be one to the C library, and a surprising one.
fn is_host(host: &str) -> bool {
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let in_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') || !byte.is_ascii();
    !host.starts_with(['-', '.']) && host.len() <= 253 && host.bytes().all(in_name)
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(vnis) = &self.vnis {
            write!(f, "{vnis}:")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
