//! From what there is and what there is to be to what has to be done: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::link::{BridgeSettings, Link, LinkKind, VxlanSettings};
use super::names::{self, Mark};
use super::wanted::{self, Wanted, WantedKind};

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What a call that was killed has left, or what stands under another name in a tunnel's way.
    Remove { index: u32, name: String },
    /// An interface; first remove the one that it replaces, which was set in this way.
    Make { wanted: Wanted, device: Option<u32>, instead: Option<(u32, Vec<String>)> },
    /// Changes to an interface.
    Mend { link: Link, fixes: Vec<Fix> },
}

/// Something that is to change on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    Mtu { from: u32, to: u32 },
    Master { to: String },
    Address,
    Bridge { from: BridgeSettings, to: BridgeSettings },
    Up { port: Option<u16> },
}

/// All that has to be done, in its order, and what is ours but not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub steps: Vec<Step>,
    pub kept: Vec<String>,
}

/// What has to be done so that `links` become what is wanted. An error: something is in the way that must not be
/// touched.
pub(super) fn steps(mark: &Mark, wanted: &[Wanted], links: &[Link]) -> Result<Steps, Error> {
    let now = Now::new(mark, links);
    let names: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let mut found = Steps::default();
    for link in links.iter().filter(|link| mark.is_on(link) && !names.contains(link.name.as_str())) {
        if link.alias.is_none() || is_in_the_way(link, wanted) {
            found.steps.push(Step::Remove { index: link.index, name: link.name.clone() });
        } else {
            found.kept.push(link.name.clone());
        }
    }
    let mut remade = BTreeSet::new();
    for wanted in wanted {
        let step = now.step(wanted, &remade)?;
        if matches!(step, Some(Step::Make { .. })) {
            remade.insert(wanted.name.as_str());
        }
        found.steps.extend(step);
    }
    Ok(found)
}

/// What is there.
struct Now<'a> {
    mark: &'a Mark,
    links: &'a [Link],
    by_name: BTreeMap<&'a str, &'a Link>,
}

impl<'a> Now<'a> {
    fn new(mark: &'a Mark, links: &'a [Link]) -> Self {
        Self { mark, links, by_name: links.iter().map(|link| (link.name.as_str(), link)).collect() }
    }

    fn step(&self, wanted: &Wanted, remade: &BTreeSet<&str>) -> Result<Option<Step>, Error> {
        let device = self.device(wanted)?;
        self.check_collisions(wanted)?;
        let make = |instead| Step::Make { wanted: wanted.clone(), device, instead };
        let Some(link) = self.by_name.get(wanted.name.as_str()).copied() else { return Ok(Some(make(None))) };
        if !self.mark.is_on(link) {
            return Err(refusal(link));
        }
        let mut wrong = differences(wanted, device, link);
        if link.alias.is_none() {
            wrong.push("it was not complete".to_owned());
        }
        if !wrong.is_empty() {
            return Ok(Some(make(Some((link.index, wrong)))));
        }
        let fixes = self.fixes(wanted, link, remade);
        Ok((!fixes.is_empty()).then(|| Step::Mend { link: link.clone(), fixes }))
    }

    /// The index of the interface that a tunnel is to be bound to.
    fn device(&self, wanted: &Wanted) -> Result<Option<u32>, Error> {
        let WantedKind::Vxlan(tunnel) = &wanted.kind else { return Ok(None) };
        let Some(device) = &tunnel.device else { return Ok(None) };
        let link = self.by_name.get(device.as_str()).ok_or_else(|| Error::NoInterface(device.clone()))?;
        Ok(Some(link.index))
    }

    /// An interface of another name, not ours, with the VNI of a tunnel.
    fn check_collisions(&self, wanted: &Wanted) -> Result<(), Error> {
        let WantedKind::Vxlan(tunnel) = &wanted.kind else { return Ok(()) };
        let settings = tunnel.settings(None);
        let others = self.links.iter().filter(|link| link.name != wanted.name && !self.mark.is_on(link));
        for link in others {
            if let LinkKind::Vxlan(theirs) = &link.kind
                && theirs.collides_with(&settings)
            {
                let interface = link.name.clone();
                return Err(Error::VniTaken { vni: settings.vni, port: settings.port, interface });
            }
        }
        Ok(())
    }

