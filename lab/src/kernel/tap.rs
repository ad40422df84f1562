//! Plugging a guest's tap into its bridge.
//!
//! qemu makes the tap itself (`-netdev tap,ifname=mvtap40,script=no,downscript=no`), so that it goes away with qemu.
//! It has no mark: removing the bridge only unplugs it.

use std::time::Duration;

use super::error::Error;
use super::link::{Link, LinkKind};
use super::netlink::{Change, Netlink};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for the tap and makes it a port of the bridge.
pub(super) async fn attach(netlink: &Netlink, tap: &str, bridge: &str, limit: Duration) -> Result<(), Error> {
    let bridge = netlink.find(bridge).await?.ok_or_else(|| Error::NoInterface(bridge.to_owned()))?;
    if !matches!(bridge.kind, LinkKind::Bridge(_)) {
        return Err(wrong_kind(bridge, "bridge"));
    }
    let appears = async {
        loop {
            match netlink.find(tap).await? {
                Some(link) => return Ok(link),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    let no_tap = || Err(Error::NoTap { tap: tap.to_owned(), waited: limit });
    let link = tokio::time::timeout(limit, appears).await.unwrap_or_else(|_| no_tap())?;
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

async fn name_of(netlink: &Netlink, index: u32) -> Result<String, Error> {
    let found = netlink.links().await?.into_iter().find(|link| link.index == index);
    Ok(found.map_or_else(|| format!("interface {index}"), |link| link.name))
}

fn wrong_kind(link: Link, wanted: &'static str) -> Error {
    Error::WrongKind { kind: link.kind.name().to_owned(), interface: link.name, wanted }
}
