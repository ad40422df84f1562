//! The kernel's answers and ours to it, over rtnetlink(7). The only file that knows messages and attributes.

mod read;
mod write;

use std::io;

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkMessage;

use super::error::Error;
use super::link::{BridgeSettings, Link, VxlanSettings};
use super::names::Mark;
use super::plan::MAX_PORTS;

/// A connection to the kernel, of the network namespace that it was opened in.
pub(super) struct Netlink {
    handle: Handle,
}

/// What an interface is made with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Make {
    Bridge(BridgeSettings),
    Vxlan(VxlanSettings),
}

/// What is to be changed on an interface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change<'a> {
    pub mark: Option<&'a Mark>,
    pub mtu: Option<u32>,
    pub master: Option<u32>,
    /// It is to give itself no IPv6 address.
    pub no_address: bool,
    pub bridge: Option<BridgeSettings>,
}

impl Netlink {
    /// Connects, on the runtime that this is called in.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Netlink)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All interfaces.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let messages: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|error| because("listing the interfaces", error))?;
        Ok(messages.into_iter().map(read::link).collect())
    }

    /// The interface of this name.
    pub async fn find(&self, name: &str) -> Result<Option<Link>, Error> {
        let found = self.handle.link().get().match_name(name).execute().try_collect::<Vec<_>>().await;
        match found {
            Ok(messages) => Ok(messages.into_iter().map(read::link).next()),
            Err(error) if errno(&error) == Errno::ENODEV => Ok(None),
            Err(error) => Err(because(&format!("looking for the interface {name}"), error)),
        }
    }

    /// Makes an interface, which bears the mark's group from its first moment. It is down.
    pub async fn make(&self, name: &str, mark: &Mark, what: Make) -> Result<Link, Error> {
        let made = self.handle.link().add(write::make(name, mark.group, what)).execute().await;
        made.map_err(|error| match (errno(&error), what) {
            (Errno::EOPNOTSUPP, Make::Bridge(_)) => Error::Unsupported { kind: "bridge" },
            (Errno::EOPNOTSUPP, Make::Vxlan(_)) => Error::Unsupported { kind: "vxlan" },
            _ => because(&format!("making the interface {name}"), error),
        })?;
        self.find(name).await?.ok_or_else(|| Error::NoInterface(name.to_owned()))
    }

    /// Changes an interface.
    pub async fn change(&self, link: &Link, change: Change<'_>) -> Result<(), Error> {
        // Before the rest: while there is a spanning tree, the kernel takes no forwarding delay below two seconds.
        let first = change.bridge.map(|settings| write::spanning_tree(link, settings));
        for message in first.into_iter().chain([write::change(link, change)]) {
            let done = self.handle.link().change(message).execute().await;
            done.map_err(|error| match (errno(&error), change.mtu) {
                (Errno::EXFULL, _) => Error::Full { interface: link.name.clone(), max: MAX_PORTS },
                (Errno::EINVAL, Some(mtu)) => Error::Mtu { interface: link.name.clone(), mtu },
                _ => because(&format!("setting up the interface {}", link.name), error),
            })?;
        }
        Ok(())
    }

    /// Switches an interface on. (Not together with other changes: the kernel would do it before some of them.)
    pub async fn switch_on(&self, link: &Link, port: Option<u16>) -> Result<(), Error> {
        let done = self.handle.link().change(write::switch_on(link.index)).execute().await;
        done.map_err(|error| match (errno(&error), port) {
            (Errno::EADDRINUSE, Some(port)) => Error::PortTaken { port, interface: link.name.clone() },
            _ => because(&format!("switching the interface {} on", link.name), error),
        })
    }

    /// Puts an interface into a group. That it is gone is fine.
    pub async fn regroup(&self, link: &Link, group: u32) -> Result<(), Error> {
        let done = self.handle.link().change(write::regroup(link.index, group)).execute().await;
        unless_gone(done, || format!("removing the interface {}", link.name))
    }

    /// Removes all interfaces of a group. That there are none is fine.
    pub async fn remove_group(&self, group: u32) -> Result<(), Error> {
        let done = self.handle.link().del_with_message(write::of_group(group)).execute().await;
        unless_gone(done, || format!("removing the interfaces of group {group}"))
    }

    /// Removes an interface. That it is gone already is fine.
    pub async fn remove(&self, index: u32, name: &str) -> Result<(), Error> {
        let done = self.handle.link().del(index).execute().await;
        unless_gone(done, || format!("removing the interface {name}"))
    }
}

fn unless_gone(done: Result<(), rtnetlink::Error>, doing: impl Fn() -> String) -> Result<(), Error> {
    match done {
        Err(error) if errno(&error) != Errno::ENODEV => Err(because(&doing(), error)),
        _ => Ok(()),
    }
}

fn because(doing: &str, error: rtnetlink::Error) -> Error {
    let doing = doing.to_owned();
    match errno(&error) {
        Errno::EPERM | Errno::EACCES => Error::Permission { doing },
        Errno::UnknownErrno => Error::Kernel { doing, error: io::Error::other(error) },
        errno => Error::Kernel { doing, error: errno.into() },
    }
}

fn errno(error: &rtnetlink::Error) -> Errno {
    match error {
        rtnetlink::Error::NetlinkError(message) => Errno::from_raw(-message.raw_code()),
        _ => Errno::UnknownErrno,
    }
}
