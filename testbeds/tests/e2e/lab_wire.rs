//! What a wire between the two servers shows: VXLAN with the right numbers, and every frame between guests.

use std::collections::BTreeMap;
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan};
use nix::sys::signal::Signal;

use crate::harness::{Lab, Launcher, Need, Watch, Whose, begin};

const SETTLING: Duration = Duration::from_secs(20);
const PINGS: usize = 5;

#[test]
fn every_frame_between_real_guests_crosses_the_wire_there_and_back_as_vxlan() {
    let needs = [Need::Servers, Need::Guests, Need::Wireshark, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::up(Whose::Ours, Whose::Ours, Plan::with_guests(3));
    let all = lab.guests();
    for guest in &all {
        guest.reaches_within(SETTLING, &all[1].ip());
    }
    let watch = Watch::begin(&lab.servers, Host::Server1, "udp port 4789");
    all[0].run(&format!("ping -c {PINGS} {}", all[1].ip()));
    all[2].run(&format!("iperf3 -c {} -n 100K", all[1].ip()));
    // An echo request and its reply: there by one guest's tunnel, back by the other's.
    let seen = watch.wait_for(4 * PINGS, "vxlan && icmp.ident", &["udp.dstport", "vxlan.vni", "icmp.type"]);
    let mut counts = BTreeMap::new();
    for packet in &seen {
        assert_eq!(packet[0], "4789");
        *counts.entry((packet[1].as_str(), packet[2].as_str())).or_insert(0) += 1;
    }
    let each = [("40", "0"), ("40", "8"), ("41", "0"), ("41", "8")].map(|kind| (kind, PINGS));
    assert_eq!(counts, BTreeMap::from(each), "by VNI and kind of ICMP message");
    // What guest 2 said is in its own VNI and in its receiver's, nowhere else.
    let of_third = watch.wait_for(2, "vxlan && tcp.srcport == 5201", &["vxlan.vni"]);
    assert!(of_third.iter().all(|packet| ["41", "42"].contains(&packet[0].as_str())), "{of_third:?}");
    let strange = "vxlan && !(vxlan.vni >= 40 && vxlan.vni <= 42)";
    assert!(watch.seen(strange, &["vxlan.vni"]).is_empty());
    drop(watch);

    // Without the bridge there is no way, not even inside server1.
    let bridge = lab.bridge.take().unwrap();
    bridge.signal(Signal::SIGTERM);
    assert_eq!(bridge.ended(), 0);
    assert!(!all[0].reaches(&all[1].ip()), "the guests have no other way to each other");
    lab.start_bridge(Whose::Ours, 3);
    all[0].reaches_within(SETTLING, &all[1].ip());
    lab.end_guests();
}

/// The frames' way in between may spread over paths: flows have source ports of their own (RFC 7348 §5).
#[test]
fn flows_between_guests_have_source_ports_of_their_own() {
    let Some(_turn) = begin(&[Need::Servers, Need::Wireshark, Need::Launcher(Launcher::Up)]) else { return };
    let mut lab = Lab::up(Whose::Kernels, Whose::Ours, Plan::with_guests(2));
    let all = lab.guests();
    all[0].reaches_within(SETTLING, &all[1].ip());
    let watch = Watch::begin(&lab.servers, Host::Server2, "udp and src host 192.0.2.2");
    let _server = all[1].serve_iperf3(&lab.servers);
    all[0].run(&format!("iperf3 -c {} -P 8 -n 64K", all[1].ip()));
    let seen = watch.wait_for(20, "vxlan && tcp.dstport == 5201", &["vxlan.vni", "tcp.srcport"]);
    assert!(seen.iter().all(|packet| packet[0] == "41"), "{seen:?}");
    // The outer port is the first of two: tshark is asked for the last of a field, so by a filter for each.
    let lower = watch.seen("vxlan && udp.srcport < 49152", &["udp.srcport"]);
    assert!(lower.is_empty(), "all are dynamic ports: {lower:?}");
    let ports = watch.seen("vxlan && tcp.dstport == 5201", &["udp.srcport"]);
    let ports: std::collections::BTreeSet<&String> = ports.iter().map(|packet| &packet[0]).collect();
    assert!(ports.len() >= 3, "nine connections use more than two ports: {ports:?}");
}
