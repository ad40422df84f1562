//! `decide` takes no memory from the allocator, whatever it decides.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::Ipv4Addr;

use mvpnet_switch::{
    Bridge, BridgeConfig, BridgeVerdict, Config, Delivery, DropReason, Ingress, Instant, MacAddr, PortId,
    ReplyKind, Switch, Verdict,
};

#[allow(dead_code, reason = "the suite uses the rest")]
#[path = "suite/frames.rs"]
mod frames;

use frames::*;

thread_local! {
    /// Of this thread only: the test harness allocates on others when it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came. Counting neither allocates nor unwinds: the
// counter is a constant-initialised thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and all memory is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `realloc`'s contract, and all memory is the system allocator's.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `act` takes memory.
fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(black_box(Vec::<u8>::with_capacity(10)))), 1);
}

#[test]
fn no_decision_allocates() {
    let mut switch = switch();
    let peer = |delivery| Ingress::Peer { origin: rank(1), delivery };
    let mut renewal = dhcp_message(rank(0).mac(), 3, &[&[61, 7, 1, 2, 3, 4, 5, 6, 7]]);
    renewal[12..16].copy_from_slice(&[10, 0, 0, 9]);
    let is = |expected: Verdict| move |verdict: &Verdict| *verdict == expected;
    type Check = Box<dyn Fn(&Verdict) -> bool>;
    let cases: Vec<(&str, Ingress, Vec<u8>, Check)> = vec![
        (
            "unicast",
            Ingress::Guest,
            plain(rank(1).mac(), rank(0).mac()),
            Box::new(is(Verdict::Forward(PortId::Peer(rank(1))))),
        ),
        (
            "unicast from a peer",
            peer(Delivery::Unicast),
            plain(rank(0).mac(), rank(1).mac()),
            Box::new(is(Verdict::Forward(PortId::Guest))),
        ),
        (
            "broadcast",
            Ingress::Guest,
            plain(MacAddr::BROADCAST, rank(0).mac()),
            Box::new(|verdict| matches!(verdict, Verdict::Flood(_))),
        ),
        (
            "a flood to pass on",
            peer(Delivery::Flood),
            plain(MacAddr::BROADCAST, rank(1).mac()),
            Box::new(|verdict| matches!(verdict, Verdict::Flood(_))),
        ),
        ("ARP", Ingress::Guest, arp_request(rank(1).ipv4()), Box::new(is(Verdict::Reply(ReplyKind::Arp)))),
        (
            "neighbour solicitation",
            Ingress::Guest,
            neighbor_solicitation(rank(1).link_local()),
            Box::new(is(Verdict::Reply(ReplyKind::NeighborAdvertisement))),
        ),
        (
            "router solicitation",
            Ingress::Guest,
            router_solicitation(rank(0).link_local()),
            Box::new(is(Verdict::Reply(ReplyKind::RouterAdvertisement))),
        ),
        ("DHCP offer", Ingress::Guest, dhcp_discover(), Box::new(is(Verdict::Reply(ReplyKind::DhcpOffer)))),
        (
            "DHCP refusal",
            Ingress::Guest,
            dhcp(Ipv4Addr::BROADCAST, &renewal),
            Box::new(is(Verdict::Reply(ReplyKind::DhcpNak))),
        ),
        (
            "malformed ARP",
            Ingress::Guest,
            arp_request(rank(1).ipv4())[..20].to_vec(),
            Box::new(is(Verdict::Drop(DropReason::ArpMalformed))),
        ),
        (
            "malformed DHCP",
            Ingress::Guest,
            dhcp(Ipv4Addr::BROADCAST, &[0; 9]),
            Box::new(is(Verdict::Drop(DropReason::DhcpMalformed))),
        ),
        (
            "oversize IPv4",
            Ingress::Guest,
            ipv4(1501, rank(0), rank(1), |_| ()),
            Box::new(is(Verdict::Reply(ReplyKind::TooBig))),
        ),
        (
            "oversize IPv6",
            Ingress::Guest,
            tagged(&ipv6(1501, rank(0), rank(1), 6, &[]), &[0x88a8, 0x8100]),
            Box::new(is(Verdict::Reply(ReplyKind::TooBig))),
        ),
        ("runt", Ingress::Guest, vec![0; 13], Box::new(is(Verdict::Drop(DropReason::Runt)))),
        (
            "absent rank",
            Ingress::Guest,
            plain(rank(9).mac(), rank(0).mac()),
            Box::new(is(Verdict::Drop(DropReason::AbsentRank))),
        ),
    ];
    for (name, ingress, frame, is_expected) in cases {
        let count = allocations(|| {
            let verdict = switch.decide(Instant::ZERO, ingress, &frame, frame.len());
            assert!(is_expected(&verdict), "{name}: {verdict:?}");
        });
        assert_eq!(count, 0, "{name}");
    }
}

#[test]
fn neither_learning_nor_ageing_nor_a_full_table_allocates() {
    let mut switch = Switch::new(Config { fdb_capacity: 1000, ..config() });
    let mut frame = plain(MacAddr::BROADCAST, CONTAINER);
    let count = allocations(|| {
        for second in 0..10_000u32 {
            frame[8..12].copy_from_slice(&second.to_be_bytes());
            let now = Instant::from_nanos(u64::from(second) * 250_000_000);
            let _ = switch.decide(now, Ingress::Guest, &frame, frame.len());
        }
    });
    let fdb = switch.counters().fdb;
    assert!(fdb.learned > 1000 && fdb.aged_out > 1000 && fdb.table_full > 0, "{fdb:?}");
    assert_eq!(count, 0);
}

#[test]
fn no_decision_of_a_bridge_allocates() {
    let mut bridge =
        Bridge::new(BridgeConfig { fdb_capacity: 100, storm_limit: Some(50), ..BridgeConfig::default() });
    let [here, there] = [40, 41].map(|number| bridge.add_port(vni(number)).unwrap());
    let mut made_up = plain(MacAddr::BROADCAST, CONTAINER);
    let frames = [
        plain(rank(0).mac(), rank(1).mac()),
        plain(MacAddr::BROADCAST, rank(1).mac()),
        ipv4(1500, rank(1), rank(0), |_| ()),
        ipv6(1500, rank(1), rank(0), 6, &[]),
        vec![0; 13],
        // Seen on the other port when the next round begins.
        plain(rank(1).mac(), rank(0).mac()),
    ];
    let mut seen = [0; 4];
    let count = allocations(|| {
        for second in 0..1000u32 {
            made_up[8..12].copy_from_slice(&second.to_be_bytes());
            let now = Instant::from_nanos(u64::from(second) * 1_000_000_000);
            let ingress = if second % 2 == 0 { here } else { there };
            for frame in [&made_up].into_iter().chain(&frames) {
                let kind = match bridge.decide(now, ingress, frame, frame.len()) {
                    BridgeVerdict::Forward(_) => 0,
                    BridgeVerdict::Flood => bridge.flood_targets(ingress).count(),
                    BridgeVerdict::Reply(_) => 2,
                    BridgeVerdict::Drop(_) => 3,
                };
                seen[kind] += 1;
            }
        }
    });
    let fdb = bridge.fdb_counters();
    assert!(fdb.learned > 100 && fdb.aged_out > 100 && fdb.table_full > 0 && fdb.moved > 0, "{fdb:?}");
    assert!(seen.iter().all(|&verdicts| verdicts > 0), "{seen:?}");
    assert_eq!(count, 0);
}
