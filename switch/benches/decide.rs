//! What a decision costs, in nanoseconds: `cargo bench -p mvpnet-switch`.
//!
//! A plain loop over one frame whose head is in the cache, which is how a switch under load meets them.

use std::hint::black_box;
use std::time::Duration;

use mvpnet_switch::{Bridge, BridgeConfig, Config, Delivery, Ingress, Instant, MacAddr, Switch};

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/suite/frames.rs"]
mod frames;

use frames::*;

fn main() {
    // Cargo passes `--bench` when it benchmarks, and not when it only tests that this runs.
    let decisions = if std::env::args().any(|arg| arg == "--bench") { 5_000_000 } else { 1000 };
    let peer = |delivery| Ingress::Peer { origin: rank(1), delivery };
    let own = rank(0).mac();
    let cases = [
        ("unicast to a peer", Ingress::Guest, plain(rank(1).mac(), own)),
        ("unicast IPv6 to a peer", Ingress::Guest, ipv6_segment()),
        ("unicast to the guest", peer(Delivery::Unicast), plain(own, rank(1).mac())),
        ("unicast between containers, learned", Ingress::Guest, plain(OTHER_CONTAINER, CONTAINER)),
        ("broadcast", Ingress::Guest, plain(MacAddr::BROADCAST, own)),
        ("flood to pass on", peer(Delivery::Flood), plain(MacAddr::BROADCAST, rank(1).mac())),
        ("ARP reply", Ingress::Guest, arp_request(rank(1).ipv4())),
        ("neighbour advertisement", Ingress::Guest, neighbor_solicitation(rank(1).link_local())),
        ("DHCP offer", Ingress::Guest, dhcp_discover()),
        ("drop, absent rank", Ingress::Guest, plain(rank(99).mac(), own)),
    ];
    println!("{:<40} ns per decision", "");
    for (name, ingress, frame) in cases {
        println!("{name:<40} {:>6.1}", nanos_per_decision(ingress, &frame, decisions));
    }
    println!("{:<40} {:>6.1}", "made-up sources, table full", nanos_per_made_up_source(decisions));
    let bridge_cases = [
        ("bridge: unicast, learned", plain(OTHER_CONTAINER, CONTAINER)),
        ("bridge: broadcast to 15 ports", plain(MacAddr::BROADCAST, CONTAINER)),
    ];
    for (name, frame) in bridge_cases {
        println!("{name:<40} {:>6.1}", nanos_per_bridge_decision(&frame, decisions));
    }
}

/// A TCP segment over IPv6 from rank 0 to rank 1, all zeros but for what the switch looks at.
fn ipv6_segment() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    packet.extend(rank(0).link_local().octets());
    packet.extend(rank(1).link_local().octets());
    packet.resize(60, 0);
    ethernet(rank(1).mac(), rank(0).mac(), 0x86dd, &packet)
}

fn bench_switch() -> Switch {
    let mut switch = Switch::new(Config::new(rank(0), world(16)));
    // Where the other container is, so that it need not be flooded to; and a table that is not empty.
    for last in 0..=255 {
        let frame = plain(MacAddr::BROADCAST, MacAddr::new([0x02, 0x42, 0xac, 0x11, 0, last]));
        let ingress = Ingress::Peer { origin: rank(2), delivery: Delivery::Flood };
        let _ = switch.decide(Instant::ZERO, ingress, &frame, frame.len());
    }
    switch
}

fn nanos_per_decision(ingress: Ingress, frame: &[u8], decisions: u32) -> f64 {
    let mut switch = bench_switch();
    nanos_per_call(decisions, |number| {
        let now = Instant::ZERO + Duration::from_nanos(u64::from(number));
        let _ = black_box(switch.decide(now, ingress, black_box(frame), frame.len()));
    })
}

fn nanos_per_bridge_decision(frame: &[u8], decisions: u32) -> f64 {
    let mut bridge = Bridge::new(BridgeConfig { storm_limit: None, ..BridgeConfig::default() });
    let ports: Vec<_> = (40..56).map(|number| bridge.add_port(vni(number)).expect("a free VNI")).collect();
    for last in 0..=255 {
        let frame = plain(MacAddr::BROADCAST, MacAddr::new([0x02, 0x42, 0xac, 0x11, 0, last]));
        let _ = bridge.decide(Instant::ZERO, ports[usize::from(last) % 16], &frame, frame.len());
    }
    nanos_per_call(decisions, |number| {
        let now = Instant::ZERO + Duration::from_nanos(u64::from(number));
        let _ = black_box(bridge.decide(now, ports[2], black_box(frame), frame.len()));
    })
}

fn nanos_per_made_up_source(decisions: u32) -> f64 {
    let mut switch = bench_switch();
    let mut frame = plain(rank(1).mac(), CONTAINER);
    nanos_per_call(decisions, |number| {
        frame[8..12].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let _ = black_box(switch.decide(Instant::ZERO, Ingress::Guest, black_box(&frame), frame.len()));
    })
}

/// The best of five rounds: the others measure what else the machine does.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads the clock")]
fn nanos_per_call(calls: u32, mut call: impl FnMut(u32)) -> f64 {
    let round = |_| {
        let start = std::time::Instant::now();
        for number in 0..calls / 5 {
            call(number);
        }
        start.elapsed().as_nanos() as f64 / f64::from(calls / 5)
    };
    (0..5).map(round).fold(f64::INFINITY, f64::min)
}
