//! From our values to messages for the kernel.

use std::net::IpAddr;

use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, LinkAttribute, LinkMessage, VxlanDf,
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVxlan};

use super::{Change, Make};
use crate::kernel::link::{BridgeSettings, Link, VxlanSettings};

/// The request for an interface.
pub(super) fn make(name: &str, group: u32, what: Make) -> LinkMessage {
    match what {
        Make::Bridge(settings) => {
            bridge(LinkMessageBuilder::<LinkBridge>::new(name), settings).link_group(group).build()
        }
        Make::Vxlan(settings) => vxlan(name, settings).link_group(group).build(),
    }
}

/// The request for a change.
pub(super) fn change(link: &Link, change: Change<'_>) -> LinkMessage {
    match change.bridge {
        Some(settings) => {
            let builder = LinkMessageBuilder::<LinkBridge>::new(&link.name);
            common(bridge(builder, settings), link, change).build()
        }
        None => common(LinkMessageBuilder::<LinkUnspec>::new(), link, change).build(),
    }
}

/// The request for the spanning tree of a bridge, or for none.
pub(super) fn spanning_tree(link: &Link, settings: BridgeSettings) -> LinkMessage {
    LinkMessageBuilder::<LinkBridge>::new(&link.name).index(link.index).stp_state(stp(settings)).build()
}

/// The request that switches an interface on.
pub(super) fn switch_on(index: u32) -> LinkMessage {
    LinkUnspec::new_with_index(index).up().build()
}

/// The request that puts an interface into a group.
pub(super) fn regroup(index: u32, group: u32) -> LinkMessage {
    LinkUnspec::new_with_index(index).link_group(group).build()
}

/// What names all interfaces of a group.
pub(super) fn of_group(group: u32) -> LinkMessage {
    LinkMessageBuilder::<LinkUnspec>::new().link_group(group).build()
}

fn common<T>(mut builder: LinkMessageBuilder<T>, link: &Link, change: Change<'_>) -> LinkMessageBuilder<T> {
    builder = builder.index(link.index);
    if let Some(mark) = change.mark {
        // From here on the alias is the mark.
        builder = builder.alias(&mark.alias).link_group(0);
    }
    if let Some(mtu) = change.mtu {
        builder = builder.mtu(mtu);
    }
    if let Some(master) = change.master {
        builder = builder.controller(master);
    }
    // Where there is no IPv6 the kernel refuses to hear of it.
    if change.no_address && link.makes_address.is_some() {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let attribute = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
        builder = builder.append_extra_attribute(attribute);
    }
    builder
}

fn bridge(
    builder: LinkMessageBuilder<LinkBridge>,
    settings: BridgeSettings,
) -> LinkMessageBuilder<LinkBridge> {
    builder.stp_state(stp(settings)).forward_delay(settings.forward_delay).mcast_snooping(settings.snooping)
}

fn stp(settings: BridgeSettings) -> BridgeStpState {
    if settings.stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled }
}

fn vxlan(name: &str, settings: VxlanSettings) -> LinkMessageBuilder<LinkVxlan> {
    let mut builder = LinkVxlan::new(name, settings.vni)
        .port(settings.port)
        .learning(settings.learning)
        .udp_csum(settings.sums)
        .udp_zero_csum6_rx(settings.accepts_no_sum6);
    if settings.df {
        builder = builder.df(VxlanDf::Set);
    }
    if let Some(device) = settings.device {
        builder = builder.dev(device);
    }
    builder = match settings.peer {
        Some(IpAddr::V4(peer)) => builder.remote(peer),
        Some(IpAddr::V6(peer)) => builder.remote6(peer),
        None => builder,
    };
    match settings.local {
        Some(IpAddr::V4(local)) => builder.local(local),
        Some(IpAddr::V6(local)) => builder.local6(local),
        None => builder,
    }
}