    fn fixes(&self, wanted: &Wanted, link: &Link, remade: &BTreeSet<&str>) -> Vec<Fix> {
        let mut fixes = Vec::new();
        if let LinkKind::Bridge(from) = link.kind
            && from != wanted::BRIDGE
        {
            fixes.push(Fix::Bridge { from, to: wanted::BRIDGE });
        }
        if link.mtu != wanted.mtu {
            fixes.push(Fix::Mtu { from: link.mtu, to: wanted.mtu });
        }
        if let Some(master) = &wanted.master {
            let is_port = self.by_name.get(master.as_str()).is_some_and(|b| Some(b.index) == link.master);
            if !is_port || remade.contains(master.as_str()) {
                fixes.push(Fix::Master { to: master.clone() });
            }
        }
        if link.makes_address == Some(true) {
            fixes.push(Fix::Address);
        }
        if !link.is_up {
            let port = match &wanted.kind {
                WantedKind::Bridge => None,
                WantedKind::Vxlan(tunnel) => Some(tunnel.settings(None).port),
            };
            fixes.push(Fix::Up { port });
        }
        fixes
    }
}

/// Whether an interface of ours, under a name that is not wanted, has the VNI of a tunnel that is.
fn is_in_the_way(link: &Link, wanted: &[Wanted]) -> bool {
    let LinkKind::Vxlan(ours) = &link.kind else { return false };
    wanted.iter().any(|wanted| match &wanted.kind {
        WantedKind::Bridge => false,
        WantedKind::Vxlan(tunnel) => ours.collides_with(&tunnel.settings(None)),
    })
}

fn refusal(link: &Link) -> Error {
    let interface = link.name.clone();
    match names::owner(link) {
        Some(owner) => Error::Owned { interface, owner: owner.to_owned() },
        None => Error::Foreign { interface, kind: link.kind.name().to_owned() },
    }
}

/// What cannot be changed on an interface that is there, but only by making it anew.
fn differences(wanted: &Wanted, device: Option<u32>, link: &Link) -> Vec<String> {
    match (&wanted.kind, &link.kind) {
        (WantedKind::Bridge, LinkKind::Bridge(_)) => Vec::new(),
        (WantedKind::Vxlan(tunnel), LinkKind::Vxlan(was)) => {
            tunnel_differences(tunnel.settings(device), *was)
        }
        (_, other) => vec![format!("it was a {}", other.name())],
    }
}

fn tunnel_differences(wanted: VxlanSettings, was: VxlanSettings) -> Vec<String> {
    let address = |address: Option<_>| match address {
        Some(address) => format!("{address}"),
        None => "not set".to_owned(),
    };
    let mut found = Vec::new();
    if was.vni != wanted.vni {
        found.push(format!("its VNI was {}", was.vni));
    }
    if was.peer != wanted.peer {
        found.push(format!("its peer was {}", address(was.peer)));
    }
    if was.local != wanted.local {
        found.push(format!("its local address was {}", address(was.local)));
    }
    if was.port != wanted.port {
        found.push(format!("its port was {}", was.port));
    }
    if was.device != wanted.device {
        found.push("it was bound to another interface, or to none".to_owned());
    }
    let rest = |s: VxlanSettings| (s.learning, s.df, s.sums, s.accepts_no_sum6);
    if rest(was) != rest(wanted) {
        found.push("learning, checksums or fragmentation were set otherwise".to_owned());
    }
    found
}

impl Fix {
    /// What was not right.
    pub fn was(&self) -> String {
        match self {
            Self::Mtu { from, .. } => format!("its MTU was {from}"),
            Self::Master { to } => format!("it was not a port of {to}"),
            Self::Address => "it gave itself an IPv6 address".to_owned(),
            Self::Bridge { from, to } => bridge_was(*from, *to),
            Self::Up { .. } => "it was down".to_owned(),
        }
    }
}

fn bridge_was(from: BridgeSettings, to: BridgeSettings) -> String {
    let settings = [
        (from.stp != to.stp, "spanning tree"),
        (from.forward_delay != to.forward_delay, "a forwarding delay"),
        (from.snooping != to.snooping, "multicast snooping"),
    ];
    let named: Vec<&str> = settings.iter().filter(|(differs, _)| *differs).map(|(_, name)| *name).collect();
    format!("it had {}", named.join(" and "))
}

#[cfg(test)]
mod tests;
