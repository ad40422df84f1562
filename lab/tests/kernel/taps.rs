//! Guests' taps.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mvpnet_lab::kernel::{self, BridgePlan, Error, Layout};

use crate::namespace::Namespace;
use crate::setting::{Need, begin, wait_for};
use crate::two_tunnels;

const LIMIT: Duration = Duration::from_secs(20);

fn host() -> Namespace {
    let host = Namespace::new();
    let plan = BridgePlan { layout: Layout::PerGuest, ..two_tunnels() };
    host.enter(|| kernel::up(&plan)).expect("root may make interfaces");
    host
}

fn attach(host: &Namespace, tap: &str, bridge: &str, limit: Duration) -> Result<(), Error> {
    host.enter(|| kernel::attach_tap(tap, bridge, limit))
}

/// A machine without anything but a tap.
fn qemu(host: &Namespace, tap: &str) -> Child {
    let netdev = format!("tap,id=n,ifname={tap},script=no,downscript=no");
    let machine = ["-machine", "none", "-nodefaults", "-display", "none", "-netdev", &netdev];
    let spawn = || {
        Command::new("qemu-system-x86_64").args(machine).stdin(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    host.enter(spawn).expect("qemu was looked for")
}

#[test]
fn a_tap_is_plugged_in_when_qemu_makes_it_and_is_gone_with_qemu() {
    if !begin(&[Need::Namespaces, Need::Program("qemu-system-x86_64")]) {
        return;
    }
    let host = host();
    let mut guest = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| attach(&host, "mvtap40", "mvbr40", LIMIT));
        let guest = qemu(&host, "mvtap40");
        waiting.join().unwrap().unwrap();
        guest
    });
    let seen = host.state().to_string();
    assert!(seen.contains("    mvtap40: tap, up, MTU 1450, not ours\n"), "{seen}");
    assert!(host.ip("-d link show dev mvtap40").contains("addrgenmode none"));
    attach(&host, "mvtap40", "mvbr40", LIMIT).unwrap();

    guest.kill().unwrap();
    guest.wait().unwrap();
    wait_for("the tap's end", || (!host.interfaces().contains(&"mvtap40".to_owned())).then_some(()));
    assert_eq!(host.interfaces(), ["mvbr40", "mvbr41", "vxlan40", "vxlan41"]);
}

#[test]
fn taking_the_bridges_down_unplugs_a_tap_that_is_still_there() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = host();
    host.ip("tuntap add dev mvtap40 mode tap");
    attach(&host, "mvtap40", "mvbr40", LIMIT).unwrap();
    host.enter(|| kernel::down("cluster")).unwrap();
    assert_eq!(host.interfaces(), ["mvtap40"]);
    // A bridge that is back takes it again.
    let plan = BridgePlan { layout: Layout::PerGuest, ..two_tunnels() };
    host.enter(|| kernel::up(&plan)).unwrap();
    attach(&host, "mvtap40", "mvbr40", LIMIT).unwrap();
}

#[test]
fn what_cannot_be_plugged_in_is_said() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = host();
    let soon = Duration::from_millis(50);
    let said = |tap: &str, bridge: &str| attach(&host, tap, bridge, soon).unwrap_err().to_string();
    assert_eq!(said("mvtap40", "mvbr40"), "no tap mvtap40 appeared within 0.05 s");
    assert_eq!(said("mvtap40", "mvbr49"), "there is no interface mvbr49");
    assert_eq!(said("mvtap40", "vxlan40"), "the interface vxlan40 is not a bridge but a vxlan");
    assert_eq!(said("vxlan41", "mvbr40"), "the interface vxlan41 is not a tap but a vxlan");
    host.ip("tuntap add dev mvtap40 mode tap");
    attach(&host, "mvtap40", "mvbr40", soon).unwrap();
    assert_eq!(said("mvtap40", "mvbr41"), "the tap mvtap40 is a port of mvbr40 already");
}
