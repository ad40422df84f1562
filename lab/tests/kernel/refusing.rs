//! What is not ours is left alone, and what fails half way leaves nothing.

use std::net::UdpSocket;
use std::process::Command;

use mvpnet_lab::kernel::{self, BridgePlan, Error};

use crate::namespace::Namespace;
use crate::setting::{Need, begin};
use crate::{plan, two_tunnels};

fn refusal(host: &Namespace, plan: &BridgePlan) -> Error {
    host.enter(|| kernel::up(plan)).expect_err("it is refused")
}

#[test]
fn a_foreign_interface_of_the_same_name_is_left_alone() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    for (name, kind) in
        [("br-cluster", "bridge"), ("br-cluster", "tap"), ("vxlan40", "tap"), ("vxlan41", "tap")]
    {
        let host = Namespace::new();
        match kind {
            "tap" => host.ip(&format!("tuntap add dev {name} mode tap")),
            _ => host.ip(&format!("link add name {name} type {kind}")),
        };
        let before = host.ip("-d link show");
        let error = refusal(&host, &two_tunnels());
        assert!(matches!(&error, Error::Foreign { interface, .. } if interface == name), "{error}");
        assert!(error.to_string().starts_with(&format!("there is an interface {name} ({kind}) already")));
        assert!(host.enter(|| kernel::down("cluster")).unwrap().done.is_empty());
        assert_eq!(host.ip("-d link show"), before);
    }
}

#[test]
fn a_tunnel_of_another_lab_is_left_alone() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    let other = BridgePlan { name: "other".to_owned(), ..plan("10.1.0.2", "10.1.0.3", [41]) };
    host.enter(|| kernel::up(&other)).unwrap();
    let error = refusal(&host, &two_tunnels());
    assert!(matches!(&error, Error::Owned { owner, .. } if owner == "other"), "{error}");
    assert_eq!(host.interfaces(), ["br-other", "vxlan41"]);
}

#[test]
fn a_vni_that_another_interface_has_is_said_before_anything_is_made() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    host.ip("link add name theirs type vxlan id 41 dstport 4789 remote 10.1.0.8");
    let error = refusal(&host, &two_tunnels());
    let said = "VNI 41 on UDP port 4789 is in use by the interface theirs, which mvpnet leaves alone";
    assert_eq!(error.to_string(), said);
    assert_eq!(host.interfaces(), ["theirs"]);
}

#[test]
fn a_failure_half_way_leaves_nothing_of_this_call() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| kernel::up(&plan("10.1.0.2", "10.1.0.1", [40]))).unwrap();
    let before = host.state();
    // The port of the second tunnel is taken, which shows only when it is switched on.
    let taken = host.enter(|| UdpSocket::bind("0.0.0.0:8472")).unwrap();
    let second = BridgePlan { port: 8472, ..plan("10.1.0.2", "10.1.0.1", [50, 51]) };
    let error = refusal(&host, &second);
    assert!(
        matches!(&error, Error::PortTaken { port: 8472, interface } if interface == "vxlan50"),
        "{error}"
    );
    assert_eq!(host.state(), before, "what was there before is as before");
    drop(taken);
    host.enter(|| kernel::up(&second)).unwrap();
    assert_eq!(host.interfaces(), ["br-cluster", "vxlan40", "vxlan50", "vxlan51"]);
}

#[test]
fn a_bridge_that_is_full_takes_no_more() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| kernel::up(&plan("10.1.0.2", "10.1.0.1", 0..1000))).unwrap();
    let error = refusal(&host, &plan("10.1.0.2", "10.1.0.3", 1000..1024));
    assert!(matches!(&error, Error::Full { interface, .. } if interface == "vxlan1023"), "{error}");
    assert_eq!(host.state().interfaces.len(), 1001, "what this call had made is gone again");
    host.enter(|| kernel::down("cluster")).unwrap();
    assert_eq!(host.interfaces(), [""; 0]);
}

#[test]
fn a_tunnel_is_bound_to_an_interface_that_is_there_and_takes_its_mtu() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let (host, _far) = Namespace::two("10.1.0.2/24", "10.1.0.1/24");
    let bound = |device: &str| BridgePlan { device: Some(device.to_owned()), ..two_tunnels() };
    assert_eq!(refusal(&host, &bound("eth7")).to_string(), "there is no interface eth7");
    let error = refusal(&host, &BridgePlan { mtu: 1451, ..bound("eth0") });
    let said = "the interface vxlan40 cannot have an MTU of 1451 bytes: what it is bound to carries less";
    assert_eq!(error.to_string(), said);
    assert_eq!(host.interfaces(), ["eth0"]);
    host.enter(|| kernel::up(&bound("eth0"))).unwrap();
    let report = host.enter(|| kernel::up(&two_tunnels())).unwrap();
    assert_eq!(report.done[0].to_string(), "replaced vxlan40: it was bound to another interface, or to none");
}

#[test]
fn without_the_privilege_looking_works_and_making_says_what_is_missing() {
    if !begin(&[Need::Namespaces, Need::Program("setpriv")]) {
        return;
    }
    let host = Namespace::new();
    let this = std::env::current_exe().unwrap();
    let unprivileged = || {
        Command::new("setpriv")
            .args(["--bounding-set=-net_admin", "--"])
            .arg(this)
            .args(["--exact", "refusing::child_without_the_privilege", "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .output()
    };
    let output = host.enter(unprivileged).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("making the interface br-cluster needs the privilege CAP_NET_ADMIN"), "{said}");
}

const CHILD: &str = "MVPNET_LAB_CHILD_WITHOUT_PRIVILEGE";

#[test]
#[ignore = "another test starts it, without a privilege"]
fn child_without_the_privilege() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    assert!(kernel::state("cluster").unwrap().is_empty());
    assert!(kernel::down("cluster").unwrap().done.is_empty(), "there is nothing to remove");
    let error = kernel::up(&two_tunnels()).unwrap_err();
    assert!(matches!(error, Error::Permission { .. }), "{error}");
    println!("{error}");
}
