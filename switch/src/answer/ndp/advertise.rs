//! The advertisements that the switch sends (RFC 4861 §4.2, §4.4).

use std::net::Ipv6Addr;

use etherparse::icmpv6::{
    NdpOptionHeader, NdpOptionType, NeighborAdvertisementHeader, NeighborAdvertisementPayload,
    PrefixInformation, RouterAdvertisementHeader, RouterAdvertisementPayload,
};
use etherparse::{EtherType, Ethernet2Header, Icmpv6Header, Icmpv6Type, IpNumber, Ipv6FlowLabel, Ipv6Header};

use super::{HOP_LIMIT, Reply};
use crate::ipv6::link_local;
use crate::{Config, MacAddr, UlaPrefix};

/// The group of all nodes on the link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The Ethernet address of that group (RFC 2464 §7).
const ALL_NODES_MAC: MacAddr = MacAddr::new([0x33, 0x33, 0, 0, 0, 1]);
/// A lifetime without end (RFC 4861 §4.6.2).
const INFINITE: u32 = u32::MAX;
/// The smallest MTU of IPv6; hosts ignore an advertised one that is smaller (RFC 4861 §6.3.4).
const MIN_MTU: u32 = 1280;

/// Length of the options that carry a MAC address or an MTU.
const SHORT_OPTION_LEN: usize = 8;

/// Says that `target` is at `owner`, to who asked from `asker` at `asker_mac`.
pub(super) fn neighbor(
    target: Ipv6Addr,
    owner: MacAddr,
    asker: Ipv6Addr,
    asker_mac: MacAddr,
    reply: &mut Reply,
) {
    let flags = NeighborAdvertisementHeader {
        // RFC 4861 §4.4: the sender is a router, as the switch is that sends router advertisements.
        router: owner == MacAddr::SWITCH,
        // RFC 4861 §7.2.4: not solicited if the asker has no address.
        solicited: !asker.is_unspecified(),
        r#override: true,
    };
    let mut payload = [0; NeighborAdvertisementPayload::LEN + SHORT_OPTION_LEN];
    let (target_bytes, option) = payload.split_at_mut(NeighborAdvertisementPayload::LEN);
    target_bytes.copy_from_slice(&NeighborAdvertisementPayload { target_address: target }.to_bytes());
    option.copy_from_slice(&mac_option(NdpOptionType::TARGET_LINK_LAYER_ADDRESS, owner));
    send(Icmpv6Type::NeighborAdvertisement(flags), &payload, (target, owner), (asker, asker_mac), reply);
}

/// Tells the guest the job's prefix and MTU, and that there is no router (lifetime 0).
pub(super) fn router(config: &Config, asker: Ipv6Addr, asker_mac: MacAddr, reply: &mut Reply) {
    let header = RouterAdvertisementHeader {
        cur_hop_limit: 0, // unspecified: the guest keeps its own
        managed_address_config: false,
        other_config: false,
        router_lifetime: 0,
    };
    let times = RouterAdvertisementPayload { reachable_time: 0, retrans_timer: 0 };
    let prefix = PrefixInformation {
        prefix_length: UlaPrefix::LEN,
        on_link: true,
        autonomous_address_configuration: true,
        valid_lifetime: INFINITE,
        preferred_lifetime: INFINITE,
        prefix: config.ula.address().octets(),
    };
    const MTU_AT: usize = RouterAdvertisementPayload::LEN + SHORT_OPTION_LEN + PrefixInformation::LEN;
    let mut payload = [0; MTU_AT + SHORT_OPTION_LEN];
    let (times_bytes, options) = payload.split_at_mut(RouterAdvertisementPayload::LEN);
    times_bytes.copy_from_slice(&times.to_bytes());
    let (mac, options) = options.split_at_mut(SHORT_OPTION_LEN);
    mac.copy_from_slice(&mac_option(NdpOptionType::SOURCE_LINK_LAYER_ADDRESS, MacAddr::SWITCH));
    let (prefix_bytes, mtu) = options.split_at_mut(PrefixInformation::LEN);
    prefix_bytes.copy_from_slice(&prefix.to_bytes());
    mtu.copy_from_slice(&mtu_option(config.mtu));
    let len = if config.mtu >= MIN_MTU { payload.len() } else { MTU_AT };
    let source = (link_local(MacAddr::SWITCH), MacAddr::SWITCH);
    send(Icmpv6Type::RouterAdvertisement(header), &payload[..len], source, (asker, asker_mac), reply);
}

/// Type, length in units of eight bytes, six bytes of address (RFC 4861 §4.6.1, RFC 2464 §6).
fn mac_option(option_type: NdpOptionType, mac: MacAddr) -> [u8; SHORT_OPTION_LEN] {
    let [a, b] = NdpOptionHeader { option_type, length_units: 1 }.to_bytes();
    let [c, d, e, f, g, h] = mac.octets();
    [a, b, c, d, e, f, g, h]
}

/// Type, length, two reserved bytes, MTU (RFC 4861 §4.6.4).
fn mtu_option(mtu: u32) -> [u8; SHORT_OPTION_LEN] {
    let [a, b] = NdpOptionHeader { option_type: NdpOptionType::MTU, length_units: 1 }.to_bytes();
    let [c, d, e, f] = mtu.to_be_bytes();
    [a, b, 0, 0, c, d, e, f]
}

fn send(
    kind: Icmpv6Type,
    payload: &[u8],
    (source, source_mac): (Ipv6Addr, MacAddr),
    (asker, asker_mac): (Ipv6Addr, MacAddr),
    reply: &mut Reply,
) {
    let (destination, destination_mac) =
        if asker.is_unspecified() { (ALL_NODES, ALL_NODES_MAC) } else { (asker, asker_mac) };
    let icmp = Icmpv6Header::with_checksum(kind, source.octets(), destination.octets(), payload)
        .expect("the payload is far shorter than 2^32 bytes");
    let ip = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: (icmp.header_len() + payload.len()) as u16,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: HOP_LIMIT,
        source: source.octets(),
        destination: destination.octets(),
    };
    let ethernet = Ethernet2Header {
        source: source_mac.octets(),
        destination: destination_mac.octets(),
        ether_type: EtherType::IPV6,
    };
    reply.assemble(&[&ethernet.to_bytes(), &ip.to_bytes(), &icmp.to_bytes(), payload]);
}
