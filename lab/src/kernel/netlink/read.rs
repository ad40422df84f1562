//! From the kernel's messages to our values.

use std::net::IpAddr;

use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoData, InfoKind, InfoVxlan,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VxlanDf,
};

use crate::kernel::link::{BridgeSettings, Link, LinkKind, VxlanSettings};

/// An interface.
pub(super) fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        group: 0,
        is_up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        master: None,
        makes_address: None,
        kind: LinkKind::Other(String::new()),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = Some(master),
            LinkAttribute::AfSpecUnspec(families) => link.makes_address = makes_address(&families),
            LinkAttribute::LinkInfo(infos) => link.kind = kind(&infos),
            _ => {}
        }
    }
    link
}

fn makes_address(families: &[AfSpecUnspec]) -> Option<bool> {
    let inet6 = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(attributes) => Some(attributes),
        _ => None,
    })?;
    inet6.iter().find_map(|attribute| match attribute {
        AfSpecInet6::AddrGenMode(mode) => Some(*mode != In6AddrGenMode::None),
        _ => None,
    })
}

fn kind(infos: &[LinkInfo]) -> LinkKind {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    match (kind, data) {
        (Some(InfoKind::Bridge), Some(InfoData::Bridge(data))) => LinkKind::Bridge(bridge(data)),
        (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(data))) => LinkKind::Vxlan(vxlan(data)),
        (Some(InfoKind::Tun), _) => LinkKind::Tap,
        (Some(kind), _) => LinkKind::Other(kind.to_string()),
        (None, _) => LinkKind::Other(String::new()),
    }
}

fn bridge(data: &[InfoBridge]) -> BridgeSettings {
    let mut settings = BridgeSettings { stp: false, forward_delay: 0, snooping: false };
    for attribute in data {
        match attribute {
            InfoBridge::StpState(state) => settings.stp = *state != BridgeStpState::Disabled,
            InfoBridge::ForwardDelay(delay) => settings.forward_delay = *delay,
            InfoBridge::MulticastSnooping(snooping) => settings.snooping = *snooping,
            _ => {}
        }
    }
    settings
}

fn vxlan(data: &[InfoVxlan]) -> VxlanSettings {
    let mut settings = VxlanSettings {
        vni: 0,
        peer: None,
        local: None,
        device: None,
        port: 0,
        learning: false,
        df: false,
        sums: false,
        accepts_no_sum6: false,
    };
    for attribute in data {
        match attribute {
            InfoVxlan::Id(vni) => settings.vni = *vni,
            InfoVxlan::Group(peer) => settings.peer = Some(IpAddr::V4(*peer)),
            InfoVxlan::Group6(peer) => settings.peer = Some(IpAddr::V6(*peer)),
            InfoVxlan::Local(local) => settings.local = Some(IpAddr::V4(*local)),
            InfoVxlan::Local6(local) => settings.local = Some(IpAddr::V6(*local)),
            InfoVxlan::Link(device) => settings.device = Some(*device),
            InfoVxlan::Port(port) => settings.port = *port,
            InfoVxlan::Learning(learning) => settings.learning = *learning,
            InfoVxlan::Df(df) => settings.df = *df == VxlanDf::Set,
            InfoVxlan::UDPCsum(sums) => settings.sums = *sums,
            InfoVxlan::UDPZeroCsumRX(accepts) => settings.accepts_no_sum6 = *accepts,
            _ => {}
        }
    }
    settings
}
