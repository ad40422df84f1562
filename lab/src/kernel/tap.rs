//! A guest's tap, plugged into its bridge before the guest is there, so that it is in its place from the first frame on,
//! and still when the guest is started again.
//!
//! It has no mark: removing the bridge only unplugs it.

use std::io;
use std::process::Command;

use super::error::Error;
use super::link::{Link, LinkKind};
use super::netlink::{Change, Netlink};

/// Makes the tap, unless it is there, and makes it a port of the bridge.
pub(super) async fn plug_in(netlink: &Netlink, tap: &str, bridge: &str) -> Result<(), Error> {
    let bridge = netlink.find(bridge).await?.ok_or_else(|| Error::NoInterface(bridge.to_owned()))?;
    if !matches!(bridge.kind, LinkKind::Bridge(_)) {
        return Err(wrong_kind(bridge, "bridge"));
    }
    let link = match netlink.find(tap).await? {
        Some(link) => link,
        None => {
            make(tap)?;
            netlink.find(tap).await?.ok_or_else(|| Error::NoInterface(tap.to_owned()))?
        }
    };
    if link.kind != LinkKind::Tap {
        return Err(wrong_kind(link, "tap"));
    }
    if let Some(other) = link.master.filter(|master| *master != bridge.index) {
        return Err(Error::Plugged { tap: link.name, bridge: name_of(netlink, other).await? });
    }
    let change =
        Change { mtu: Some(bridge.mtu), master: Some(bridge.index), no_address: true, ..Change::default() };
    netlink.change(&link, change).await?;
    netlink.switch_on(&link, None).await
}

/// By iproute2: netlink makes no taps, and the ioctl(2) that does wants `unsafe`.
fn make(tap: &str) -> Result<(), Error> {
    let kernel = |error| Error::Kernel { doing: format!("making the tap {tap}"), error };
    let made =
        Command::new("ip").args(["tuntap", "add", "dev", tap, "mode", "tap"]).output().map_err(kernel)?;
    if made.status.success() {
        return Ok(());
    }
    Err(kernel(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned())))
}

async fn name_of(netlink: &Netlink, index: u32) -> Result<String, Error> {
    let found = netlink.links().await?.into_iter().find(|link| link.index == index);
    Ok(found.map_or_else(|| format!("interface {index}"), |link| link.name))
}

fn wrong_kind(link: Link, wanted: &'static str) -> Error {
    Error::WrongKind { kind: link.kind.name().to_owned(), interface: link.name, wanted }
}
