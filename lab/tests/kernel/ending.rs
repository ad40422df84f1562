//! Killed at any moment: what is left is known as ours.

use std::process::{Child, Command, Stdio};

use mvpnet_lab::kernel;

use crate::namespace::Namespace;
use crate::plan;
use crate::setting::{Need, begin, wait_for};

const CHILD: &str = "MVPNET_LAB_CHILD_TO_KILL";
const TUNNELS: usize = 40;
/// The group by which interfaces of `cluster` are known until they have their alias.
const GROUP: u32 = 1_836_513_420;

#[test]
fn whatever_a_killed_call_has_left_is_removed() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    for moment in (0..=TUNNELS).step_by(3) {
        let host = Namespace::new();
        host.ip("tuntap add dev uplink mode tap");
        let left = kill_when_there_are(&host, moment);
        host.enter(|| kernel::down("cluster")).unwrap();
        assert_eq!(host.interfaces(), ["uplink"], "killed when {left} were there");
    }
}

#[test]
fn an_interface_that_has_no_alias_yet_is_removed_too() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let host = Namespace::new();
    // As after the first of the requests that make a tunnel.
    host.ip(&format!("link add name vxlan40 group {GROUP} type vxlan id 40 dstport 4789 remote 10.1.0.1"));
    host.ip("link add name vxlan41 type vxlan id 41 dstport 4789 remote 10.1.0.1");
    assert_eq!(host.state().to_string(), "vxlan40: vxlan 40 to 10.1.0.1, UDP port 4789, down, MTU 1500\n");
    host.enter(|| kernel::down("cluster")).unwrap();
    assert_eq!(host.interfaces(), ["vxlan41"]);
}

#[test]
fn after_a_killed_call_the_next_one_completes_it() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    for moment in [0, 1, 7, 20] {
        let host = Namespace::new();
        kill_when_there_are(&host, moment);
        host.enter(|| kernel::up(&large())).unwrap();
        let state = host.state();
        assert_eq!(state.interfaces.len(), 1 + TUNNELS);
        assert!(state.interfaces.iter().all(|interface| interface.ours && interface.up), "{state}");
        assert!(host.enter(|| kernel::up(&large())).unwrap().done.is_empty());
    }
}

#[test]
fn a_killed_removal_is_completed_by_the_next() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    for moment in [0, 1, 7, 20] {
        let host = Namespace::new();
        host.enter(|| kernel::up(&large())).unwrap();
        let mut child = start(&host, "down");
        wait_for("removing", || (host.state().interfaces.len() <= 1 + TUNNELS - moment).then_some(()));
        end(&mut child);
        host.enter(|| kernel::down("cluster")).unwrap();
        assert_eq!(host.interfaces(), [""; 0]);
    }
}

fn large() -> kernel::BridgePlan {
    plan("10.1.0.2", "10.1.0.1", (40..).take(TUNNELS))
}

/// How many were there in the end.
fn kill_when_there_are(host: &Namespace, moment: usize) -> usize {
    let mut child = start(host, "up");
    wait_for("making", || (host.state().interfaces.len() >= moment).then_some(()));
    end(&mut child);
    host.state().interfaces.len()
}

fn start(host: &Namespace, task: &str) -> Child {
    let this = std::env::current_exe().expect("a program knows itself");
    let spawn = || {
        Command::new(this)
            .args(["--exact", "ending::child_to_kill", "--ignored"])
            .env(CHILD, task)
            .stdout(Stdio::null())
            .spawn()
    };
    host.enter(spawn).expect("this program runs")
}

fn end(child: &mut Child) {
    child.kill().expect("a child that was not waited for can be killed");
    child.wait().expect("a killed child ends");
}

#[test]
#[ignore = "other tests start it, to kill it"]
fn child_to_kill() {
    match std::env::var(CHILD).as_deref() {
        Ok("up") => drop(kernel::up(&large())),
        Ok("down") => drop(kernel::down("cluster")),
        _ => {}
    }
}
