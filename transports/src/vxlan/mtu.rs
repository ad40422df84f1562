//! How much of a path's MTU is left for the packets inside a tunnel.
//!
//! `mtu` is always the IP MTU, the longest packet: inside a tunnel the longest frame is 14 bytes longer.

use std::net::IpAddr;

use super::header::HEADER_LEN;

/// Bytes of an Ethernet header (IEEE 802.3 §3.1.1), without a tag.
pub const ETHERNET_LEN: u32 = 14;
/// Bytes of a UDP header (RFC 768).
pub(super) const UDP_LEN: u32 = 8;
const IPV4_LEN: u32 = 20;
const IPV6_LEN: u32 = 40;

/// What a tunnel over IPv4 takes of the path's MTU: the outer IPv4, UDP and VXLAN headers and the inner
/// Ethernet header.
pub const OVERHEAD_V4: u32 = IPV4_LEN + UDP_LEN + HEADER_LEN as u32 + ETHERNET_LEN;
/// The same over IPv6.
pub const OVERHEAD_V6: u32 = IPV6_LEN + UDP_LEN + HEADER_LEN as u32 + ETHERNET_LEN;

/// No IPv4 network has a smaller MTU (RFC 791 §3.2).
const LEAST: u32 = 68;

/// The longest packet that fits into a tunnel to `peer` over a path of this MTU. `None` where no IP packet
/// does.
///
/// ```
/// use mvpnet_transports::vxlan::inner_mtu;
///
/// assert_eq!(inner_mtu(1500, [192, 0, 2, 1].into()), Some(1450));
/// assert_eq!(inner_mtu(9000, "2001:db8::1".parse()?), Some(8930));
/// assert_eq!(inner_mtu(100, [192, 0, 2, 1].into()), None);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn inner_mtu(path_mtu: u32, peer: IpAddr) -> Option<u32> {
    path_mtu.checked_sub(overhead(peer)).filter(|mtu| *mtu >= LEAST)
}

/// The longest frame, with header and tags, that fits into a tunnel to `peer` over a path of this MTU.
pub(super) fn longest_frame(path_mtu: u32, peer: IpAddr) -> usize {
    // UDP's own length field ends at 65535 (RFC 768), whatever the path takes; so does IPv4's total length.
    path_mtu.min(u32::from(u16::MAX)).saturating_sub(overhead(peer) - ETHERNET_LEN) as usize
}

/// Bytes of the IP header in front of what is sent to `peer`.
pub(super) fn ip_header_len(peer: IpAddr) -> u32 {
    if peer.to_canonical().is_ipv4() { IPV4_LEN } else { IPV6_LEN }
}

fn overhead(peer: IpAddr) -> u32 {
    ip_header_len(peer) + UDP_LEN + HEADER_LEN as u32 + ETHERNET_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_takes_50_bytes_over_ipv4_and_70_over_ipv6() {
        assert_eq!((OVERHEAD_V4, OVERHEAD_V6), (50, 70));
        let mapped = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(inner_mtu(1500, mapped), Some(1450));
        assert_eq!(inner_mtu(1500, "::1".parse().expect("an address")), Some(1430));
    }

    #[test]
    fn the_longest_frame_is_the_longest_packet_with_its_ethernet_header() {
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(longest_frame(1500, peer), 1464);
        assert_eq!(longest_frame(1_000_000, peer), 65535 - 36);
        assert_eq!(longest_frame(10, peer), 0);
    }

    #[test]
    fn a_path_too_narrow_for_any_packet_has_no_inner_mtu() {
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(inner_mtu(OVERHEAD_V4 + 68, peer), Some(68));
        assert_eq!(inner_mtu(OVERHEAD_V4 + 67, peer), None);
        assert_eq!(inner_mtu(0, peer), None);
    }
}
