//! IPv6 addresses that follow from a rank: link-local by EUI-64, and in the job's unique local prefix.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::{MacAddr, MacOwner, Rank, World};

/// The /64 of unique local addresses (RFC 4193) that the guests of a job share.
///
/// ```
/// use mvpnet_switch::{UlaPrefix, World};
///
/// let prefix: UlaPrefix = "fd00:1:2:3::/64".parse()?;
/// let rank = World::new(4).unwrap().rank(1).unwrap();
/// assert_eq!(rank.ula(prefix).to_string(), "fd00:1:2:3::2");
/// # Ok::<(), mvpnet_switch::UlaPrefixError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UlaPrefix(u64);

/// Why a text is not a prefix of unique local addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UlaPrefixError {
    /// It is not an address, a slash and the length 64.
    #[error("`{0}` is not an IPv6 prefix of the form fd00:1:2:3::/64")]
    Syntax(String),
    /// The address is outside fd00::/8.
    #[error("{0} is not a unique local address, those begin with fd")]
    NotUniqueLocal(Ipv6Addr),
    /// Bits beyond the prefix are set.
    #[error("{0} has bits set beyond the 64 of the prefix")]
    HostBits(Ipv6Addr),
}

/// The first half of link-local addresses (RFC 4291 §2.5.6).
const LINK_LOCAL: u64 = 0xfe80 << 48;

impl UlaPrefix {
    /// Length of the prefix in bits.
    pub const LEN: u8 = 64;

    /// The prefix's first address, the one with an all-zero interface identifier.
    pub const fn address(self) -> Ipv6Addr {
        joined(self.0, 0)
    }
}

impl Default for UlaPrefix {
    /// fd6d:7670:6e65::/64. Its 40 bits spell `mvpne` in ASCII rather than being random as RFC 4193 §3.2.1
    /// asks: this network is never routed anywhere, and a fixed prefix can be written into scripts.
    fn default() -> UlaPrefix {
        UlaPrefix(0xfd6d_7670_6e65_0000)
    }
}

impl fmt::Display for UlaPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), UlaPrefix::LEN)
    }
}

impl fmt::Debug for UlaPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UlaPrefix {
    type Err = UlaPrefixError;

    fn from_str(text: &str) -> Result<UlaPrefix, UlaPrefixError> {
        let syntax = || UlaPrefixError::Syntax(text.to_owned());
        let address = text.strip_suffix("/64").ok_or_else(syntax)?;
        let address: Ipv6Addr = address.parse().map_err(|_| syntax())?;
        // RFC 4193 §3.1: fc00::/7 with the L bit set; the other half is not defined.
        if address.octets()[0] != 0xfd {
            return Err(UlaPrefixError::NotUniqueLocal(address));
        }
        match halves(address) {
            (prefix, 0) => Ok(UlaPrefix(prefix)),
            _ => Err(UlaPrefixError::HostBits(address)),
        }
    }
}

impl Rank {
    /// The guest's link-local address, made from its MAC (RFC 4291 appendix A).
    pub const fn link_local(self) -> Ipv6Addr {
        link_local(self.mac())
    }

    /// The guest's short address in the job's prefix: the rank plus one, as in IPv4.
    pub const fn ula(self, prefix: UlaPrefix) -> Ipv6Addr {
        joined(prefix.0, self.index() as u64 + 1)
    }

    /// The address in the job's prefix that a guest configures by itself from the router advertisement
    /// (RFC 4862 §5.5.3), if it makes interface identifiers from its MAC.
    pub const fn ula_eui64(self, prefix: UlaPrefix) -> Ipv6Addr {
        joined(prefix.0, eui64(self.mac()))
    }
}

impl World {
    /// The rank that has this IPv6 address, if the address follows from a rank of this world.
    pub const fn rank_of_ipv6(self, address: Ipv6Addr, prefix: UlaPrefix) -> Option<Rank> {
        let (half, interface) = halves(address);
        if half != LINK_LOCAL && half != prefix.0 {
            return None;
        }
        if let Some(mac) = mac_of_eui64(interface) {
            return match self.owner_of(mac) {
                MacOwner::Rank(rank) => Some(rank),
                _ => None,
            };
        }
        if half == prefix.0 && interface >= 1 && interface <= self.size() as u64 {
            return match self.rank(interface as u32 - 1) {
                Ok(rank) => Some(rank),
                Err(_) => None,
            };
        }
        None
    }
}

/// The link-local address with an interface identifier made from `mac`.
pub(crate) const fn link_local(mac: MacAddr) -> Ipv6Addr {
    joined(LINK_LOCAL, eui64(mac))
}

/// The modified EUI-64 identifier: ff:fe in the middle, the universal/local bit inverted
/// (RFC 4291 appendix A).
const fn eui64(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.octets();
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

const fn mac_of_eui64(identifier: u64) -> Option<MacAddr> {
    match identifier.to_be_bytes() {
        [a, b, c, 0xff, 0xfe, d, e, f] => Some(MacAddr::new([a ^ 2, b, c, d, e, f])),
        _ => None,
    }
}

const fn joined(prefix: u64, interface: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits((prefix as u128) << 64 | interface as u128)
}

const fn halves(address: Ipv6Addr) -> (u64, u64) {
    let bits = address.to_bits();
    ((bits >> 64) as u64, bits as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn link_local_addresses_are_modified_eui_64() {
        let rank = World::new(World::MAX_SIZE).unwrap().rank(0x0003_04ff).unwrap();
        assert_eq!(rank.mac().to_string(), "52:55:00:03:04:ff");
        assert_eq!(rank.link_local().to_string(), "fe80::5055:ff:fe03:4ff");
    }

    #[test]
    fn prefixes_parse_strictly() {
        assert_eq!("fd6d:7670:6e65::/64".parse(), Ok(UlaPrefix::default()));
        assert_eq!(UlaPrefix::default().to_string(), "fd6d:7670:6e65::/64");
        for text in ["fd00::", "fd00::/48", "fc00::/64", "2001:db8::/64", "fd00::1/64", "/64", "fd00::/064"] {
            assert!(text.parse::<UlaPrefix>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn addresses_lead_back_to_their_rank(size in 1..=World::MAX_SIZE, index in any::<u32>()) {
            let world = World::new(size).unwrap();
            let rank = world.rank(index % size).unwrap();
            let prefix = UlaPrefix::default();
            for address in [rank.link_local(), rank.ula(prefix), rank.ula_eui64(prefix)] {
                prop_assert_eq!(world.rank_of_ipv6(address, prefix), Some(rank));
            }
        }

        #[test]
        fn only_addresses_made_from_a_rank_lead_to_one(bits in any::<u128>(), size in 1..=World::MAX_SIZE) {
            let world = World::new(size).unwrap();
            let prefix = UlaPrefix::default();
            for address in [Ipv6Addr::from_bits(bits), joined(prefix.0, bits as u64), joined(LINK_LOCAL, bits as u64)] {
                if let Some(rank) = world.rank_of_ipv6(address, prefix) {
                    let own = [rank.link_local(), rank.ula(prefix), rank.ula_eui64(prefix)];
                    prop_assert!(own.contains(&address));
                }
            }
        }
    }
}
