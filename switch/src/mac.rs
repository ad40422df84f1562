//! Ethernet addresses (IEEE 802 §8). Which rank an address belongs to is [`World`]'s to say.

use std::fmt;
use std::str::FromStr;

use crate::World;

/// A 48-bit Ethernet address.
///
/// Parsing is strict: six groups of exactly two hexadecimal digits, separated by colons.
///
/// ```
/// use mvpnet_switch::MacAddr;
///
/// let mac: MacAddr = "52:55:00:00:00:0A".parse()?;
/// assert_eq!(mac.to_string(), "52:55:00:00:00:0a");
/// assert!("52:55:0:0:0:a".parse::<MacAddr>().is_err());
/// # Ok::<(), mvpnet_switch::MacAddrError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// First two bytes of the address of every rank's cluster NIC; the rank follows.
const RANK_SPACE: [u8; 2] = [0x52, 0x55];
/// First two bytes of the address of a guest's second NIC, on qemu's user network; the world size follows.
const USER_SPACE: [u8; 2] = [0x52, 0x56];

impl MacAddr {
    /// The broadcast address, ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// The switch's own address, the source of its DHCP answers and router advertisements. It lies in
    /// neither the ranks' nor the user network's range, so that no guest ever owns it.
    pub const SWITCH: MacAddr = MacAddr([0x52, 0x57, 0, 0, 0, 1]);

    /// The address with these bytes, in the order in which they go over the wire.
    pub const fn new(bytes: [u8; 6]) -> MacAddr {
        MacAddr(bytes)
    }

    /// The address of a guest's second NIC, the one on qemu's user network.
    ///
    /// It is the same in every guest: user networks are not connected to each other.
    pub const fn user_nic(world: World) -> MacAddr {
        MacAddr::numbered(USER_SPACE, world.size())
    }

    /// The address of the cluster NIC of rank `index`, which may lie outside the world.
    pub(crate) const fn of_rank(index: u32) -> MacAddr {
        MacAddr::numbered(RANK_SPACE, index)
    }

    /// The rank index in an address of the ranks' range, whatever the size of the world.
    pub(crate) const fn rank_index(self) -> Option<u32> {
        match self.0 {
            [first, second, a, b, c, d] if first == RANK_SPACE[0] && second == RANK_SPACE[1] => {
                Some(u32::from_be_bytes([a, b, c, d]))
            }
            _ => None,
        }
    }

    const fn numbered(space: [u8; 2], number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr([space[0], space[1], a, b, c, d])
    }

    /// The six bytes, in the order in which they go over the wire.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether this addresses a group, as multicast and broadcast addresses do (the I/G bit,
    /// IEEE 802.3 §3.2.3).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the broadcast address.
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(bytes: [u8; 6]) -> MacAddr {
        MacAddr(bytes)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an Ethernet address: six groups of two hexadecimal digits, separated by colons")]
pub struct MacAddrError {
    text: String,
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<MacAddr, MacAddrError> {
        parse(text).ok_or_else(|| MacAddrError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<MacAddr> {
    let mut groups = text.split(':');
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        let group = groups.next()?;
        // `from_str_radix` alone would accept a sign and a single digit.
        if group.len() != 2 || !group.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(group, 16).ok()?;
    }
    groups.next().is_none().then_some(MacAddr(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_lower_case_and_parses_either_case() {
        let mac: MacAddr = "AB:cd:00:01:0F:f0".parse().unwrap();
        assert_eq!(mac.to_string(), "ab:cd:00:01:0f:f0");
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn refuses_everything_but_six_groups_of_two_digits() {
        for text in [
            "",
            "52:55:00:00:00",
            "52:55:00:00:00:00:00",
            "52:55:00:00:00:+1",
            "52:55:00:00:00:1",
            "52:55:00:00:00:001",
            "52-55-00-00-00-01",
            " 52:55:00:00:00:01",
            "52:55:00:00:00:01 ",
            "52:55:00:00:00:0g",
            "52:55::00:00:01",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_user_nic_carries_the_world_size() {
        let world = World::new(0x010203).unwrap();
        assert_eq!(MacAddr::user_nic(world).to_string(), "52:56:00:01:02:03");
    }

    #[test]
    fn broadcast_is_a_multicast_address() {
        assert!(MacAddr::BROADCAST.is_multicast());
        assert!(MacAddr::new([1, 0, 0x5e, 0, 0, 1]).is_multicast());
        assert!(!MacAddr::SWITCH.is_multicast());
    }
}
