//! What every rank tells all others at start: which host it is on and how it can be rung.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;

use nix::ifaddrs::getifaddrs;
use nix::unistd::{Uid, gethostname};

/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 6;

/// Bytes of a card.
pub(super) const CARD_LEN: usize = 8 + 8 + 4 + 2 + 2 + (4 + 8) * 2 + 1 + 16 * MAX_ADDRESSES;

/// One rank's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// Stands for what all ranks must agree on: version and limits.
    pub agreement: u64,
    /// The same for all ranks that can reach each other's memory and descriptors.
    pub host: u64,
    pub pid: u32,
    /// Cores that the rank may use.
    pub cores: u16,
    /// Where it can be reached on its host, and rung.
    pub places: Places,
    /// Where the host may be reached.
    pub addresses: Vec<IpAddr>,
}

/// Where a rank's memory and bells are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Descriptor and inode of the rank's [segment](crate::shm).
    pub segment: (i32, u64),
    /// Descriptor and inode of the pipe that is its bell.
    pub pipe: (i32, u64),
    /// Port of the UDP doorbell, 0 where there is none.
    pub udp_port: u16,
}

impl Places {
    /// Nowhere.
    pub const NOWHERE: Self = Places { segment: (-1, 0), pipe: (-1, 0), udp_port: 0 };
}

impl Card {
    pub fn to_bytes(&self) -> [u8; CARD_LEN] {
        let Card { agreement, host, pid, cores, places, addresses } = self;
        let Places { segment, pipe, udp_port } = places;
        let mut bytes = [0; CARD_LEN];
        let mut out = Writer { rest: &mut bytes };
        out.put(agreement.to_be_bytes());
        out.put(host.to_be_bytes());
        out.put(pid.to_be_bytes());
        out.put(cores.to_be_bytes());
        out.put(udp_port.to_be_bytes());
        for (fd, inode) in [segment, pipe] {
            out.put(fd.to_be_bytes());
            out.put(inode.to_be_bytes());
        }
        let count = addresses.len().min(MAX_ADDRESSES);
        out.put([count as u8]);
        for address in &addresses[..count] {
            out.put(match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            });
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8; CARD_LEN]) -> Self {
        let mut rest = Reader { rest: bytes };
        let agreement = u64::from_be_bytes(rest.take());
        let host = u64::from_be_bytes(rest.take());
        let pid = u32::from_be_bytes(rest.take());
        let cores = u16::from_be_bytes(rest.take());
        let udp_port = u16::from_be_bytes(rest.take());
        let mut descriptor = || (i32::from_be_bytes(rest.take()), u64::from_be_bytes(rest.take()));
        let (segment, pipe) = (descriptor(), descriptor());
        let [count] = rest.take();
        let addresses = (0..usize::from(count).min(MAX_ADDRESSES))
            .map(|_| Ipv6Addr::from(rest.take::<16>()).to_canonical())
            .collect();
        Card { agreement, host, pid, cores, places: Places { segment, pipe, udp_port }, addresses }
    }
}

struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    fn put<const N: usize>(&mut self, value: [u8; N]) {
        let (head, rest) = std::mem::take(&mut self.rest).split_at_mut(N);
        head.copy_from_slice(&value);
        self.rest = rest;
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.rest.split_first_chunk().expect("a card has room for all of its fields");
        self.rest = rest;
        *head
    }
}

/// Stands for the host as far as descriptors and pids go. Two network or pid namespaces on one kernel are two
/// hosts, since they are meant to be apart and since `/proc/PID` of one says nothing in the other; a
/// container with a host name of its own is one as well.
pub(super) fn host_identity() -> u64 {
    let inode = |path: &str| fs::metadata(path).map(|meta| meta.ino()).unwrap_or(0);
    let name = gethostname().unwrap_or_default();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let uid = Uid::effective().as_raw();
    let text = format!(
        "{}\0{boot}\0{uid}\0{}\0{}\0{}",
        name.to_string_lossy(),
        inode("/proc/self/ns/net"),
        inode("/proc/self/ns/pid"),
        inode("/proc/self/ns/uts"),
    );
    fnv1a(text.as_bytes())
}

/// The addresses under which other hosts may reach this one.
pub(super) fn host_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
            // A link-local address means nothing without an interface of the one who uses it.
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
        })
        .collect();
    // IPv4 first, as clusters are, and each once.
    addresses.sort_by_key(|address| address.is_ipv6());
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// The 64-bit FNV-1a hash: the same in every build, unlike the standard library's.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_read_as_it_was_written() {
        let card = Card {
            agreement: 1,
            host: u64::MAX,
            pid: 4242,
            cores: 8,
            places: Places { segment: (7, 99), pipe: (-1, 1 << 40), udp_port: 50000 },
            addresses: vec!["192.0.2.1".parse().expect("v4"), "2001:db8::1".parse().expect("v6")],
        };
        assert_eq!(Card::from_bytes(&card.to_bytes()), card);
    }

    #[test]
    fn a_full_card_keeps_its_first_addresses_and_any_bytes_are_read() {
        let address: IpAddr = "192.0.2.1".parse().expect("v4");
        let mut card = Card::from_bytes(&[0; CARD_LEN]);
        card.addresses = vec![address; MAX_ADDRESSES + 3];
        assert_eq!(Card::from_bytes(&card.to_bytes()).addresses, vec![address; MAX_ADDRESSES]);
        assert_eq!(Card::from_bytes(&[0xff; CARD_LEN]).addresses.len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_host_is_the_same_twice() {
        assert_eq!(host_identity(), host_identity());
        assert!(host_addresses().iter().all(|address| !address.is_loopback()));
    }
}
