//! `mvpnet bridge --kernel`: the same bridge out of Linux's own parts.

use std::net::{IpAddr, SocketAddr};

use mvpnet_lab::kernel::{self, BridgePlan, Script, Tunnel};
use mvpnet_node::bridge::{Family, PeersError};
use mvpnet_transports::vxlan::{OVERHEAD_V6, Vtep, VtepConfig, inner_mtu};

use super::{BridgeFailure, Chosen, Run, say, source, write_out};

/// The largest MTU of a vxlan interface of the kernel: an IP packet has 65535 bytes, headers included.
const MOST: u32 = 65535 - OVERHEAD_V6;

/// Makes it, or writes down how.
pub(super) fn run(run: &Run, print: bool) -> Result<(), BridgeFailure> {
    let plan = plan(run)?;
    if print {
        let Script { up, down } = kernel::print(&plan)?;
        let down: String = down.lines().map(|line| format!("#   {line}\n")).collect();
        write_out(&format!("{up}# to take it down again:\n{down}"));
        return Ok(());
    }
    let report = kernel::up(&plan)?;
    write_out(&report.to_string());
    let BridgePlan { name, mtu, tunnels, .. } = &plan;
    let vnis = if tunnels.len() == 1 { "VNI" } else { "VNIs" };
    say(&format!(
        "bridge {name} of the kernel is ready: {} {vnis}, MTU {mtu} for the guests; `mvpnet bridge down --name {name}` \
         removes it",
        tunnels.len()
    ));
    Ok(())
}

fn plan(run: &Run) -> Result<BridgePlan, BridgeFailure> {
    let family = run.listen.map_or(Family::Either, Family::reached_from);
    let tunnels = source(run)
        .tunnels(family, run.port)
        .map_err(|error: PeersError| BridgeFailure::Bridge(error.into()))?;
    if let Some(other) = tunnels.iter().find(|tunnel| tunnel.peer.port() != run.port) {
        return Err(BridgeFailure::Usage(format!(
            "{other}: a bridge of the kernel sends to the port that it listens on (--vxlan-port {})",
            run.port
        )));
    }
    let plan = BridgePlan {
        local: run.listen.filter(|listen| !listen.is_unspecified()),
        device: device(tunnels.iter().map(|tunnel| tunnel.peer)),
        port: run.port,
        mtu: mtu(run, &tunnels)?,
        tunnels: tunnels.iter().map(|tunnel| Tunnel { vni: tunnel.vni, peer: tunnel.peer.ip() }).collect(),
        ..BridgePlan::new(&run.name)
    };
    plan.check().map_err(|error| BridgeFailure::Usage(error.to_string()))?;
    Ok(plan)
}

/// The interface that the zone of a link-local address names (RFC 4007 §11).
fn device(mut peers: impl Iterator<Item = SocketAddr>) -> Option<String> {
    let zone = peers.find_map(|peer| match peer {
        SocketAddr::V6(peer) if peer.scope_id() > 0 => Some(peer.scope_id()),
        _ => None,
    })?;
    nix::net::if_::if_indextoname(zone).ok()?.into_string().ok()
}

/// What the paths carry, as the user-space bridge finds it: a socket to each peer knows its route.
fn mtu(run: &Run, tunnels: &[mvpnet_transports::vxlan::Tunnel]) -> Result<u32, BridgeFailure> {
    let any: IpAddr =
        if tunnels.iter().all(|tunnel| tunnel.peer.is_ipv4()) { [0; 4].into() } else { [0u16; 8].into() };
    let listen = SocketAddr::new(run.listen.unwrap_or(any), 0);
    let mut vtep =
        Vtep::bind(&VtepConfig::new(listen)).map_err(|error| BridgeFailure::Bridge(error.into()))?;
    let mut narrowest = None;
    for tunnel in tunnels {
        let id = vtep.add(*tunnel).map_err(|error| BridgeFailure::Usage(error.to_string()))?;
        let path_mtu = vtep.path_mtu(id);
        let most = inner_mtu(path_mtu, tunnel.peer.ip()).unwrap_or(0);
        narrowest = narrowest.into_iter().chain([(most, path_mtu, tunnel.peer)]).min();
    }
    match (run.mtu, narrowest) {
        (Some(mtu), Some((most, path_mtu, peer))) if mtu > most => {
            Err(BridgeFailure::Bridge(mvpnet_node::bridge::BridgeError::Mtu { mtu, peer, path_mtu, most }))
        }
        (Some(mtu), _) => Ok(mtu),
        (None, Some((most, ..))) => Ok(most.min(MOST)),
        (None, None) => Ok(BridgePlan::new(&run.name).mtu),
    }
}

/// Shows what is there of the kernel's.
pub(super) fn status(chosen: &Chosen) -> Result<(), BridgeFailure> {
    let names = meant(chosen)?;
    let [name] = names.as_slice() else {
        return Err(BridgeFailure::None(match (names.is_empty(), &chosen.name) {
            (true, Some(name)) => {
                format!("there is no bridge `{name}`, neither a running one of yours nor one of the kernel")
            }
            (true, None) => "no bridge of yours runs on this host, and the kernel has none".to_owned(),
            (false, _) => format!("which bridge? Say it with --name: the kernel has {}", names.join(" and ")),
        }));
    };
    let state = kernel::state(name)?;
    write_out(&if chosen.json { format!("{}\n", serde_json::json!(state)) } else { state.to_string() });
    Ok(())
}

/// Takes down what is there of the kernel's.
pub(super) fn down(chosen: &Chosen) -> Result<(), BridgeFailure> {
    let names = meant(chosen)?;
    if names.len() > 1 {
        return Err(BridgeFailure::Usage(format!(
            "which bridge? Say it with --name: the kernel has {}",
            names.join(" and ")
        )));
    }
    let report = match names.first() {
        Some(name) => kernel::down(name)?,
        None => kernel::Report::default(),
    };
    if chosen.json {
        write_out(&format!("{}\n", serde_json::json!(report)));
    } else if report.done.is_empty() {
        let name = chosen.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        write_out(&format!("there is no bridge{name}: nothing to do\n"));
    } else {
        write_out(&report.to_string());
    }
    Ok(())
}

fn meant(chosen: &Chosen) -> Result<Vec<String>, BridgeFailure> {
    let mut names = kernel::names()?;
    if let Some(name) = &chosen.name {
        names.retain(|other| other == name);
    }
    Ok(names)
}
