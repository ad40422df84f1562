//! The books balance after anything that can happen to one switch.

use std::time::Duration;

use mvpnet_switch::{
    Config, Delivery, DropReason, Ingress, Instant, MacAddr, MacPolicy, PortId, Switch, Tally, Topology,
    Verdict, Vni,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::frames::*;

#[derive(Clone, Debug)]
enum Op {
    Frame {
        ingress: Ingress,
        frame: Vec<u8>,
        head_len: usize,
    },
    Refuse {
        ingress: Ingress,
        reason: DropReason,
        frame_len: usize,
    },
    /// One of the pending copies is sent.
    Sent(Index),
    /// One of the pending copies is dropped.
    EgressDrop(Index, DropReason),
    /// All copies that are pending for ports of this kind are sent or dropped together.
    Settle {
        kind: PortKind,
        reason: Option<DropReason>,
    },
    Wait(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortKind {
    Guest,
    Peers,
    Tunnel,
}

impl PortKind {
    const ALL: [PortKind; 3] = [PortKind::Guest, PortKind::Peers, PortKind::Tunnel];

    fn of(port: PortId) -> PortKind {
        match port {
            PortId::Guest => PortKind::Guest,
            PortId::Peer(_) => PortKind::Peers,
            PortId::Tunnel(_) => PortKind::Tunnel,
        }
    }
}

pub fn ingress() -> impl Strategy<Value = Ingress> {
    let delivery = prop_oneof![Just(Delivery::Unicast), Just(Delivery::Flood)];
    prop_oneof![
        3 => Just(Ingress::Guest),
        // Rank 0 is the switch's own, ranks 4 and 5 are outside its world.
        2 => (0..6u32, delivery).prop_map(|(index, delivery)| Ingress::Peer { origin: rank(index), delivery }),
        // One of them leads to the switch, if any does.
        1 => (40..42u32).prop_map(|number| Ingress::Tunnel(vni(number))),
    ]
}

fn mac() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        4 => (0..6u32).prop_map(|index| rank(index).mac()),
        2 => (0..40u8).prop_map(|last| MacAddr::new([2, 0, 0, 0, 0, last])),
        1 => Just(MacAddr::BROADCAST),
        1 => Just(MacAddr::SWITCH),
    ]
}

/// Frames of all the kinds that the switch tells apart.
pub fn frame() -> impl Strategy<Value = Vec<u8>> {
    let plain_frame = (mac(), mac(), 0..1600usize).prop_map(|(destination, source, len)| {
        let mut frame = plain(destination, source);
        frame.resize(len, 0);
        frame
    });
    let address = any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from(0x0a00_0000 | bits & 0xff00_0007));
    let arp_frame = (1..4u16, mac(), address.clone(), address)
        .prop_map(|(operation, source, sender, target)| arp(operation, (source, sender), target));
    let solicited = (0..6u32).prop_map(|index| neighbor_solicitation(rank(index).link_local()));
    let dhcp_frame = (0..10u8, any::<bool>()).prop_map(|(message_type, own)| {
        let mac = if own { rank(0).mac() } else { CONTAINER };
        dhcp(std::net::Ipv4Addr::BROADCAST, &dhcp_message(mac, message_type, &[&[50, 4, 10, 0, 0, 1]]))
    });
    let router = Just(router_solicitation(rank(0).link_local()));
    let packet = (40..2000u16, any::<bool>(), 0..6u32).prop_map(|(len, is_v6, to)| match is_v6 {
        true => ipv6(len, rank(0), rank(to), 6, &[]),
        false => ipv4(len, rank(0), rank(to), |_| ()),
    });
    let frame = prop_oneof![6 => plain_frame, 2 => arp_frame, 1 => solicited, 1 => dhcp_frame, 1 => router, 2 => packet];
    let tags =
        prop_oneof![5 => Just(vec![]), 1 => prop::collection::vec(select(vec![0x8100u16, 0x88a8]), 1..4)];
    (frame, tags).prop_map(|(frame, tags)| if frame.len() < 12 { frame } else { tagged(&frame, &tags) })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let reason = select(DropReason::ALL);
    let op = prop_oneof![
        8 => (ingress(), frame(), 0..2000usize)
            .prop_map(|(ingress, frame, head_len)| Op::Frame { ingress, frame, head_len }),
        1 => (ingress(), reason.clone(), 0..70_000usize)
            .prop_map(|(ingress, reason, frame_len)| Op::Refuse { ingress, reason, frame_len }),
        5 => any::<Index>().prop_map(Op::Sent),
        2 => (any::<Index>(), reason.clone()).prop_map(|(index, reason)| Op::EgressDrop(index, reason)),
        1 => (select(&PortKind::ALL), prop::option::of(reason))
            .prop_map(|(kind, reason)| Op::Settle { kind, reason }),
        1 => (0..400u64).prop_map(|seconds| Op::Wait(Duration::from_secs(seconds))),
    ];
    prop::collection::vec(op, 0..80)
}

