use mvpnet_switch::Vni;

use super::*;
use crate::kernel::plan::{BridgePlan, Tunnel};

fn mark() -> Mark {
    Mark::new("cluster")
}

fn plan() -> BridgePlan {
    let tunnel = |vni| Tunnel { vni: Vni::new(vni).unwrap(), peer: "10.0.0.1".parse().unwrap() };
    BridgePlan { tunnels: vec![tunnel(40), tunnel(41)], ..BridgePlan::new("cluster") }
}

fn wanted() -> Vec<Wanted> {
    wanted::wanted(&plan()).unwrap()
}

/// All interfaces of the plan, as they should be.
fn complete() -> Vec<Link> {
    let bridge = 10;
    (bridge..)
        .zip(wanted())
        .map(|(index, wanted)| Link {
            alias: Some(mark().alias),
            mtu: wanted.mtu,
            master: wanted.master.map(|_| bridge),
            makes_address: Some(false),
            kind: match wanted.kind {
                WantedKind::Bridge => LinkKind::Bridge(wanted::BRIDGE),
                WantedKind::Vxlan(tunnel) => LinkKind::Vxlan(tunnel.settings(None)),
            },
            ..Link::other(index, &wanted.name, "")
        })
        .collect()
}

fn find(links: &[Link]) -> Steps {
    steps(&mark(), &wanted(), links).unwrap()
}

/// What is to be done, in short.
fn told(links: &[Link]) -> Vec<String> {
    let step = |step: &Step| match step {
        Step::Remove { name, .. } => format!("remove {name}"),
        Step::Make { wanted, instead: None, .. } => format!("make {}", wanted.name),
        Step::Make { wanted, instead: Some((_, was)), .. } => {
            format!("replace {}: {}", wanted.name, was.join(", "))
        }
        Step::Mend { link, fixes } => {
            let was: Vec<String> = fixes.iter().map(Fix::was).collect();
            format!("mend {}: {}", link.name, was.join(", "))
        }
    };
    find(links).steps.iter().map(step).collect()
}

#[test]
fn where_nothing_is_everything_is_made() {
    let uplink = Link::other(1, "eth0", "");
    assert_eq!(told(&[uplink]), ["make br-cluster", "make vxlan40", "make vxlan41"]);
}

#[test]
fn where_everything_is_nothing_is_done() {
    assert_eq!(find(&complete()), Steps::default());
}

#[test]
fn an_interface_that_was_never_completed_is_made_anew() {
    let mut links = complete();
    links[2] = Link { alias: None, group: mark().group, ..links[2].clone() };
    assert_eq!(told(&links), ["replace vxlan41: it was not complete"]);
    links[2].name = "vxlan49".to_owned();
    assert_eq!(told(&links), ["remove vxlan49", "make vxlan41"]);
}

#[test]
fn what_is_ours_and_not_wanted_stays_unless_it_is_in_the_way() {
    let mut links = complete();
    let LinkKind::Vxlan(settings) = links[2].kind else { unreachable!("the bridge is the first") };
    let other = VxlanSettings { vni: 60, ..settings };
    links.push(Link {
        index: 20,
        name: "vxlan60".to_owned(),
        kind: LinkKind::Vxlan(other),
        ..links[2].clone()
    });
    assert_eq!(find(&links), Steps { steps: Vec::new(), kept: vec!["vxlan60".to_owned()] });
    links[2].name = "renamed".to_owned();
    assert_eq!(told(&links), ["remove renamed", "make vxlan41"]);
}

#[test]
fn ports_of_a_bridge_that_is_replaced_are_plugged_in_again() {
    let mut links = complete();
    links[0].kind = LinkKind::Other("dummy".to_owned());
    assert_eq!(
        told(&links),
        [
            "replace br-cluster: it was a dummy",
            "mend vxlan40: it was not a port of br-cluster",
            "mend vxlan41: it was not a port of br-cluster",
        ]
    );
}

#[test]
fn addresses_are_of_no_concern_where_there_is_no_ipv6() {
    let mut links = complete();
    links[1].makes_address = None;
    assert_eq!(told(&links), [""; 0]);
    links[1].makes_address = Some(true);
    assert_eq!(told(&links), ["mend vxlan40: it gave itself an IPv6 address"]);
}

#[test]
fn the_same_vni_on_another_port_or_address_family_is_in_nobodys_way() {
    let mut links = complete();
    let LinkKind::Vxlan(settings) = links[2].kind else { unreachable!("the bridge is the first") };
    let mut with = |change: VxlanSettings| {
        let foreign = Link { kind: LinkKind::Vxlan(change), ..Link::other(30, "theirs", "") };
        links.truncate(3);
        links.push(foreign);
        steps(&mark(), &wanted(), &links)
    };
    assert!(with(VxlanSettings { port: 8472, ..settings }).is_ok());
    assert!(with(VxlanSettings { peer: Some("fd00::1".parse().unwrap()), ..settings }).is_ok());
    let refused = with(VxlanSettings { peer: None, ..settings });
    assert!(matches!(refused, Err(Error::VniTaken { vni: 41, port: 4789, .. })), "{refused:?}");
}
