//! Making, mending, removing.

use mvpnet_lab::kernel::{self, BridgePlan, Done, Layout};

use crate::namespace::Namespace;
use crate::setting::{Need, begin};
use crate::{plan, two_tunnels};

fn up(host: &Namespace, plan: &BridgePlan) -> Vec<String> {
    host.enter(|| kernel::up(plan)).expect("it can be made").done.iter().map(Done::to_string).collect()
}

fn down(host: &Namespace) -> Vec<String> {
    host.enter(|| kernel::down("cluster"))
        .expect("it can be removed")
        .done
        .iter()
        .map(Done::to_string)
        .collect()
}

#[test]
fn everything_is_made_once_and_removed_once() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    for plan in [two_tunnels(), plan("fd00::2", "fd00::1", [40, 41])] {
        let host = Namespace::new();
        assert_eq!(up(&host, &plan), ["made br-cluster", "made vxlan40", "made vxlan41"]);
        assert_eq!(up(&host, &plan), [""; 0], "the second time there is nothing to do");
        assert_eq!(down(&host), ["removed vxlan40", "removed vxlan41", "removed br-cluster"]);
        assert_eq!(down(&host), [""; 0]);
        assert_eq!(host.interfaces(), [""; 0]);
    }
}

#[test]
fn what_is_made_is_set_as_the_plan_has_it() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    up(&host, &two_tunnels());
    assert_eq!(
        host.state().to_string(),
        "br-cluster: bridge, up, MTU 1450\n    \
         vxlan40: vxlan 40 from 10.1.0.2 to 10.1.0.1, UDP port 4789, up, MTU 9216\n    \
         vxlan41: vxlan 41 from 10.1.0.2 to 10.1.0.1, UDP port 4789, up, MTU 9216\n"
    );
    let bridge = host.ip("-d link show dev br-cluster");
    for word in ["stp_state 0", "forward_delay 0", "mcast_snooping 0", "addrgenmode none", "group default"] {
        assert!(bridge.contains(word), "{word}: {bridge}");
    }
    assert!(bridge.contains("alias mvpnet:cluster"), "{bridge}");
    let tunnel = host.ip("-d link show dev vxlan40");
    for word in ["nolearning", "df set", "udpcsum", "addrgenmode none", "group default", "state forwarding"] {
        assert!(tunnel.contains(word), "{word}: {tunnel}");
    }
    assert_eq!(host.ip("-6 address show dev br-cluster"), "", "the guests' network is none of the host's");
    assert_eq!(host.listens_to_routers("br-cluster"), "0");
}

#[test]
fn guests_that_must_not_meet_have_a_bridge_each() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    let plan = BridgePlan { layout: Layout::PerGuest, ..two_tunnels() };
    assert_eq!(up(&host, &plan), ["made mvbr40", "made vxlan40", "made mvbr41", "made vxlan41"]);
    assert_eq!(up(&host, &plan), [""; 0]);
    assert_eq!(down(&host).len(), 4);
    assert_eq!(host.interfaces(), [""; 0]);
}

#[test]
fn what_somebody_has_changed_is_mended() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    up(&host, &two_tunnels());
    let good = host.state();
    for command in [
        "link set dev vxlan40 down",
        "link set dev vxlan40 nomaster",
        "link set dev vxlan41 mtu 1400",
        "link set dev br-cluster type bridge stp_state 1 mcast_snooping 1",
        "link set dev br-cluster mtu 1400",
    ] {
        host.ip(command);
    }
    assert_ne!(host.state(), good);
    assert_eq!(
        up(&host, &two_tunnels()),
        [
            "mended br-cluster: it had spanning tree and a forwarding delay and multicast snooping, its MTU was 1400",
            "mended vxlan40: it was not a port of br-cluster, it was down",
            "mended vxlan41: its MTU was 1400",
        ]
    );
    assert_eq!(host.state(), good);
    assert_eq!(up(&host, &two_tunnels()), [""; 0]);
}

#[test]
fn a_tunnel_that_leads_elsewhere_is_replaced() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    up(&host, &two_tunnels());
    let moved = BridgePlan { port: 8472, ..plan("10.1.0.2", "10.1.0.9", [40, 41]) };
    assert_eq!(
        up(&host, &moved),
        [
            "replaced vxlan40: its peer was 10.1.0.1, its port was 4789",
            "replaced vxlan41: its peer was 10.1.0.1, its port was 4789",
        ]
    );
    assert_eq!(up(&host, &moved), [""; 0]);
    // By hand, as `ip` allows it while the interface lives.
    host.ip("link set dev vxlan40 type vxlan id 40 remote 10.1.0.7 learning");
    assert_eq!(
        up(&host, &moved),
        ["replaced vxlan40: its peer was 10.1.0.7, learning, checksums or fragmentation were set otherwise"]
    );
    host.ip("link set dev vxlan40 down");
    host.ip("link set dev vxlan40 name renamed");
    assert_eq!(up(&host, &moved), ["removed renamed", "made vxlan40"], "it is in the way of its own tunnel");
}

#[test]
fn another_server_joins_the_bridge_and_the_first_stays() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    up(&host, &two_tunnels());
    let report = host.enter(|| kernel::up(&plan("10.1.0.2", "10.1.0.3", [50]))).unwrap();
    assert_eq!(
        report.to_string(),
        "made vxlan50\nkept vxlan40, which is not in the plan\nkept vxlan41, which is not in the plan\n"
    );
    assert_eq!(host.enter(kernel::names).unwrap(), ["cluster"]);
    down(&host);
    assert_eq!(host.interfaces(), [""; 0]);
}

#[test]
fn only_what_is_ours_is_removed() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    up(&host, &two_tunnels());
    let other = BridgePlan { name: "other".to_owned(), ..plan("10.1.0.2", "10.1.0.3", [50]) };
    up(&host, &other);
    host.ip("tuntap add dev uplink mode tap");
    host.ip("link set dev uplink master br-cluster");
    host.ip("link add name vxlan99 type vxlan id 99 dstport 4789 remote 10.1.0.8");
    // Even an interface that is in the group of ours, with an alias of its owner.
    host.ip("link add name br-theirs group 1836513420 type bridge");
    host.ip("link set dev br-theirs alias uplink");
    let ports: Vec<String> = host.state().interfaces.iter().map(ToString::to_string).collect();
    assert!(ports.contains(&"    uplink: tap, down, MTU 1500, not ours".to_owned()), "{ports:?}");
    assert_eq!(down(&host), ["removed vxlan40", "removed vxlan41", "removed br-cluster"]);
    assert_eq!(host.interfaces(), ["br-other", "br-theirs", "uplink", "vxlan50", "vxlan99"]);
    assert!(host.state().is_empty());
}

#[test]
fn two_that_come_at_once_take_turns() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    let plan = plan("10.1.0.2", "10.1.0.1", 40..60);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| up(&host, &plan).len())).collect();
        let made: Vec<usize> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        assert_eq!(made.iter().sum::<usize>(), 21, "one made everything and the others nothing: {made:?}");
    });
    down(&host);
    assert_eq!(host.interfaces(), [""; 0]);
}