/// A switch whose caller does what the verdicts say, only later.
struct Caller {
    switch: Switch,
    now: Instant,
    pending: Vec<(PortId, usize)>,
}

impl Caller {
    fn run(&mut self, op: Op) {
        match op {
            Op::Frame { ingress, frame, head_len } => {
                let head = &frame[..frame.len().min(head_len)];
                let verdict = self.switch.decide(self.now, ingress, head, frame.len());
                self.queue(verdict, frame.len());
            }
            Op::Refuse { ingress, reason, frame_len } => self.switch.refuse(ingress, reason, frame_len),
            Op::Sent(_) | Op::EgressDrop(..) if self.pending.is_empty() => {}
            Op::Sent(index) => {
                let (port, len) = self.pending.swap_remove(index.index(self.pending.len()));
                self.switch.sent(port, len);
            }
            Op::EgressDrop(index, reason) => {
                let (port, len) = self.pending.swap_remove(index.index(self.pending.len()));
                self.switch.egress_drop(port, reason, len);
            }
            Op::Settle { kind, reason } => self.settle(kind, reason),
            Op::Wait(pause) => self.now = self.now + pause,
        }
    }

    fn settle(&mut self, kind: PortKind, reason: Option<DropReason>) {
        let (settled, pending): (Vec<_>, Vec<_>) =
            self.pending.iter().partition(|(port, _)| PortKind::of(*port) == kind);
        self.pending = pending;
        let copies =
            Tally { frames: settled.len() as u64, bytes: settled.iter().map(|(_, len)| *len as u64).sum() };
        let port = match kind {
            PortKind::Guest => PortId::Guest,
            PortKind::Peers => PortId::Peer(rank(1)),
            PortKind::Tunnel => PortId::Tunnel(Vni::MAX),
        };
        match reason {
            Some(reason) => self.switch.egress_drop_all(port, reason, copies),
            None => self.switch.sent_all(port, copies),
        }
    }

    fn queue(&mut self, verdict: Verdict, frame_len: usize) {
        match verdict {
            Verdict::Forward(port) => self.pending.push((port, frame_len)),
            Verdict::Flood(flood) => {
                self.pending.extend(flood.to_guest.then_some((PortId::Guest, frame_len)));
                self.pending.extend(flood.children().map(|child| (PortId::Peer(child), frame_len)));
            }
            Verdict::Reply(_) => self.pending.push((PortId::Guest, self.switch.reply().len())),
            Verdict::Control(_) | Verdict::Drop(_) => {}
        }
    }

    fn check(&self) {
        let counters = self.switch.counters();
        assert_eq!(counters.check(), Ok(()));
        for (kind, counters) in PortKind::ALL.iter().zip([&counters.guest, &counters.peers, &counters.tunnel])
        {
            let own = self.pending.iter().filter(|(to, _)| PortKind::of(*to) == *kind);
            let lens: Vec<_> = own.map(|(_, len)| *len as u64).collect();
            let pending = counters.pending();
            assert_eq!((pending.frames, pending.bytes), (lens.len() as u64, lens.iter().sum()), "{kind:?}");
        }
        assert!(self.switch.fdb().len() <= self.switch.fdb().capacity());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_balance_after_anything(
        ops in ops(),
        strict in any::<bool>(),
        shutdown_by_arp in any::<bool>(),
        topology in select(vec![Topology::Tree, Topology::Star, Topology::Tunnel(vni(40))]),
    ) {
        let mac_policy = if strict { MacPolicy::Strict } else { MacPolicy::Learn };
        let config = Config { fdb_capacity: 16, mac_policy, shutdown_by_arp, topology, ..config() };
        let mut caller = Caller { switch: Switch::new(config), now: Instant::ZERO, pending: Vec::new() };
        for op in ops {
            caller.run(op);
            caller.check();
        }
        for (port, len) in std::mem::take(&mut caller.pending) {
            caller.switch.sent(port, len);
        }
        prop_assert_eq!(caller.switch.counters().check_settled(), Ok(()));
    }
}
