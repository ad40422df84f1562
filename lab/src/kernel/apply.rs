//! Doing it, step by step, and undoing it.

use std::io;

use super::error::Error;
use super::link::Link;
use super::names::{self, Mark};
use super::netlink::{Change, Make, Netlink};
use super::report::{Done, Report};
use super::steps::{self, Fix, Step};
use super::wanted::{self, Wanted, WantedKind};

/// How often a removal looks whether something is left, which somebody else made meanwhile.
const LOOKS: usize = 3;

/// Makes what is wanted.
pub(super) async fn up(netlink: &Netlink, mark: &Mark, wanted: &[Wanted]) -> Result<Report, Error> {
    let steps = steps::steps(mark, wanted, &netlink.links().await?)?;
    let mut report = Report { done: Vec::new(), kept: steps.kept };
    let mut made = Made { netlink, mark, links: Vec::new() };
    for step in steps.steps {
        match made.take(step).await {
            Ok(done) => report.done.push(done),
            Err(error) => return Err(made.undo(error).await),
        }
    }
    Ok(report)
}

/// Removes all that is marked.
pub(super) async fn down(netlink: &Netlink, mark: &Mark) -> Result<Report, Error> {
    let mut report = Report::default();
    for _ in 0..LOOKS {
        let mut ours: Vec<Link> =
            netlink.links().await?.into_iter().filter(|link| mark.is_on(link)).collect();
        if ours.is_empty() {
            break;
        }
        ours.sort_by_key(|link| (link.master.is_none(), link.index));
        remove_all(netlink, mark, &ours).await?;
        report.done.extend(ours.into_iter().map(|link| Done::Removed { interface: link.name }));
    }
    Ok(report)
}

/// Removes interfaces of ours, together: the kernel waits for all processors once for each request to remove
/// something, and a hundred waits are seconds.
async fn remove_all(netlink: &Netlink, mark: &Mark, ours: &[Link]) -> Result<(), Error> {
    if ours.is_empty() {
        return Ok(());
    }
    for link in ours {
        netlink.regroup(link, mark.group).await?;
    }
    let is_ours = |link: &Link| ours.iter().any(|ours| ours.index == link.index);
    if netlink.links().await?.iter().all(|link| link.group != mark.group || is_ours(link)) {
        return netlink.remove_group(mark.group).await;
    }
    // Somebody else has something in the same group.
    for link in ours {
        netlink.remove(link.index, &link.name).await?;
    }
    Ok(())
}

/// Has the host ignore router advertisements on a bridge: a guest that sends one (RFC 4861 §6.2) would otherwise
/// become the host's router. There is no netlink for it.
fn refuse_routers(bridge: &Link) {
    let path = names::accept_ra(&bridge.name);
    match std::fs::write(&path, "0") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{path} cannot be set to 0 ({error}): guests can set IPv6 routes of this host");
        }
        // Where the file is missing there is no IPv6.
        _ => {}
    }
}

/// What this call has made so far.
struct Made<'a> {
    netlink: &'a Netlink,
    mark: &'a Mark,
    links: Vec<Link>,
}

impl Made<'_> {
    async fn take(&mut self, step: Step) -> Result<Done, Error> {
        match step {
            Step::Remove { index, name } => {
                self.netlink.remove(index, &name).await?;
                Ok(Done::Removed { interface: name })
            }
            Step::Make { wanted, device, instead: None } => {
                self.make(&wanted, device).await?;
                Ok(Done::Made { interface: wanted.name })
            }
            Step::Make { wanted, device, instead: Some((index, was)) } => {
                self.netlink.remove(index, &wanted.name).await?;
                self.make(&wanted, device).await?;
                Ok(Done::Replaced { interface: wanted.name, was })
            }
            Step::Mend { link, fixes } => {
                self.mend(&link, &fixes).await?;
                Ok(Done::Mended { interface: link.name, was: fixes.iter().map(Fix::was).collect() })
            }
        }
    }

    async fn make(&mut self, wanted: &Wanted, device: Option<u32>) -> Result<(), Error> {
        let (what, port) = match &wanted.kind {
            WantedKind::Bridge => (Make::Bridge(wanted::BRIDGE), None),
            WantedKind::Vxlan(tunnel) => {
                let settings = tunnel.settings(device);
                (Make::Vxlan(settings), Some(settings.port))
            }
        };
        let link = self.netlink.make(&wanted.name, self.mark, what).await?;
        self.links.push(link.clone());
        let master = match &wanted.master {
            Some(bridge) => Some(self.index_of(bridge).await?),
            None => None,
        };
        let mark = Some(self.mark);
        let change = Change { mark, mtu: Some(wanted.mtu), master, no_address: true, bridge: None };
        self.netlink.change(&link, change).await?;
        if let Make::Bridge(_) = what {
            refuse_routers(&link);
        }
        self.netlink.switch_on(&link, port).await
    }

    async fn mend(&self, link: &Link, fixes: &[Fix]) -> Result<(), Error> {
        let mut change = Change::default();
        let mut switch_on = None;
        for fix in fixes {
            match fix {
                Fix::Mtu { to, .. } => change.mtu = Some(*to),
                Fix::Master { to } => change.master = Some(self.index_of(to).await?),
                Fix::Address => change.no_address = true,
                Fix::Bridge { to, .. } => change.bridge = Some(*to),
                Fix::Up { port } => switch_on = Some(*port),
            }
        }
        if fixes.len() > usize::from(switch_on.is_some()) {
            self.netlink.change(link, change).await?;
        }
        match switch_on {
            Some(port) => self.netlink.switch_on(link, port).await,
            None => Ok(()),
        }
    }

    async fn index_of(&self, name: &str) -> Result<u32, Error> {
        let made = self.links.iter().find(|link| link.name == name).map(|link| link.index);
        match made {
            Some(index) => Ok(index),
            None => match self.netlink.find(name).await? {
                Some(link) => Ok(link.index),
                None => Err(Error::NoInterface(name.to_owned())),
            },
        }
    }

    /// Removes it all again.
    async fn undo(self, error: Error) -> Error {
        match remove_all(self.netlink, self.mark, &self.links).await {
            Ok(()) => error,
            Err(_) => {
                let left = self.links.into_iter().map(|link| link.name).collect();
                Error::Left { error: Box::new(error), left }
            }
        }
    }
}
