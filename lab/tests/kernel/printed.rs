//! The printed commands do the same.

use std::io::Write;
use std::process::{Command, Stdio};

use mvpnet_lab::kernel::{self, BridgePlan, Layout};

use crate::namespace::Namespace;
use crate::setting::{Need, begin, wait_for};
use crate::{plan, two_tunnels};

fn pipe_to_sh(host: &Namespace, script: &str) {
    let run = || {
        let mut sh = Command::new("sh")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut stdin = sh.stdin.take().expect("it was piped");
        stdin.write_all(script.as_bytes()).expect("the shell reads");
        drop(stdin);
        sh.wait_with_output().expect("a child can be waited for")
    };
    let output = host.enter(run);
    assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
}

/// All that `ip` knows of each interface, without what is drawn by lot or counted.
fn details(host: &Namespace) -> Vec<String> {
    let drawn =
        ["link/ether", "designated_bridge", "designated_root", "bridge_id", "gc_timer", "hello_timer"];
    let listed = host.ip("-d -o link show");
    let mut lines = Vec::new();
    for line in listed.lines() {
        let mut words = line.split_whitespace().skip(1);
        let mut kept = Vec::new();
        while let Some(word) = words.next() {
            if drawn.contains(&word) {
                words.next();
            } else {
                kept.push(word);
            }
        }
        lines.push(kept.join(" "));
    }
    lines.sort();
    lines
}

#[test]
fn the_printed_commands_make_and_remove_the_same() {
    if !begin(&[Need::Namespaces]) {
        return;
    }
    let by_device =
        BridgePlan { device: Some("eth0".to_owned()), mtu: 1430, ..plan("fe80::2", "fe80::1", [40, 41]) };
    let plans = [
        two_tunnels(),
        plan("fd00::2", "fd00::1", [40, 41]),
        by_device,
        BridgePlan { layout: Layout::PerGuest, local: None, mtu: 8950, ..two_tunnels() },
    ];
    for plan in plans {
        let ((made, _far), (printed, _other_far)) =
            (Namespace::two("10.1.0.2/24", "10.1.0.1/24"), Namespace::two("10.1.0.2/24", "10.1.0.1/24"));
        let script = kernel::print(&plan).unwrap();
        made.enter(|| kernel::up(&plan)).unwrap();
        pipe_to_sh(&printed, &script.up);
        assert_eq!(printed.state(), made.state());
        // Whether a link has a carrier the kernel notes a moment later.
        wait_for("being the same", || (details(&printed) == details(&made)).then_some(()));
        let bridge = plan.bridge_of(&plan.tunnels[0]);
        assert_eq!(printed.listens_to_routers(&bridge), "0");
        assert!(printed.enter(|| kernel::up(&plan)).unwrap().done.is_empty(), "there is nothing to mend");

        pipe_to_sh(&printed, &script.down);
        assert_eq!(printed.interfaces(), ["eth0"]);
        pipe_to_sh(&printed, &script.up);
        printed.enter(|| kernel::down("cluster")).unwrap();
        assert_eq!(printed.interfaces(), ["eth0"], "the marks are the same");
    }
}
