//! Guests' taps.

use std::process::{Child, Command, Stdio};

use mvpnet_lab::kernel::{self, BridgePlan, Error, Layout};

use crate::namespace::Namespace;
use crate::setting::{Need, begin, wait_for};
use crate::two_tunnels;

fn host() -> Namespace {
    let host = Namespace::new();
    let plan = BridgePlan { layout: Layout::PerGuest, ..two_tunnels() };
    host.enter(|| kernel::up(&plan)).expect("root may make interfaces");
    host
}

fn plug_in(host: &Namespace, tap: &str, bridge: &str) -> Result<(), Error> {
    host.enter(|| kernel::plug_in(tap, bridge))
}

/// A machine without anything but a tap, which is there already.
fn qemu(host: &Namespace, tap: &str) -> Child {
    let netdev = format!("tap,id=n,ifname={tap},script=no,downscript=no");
    let machine = ["-machine", "none", "-nodefaults", "-display", "none", "-netdev", &netdev];
    let spawn = || {
        Command::new("qemu-system-x86_64").args(machine).stdin(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    host.enter(spawn).expect("qemu was looked for")
}

#[test]
fn a_tap_is_in_its_place_before_a_guest_uses_it_and_stays_for_the_next() {
    if !begin(&[Need::Namespaces, Need::Program("qemu-system-x86_64")]) {
        return;
    }
    let host = host();
    plug_in(&host, "mvtap40", "mvbr40").unwrap();
    let seen = host.state().to_string();
    assert!(seen.contains("    mvtap40: tap, up, MTU 1450, not ours\n"), "{seen}");
    assert!(host.ip("-d link show dev mvtap40").contains("addrgenmode none"));
    plug_in(&host, "mvtap40", "mvbr40").unwrap();
    for _ in 0..2 {
        let is_used = || host.ip("link show dev mvtap40").contains("LOWER_UP");
        let mut guest = qemu(&host, "mvtap40");
        wait_for("the guest's use of the tap", || is_used().then_some(()));
        guest.kill().unwrap();
        guest.wait().unwrap();
        wait_for("the end of that", || (!is_used()).then_some(()));
        assert!(host.state().to_string().contains("    mvtap40: tap, up"), "{}", host.state());
    }
}

#[test]
fn taking_the_bridges_down_unplugs_a_tap_that_is_still_there() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = host();
    plug_in(&host, "mvtap40", "mvbr40").unwrap();
    host.enter(|| kernel::down("cluster")).unwrap();
    assert_eq!(host.interfaces(), ["mvtap40"]);
    // A bridge that is back takes it again.
    let plan = BridgePlan { layout: Layout::PerGuest, ..two_tunnels() };
    host.enter(|| kernel::up(&plan)).unwrap();
    plug_in(&host, "mvtap40", "mvbr40").unwrap();
}

#[test]
fn what_cannot_be_plugged_in_is_said() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = host();
    let said = |tap: &str, bridge: &str| plug_in(&host, tap, bridge).unwrap_err().to_string();
    let no_name = said("mv/tap", "mvbr40");
    assert!(no_name.starts_with("making the tap mv/tap: "), "{no_name}");
    assert_eq!(said("mvtap40", "mvbr49"), "there is no interface mvbr49");
    assert_eq!(said("mvtap40", "vxlan40"), "the interface vxlan40 is not a bridge but a vxlan");
    assert_eq!(said("vxlan41", "mvbr40"), "the interface vxlan41 is not a tap but a vxlan");
    plug_in(&host, "mvtap40", "mvbr40").unwrap();
    assert_eq!(said("mvtap40", "mvbr41"), "the tap mvtap40 is a port of mvbr40 already");
}
