//! The bridge against a naive one, through anything that can happen to it.

use std::collections::BTreeMap;
use std::time::Duration;

use mvpnet_switch::{
    Bridge, BridgeConfig, BridgePort, BridgeVerdict, DropReason, Instant, MacAddr, ReplyKind, Vni,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::books::frame;
use crate::frames::*;

const AGEING_TIME: Duration = Duration::from_secs(300);
const CAPACITY: usize = 8;
const LIMIT: u32 = 5;
const MTU: u32 = 1450;

/// The bridge as one would describe it to a person. Ports go by their VNIs.
#[derive(Default)]
struct Naive {
    ports: BTreeMap<Vni, NaivePort>,
    /// In the order in which they were last seen.
    seen: Vec<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    mac: MacAddr,
    port: Vni,
    at: Instant,
}

impl Seen {
    fn has_aged(&self, now: Instant) -> bool {
        now.saturating_since(self.at) >= AGEING_TIME
    }
}

#[derive(Default)]
struct NaivePort {
    /// When frames from here were flooded.
    floods: Vec<Instant>,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    To(Vec<Vni>),
    Dropped(DropReason),
}

impl Naive {
    fn decide(&mut self, now: Instant, ingress: Vni, frame: &[u8]) -> Outcome {
        if !self.ports.contains_key(&ingress) {
            return Outcome::Dropped(DropReason::PeerGone);
        }
        if frame.len() < 14 {
            return Outcome::Dropped(DropReason::Runt);
        }
        let destination = MacAddr::new(frame[..6].try_into().unwrap());
        let source = MacAddr::new(frame[6..12].try_into().unwrap());
        if destination.to_string().starts_with("01:80:c2:00:00:0") {
            return Outcome::Dropped(DropReason::ReservedGroup);
        }
        if source.is_multicast() {
            return Outcome::Dropped(DropReason::MulticastSource);
        }
        self.learn(now, source, ingress);
        let egress = self.seen.iter().find(|seen| seen.mac == destination && !seen.has_aged(now));
        let egress = egress.map(|seen| seen.port);
        if egress == Some(ingress) {
            return Outcome::Dropped(DropReason::SamePort);
        }
        if frame.len() > MTU as usize + 14 {
            return Outcome::Dropped(DropReason::Oversize);
        }
        match egress {
            Some(port) => Outcome::To(vec![port]),
            None if self.is_storm(now, ingress) => Outcome::Dropped(DropReason::StormLimit),
            None => Outcome::To(self.ports.keys().copied().filter(|&port| port != ingress).collect()),
        }
    }

    fn learn(&mut self, now: Instant, source: MacAddr, port: Vni) {
        // With each frame two that have aged are cleared away; the others still take room.
        let aged = self.seen.iter().take(2).filter(|seen| seen.has_aged(now)).count();
        self.seen.drain(..aged);
        let known = self.seen.iter().position(|seen| seen.mac == source).map(|place| self.seen.remove(place));
        let on_port = self.seen.iter().filter(|seen| seen.port == port).count();
        let has_room = self.seen.len() < CAPACITY && on_port < CAPACITY / 2;
        if has_room || known.is_some_and(|known| !known.has_aged(now)) {
            self.seen.push(Seen { mac: source, port, at: now });
        }
    }

    /// Plays all floods of the port again: seconds are whole in this test, so that a bucket which is full
    /// after one second is full or empty but for what came in the same second.
    fn is_storm(&mut self, now: Instant, port: Vni) -> bool {
        let floods = &mut self.ports.get_mut(&port).unwrap().floods;
        floods.retain(|flood| *flood == now);
        let is_storm = floods.len() == LIMIT as usize;
        if !is_storm {
            floods.push(now);
        }
        is_storm
    }
}

#[derive(Clone, Debug)]
enum Op {
    Frame {
        port: u32,
        frame: Vec<u8>,
    },
    Add(u32),
    Remove(u32),
    Wait(Duration),
    /// One of the pending copies is sent, or dropped.
    Settle(Index, Option<DropReason>),
    Refuse(u32, DropReason),
}

fn address() -> impl Strategy<Value = MacAddr> {
    prop_oneof![
        12 => (0..12u8).prop_map(|last| MacAddr::new([2, 0, 0, 0, 0, last])),
        1 => Just(MacAddr::BROADCAST),
        1 => (0..0x12u8).prop_map(|last| MacAddr::new([1, 0x80, 0xc2, 0, 0, last])),
    ]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![8 => Just(60), 1 => 0..20usize, 1 => 1440..1480usize];
    let tags = prop::collection::vec(select(vec![0x8100u16, 0x88a8]), 0..3);
    let plain_frame = (address(), address(), len, tags).prop_map(|(destination, source, len, types)| {
        let mut frame = tagged(&plain(destination, source), &types);
        frame.resize(len, 0);
        frame
    });
    prop_oneof![4 => plain_frame, 1 => frame()]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let reason = select(DropReason::ALL);
    let op = prop_oneof![
        14 => (0..5u32, any_frame()).prop_map(|(port, frame)| Op::Frame { port, frame }),
        1 => (0..5u32).prop_map(Op::Add),
        1 => (0..5u32).prop_map(Op::Remove),
        2 => prop_oneof![3 => 1..3u64, 1 => 100..400u64].prop_map(|seconds| Op::Wait(Duration::from_secs(seconds))),
        6 => (any::<Index>(), prop::option::of(reason.clone())).prop_map(|(index, reason)| Op::Settle(index, reason)),
        1 => (0..5u32, reason).prop_map(|(port, reason)| Op::Refuse(port, reason)),
    ];
    prop::collection::vec(op, 0..150)
}

/// Both bridges, and a caller who does what the verdicts say, only later.
struct Pair {
    bridge: Bridge,
    naive: Naive,
    /// The port that each VNI has, or had as long as it is nobody else's.
    ports: BTreeMap<Vni, BridgePort>,
    /// A port that the bridge never had.
    stranger: BridgePort,
    pending: Vec<(BridgePort, usize)>,
    now: Instant,
    received: u64,
}

impl Pair {
    fn new() -> Pair {
        let bridge = Bridge::new(BridgeConfig {
            mtu: MTU,
            fdb_capacity: CAPACITY,
            ageing_time: AGEING_TIME,
            storm_limit: Some(LIMIT),
            ..BridgeConfig::default()
        });
        let mut larger = Bridge::new(BridgeConfig::default());
        let stranger = (0..6).map(|number| larger.add_port(vni(number)).unwrap()).last().unwrap();
        let mut pair = Pair {
            bridge,
            naive: Naive::default(),
            ports: BTreeMap::new(),
            stranger,
            pending: Vec::new(),
            now: Instant::ZERO,
            received: 0,
        };
        (0..5).for_each(|number| pair.add(vni(number)));
        pair
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Frame { port, frame } => self.take(vni(port), &frame),
            Op::Add(number) => self.add(vni(number)),
            Op::Remove(number) => self.remove(vni(number)),
            Op::Wait(pause) => self.now = self.now + pause,
            Op::Settle(..) if self.pending.is_empty() => {}
            Op::Settle(index, reason) => {
                let (port, len) = self.pending.swap_remove(index.index(self.pending.len()));
                match reason {
                    Some(reason) => self.bridge.egress_drop(port, reason, len),
                    None => self.bridge.sent(port, len),
                }
            }
            Op::Refuse(number, reason) => {
                self.received += 1;
                self.bridge.refuse(self.port(vni(number)), reason, 99);
            }
        }
    }

    fn port(&self, vni: Vni) -> BridgePort {
        self.ports.get(&vni).copied().unwrap_or(self.stranger)
    }

    fn add(&mut self, vni: Vni) {
        let added = self.bridge.add_port(vni);
        assert_eq!(added.is_ok(), !self.naive.ports.contains_key(&vni));
        if let Ok(port) = added {
            self.ports.retain(|_, known| *known != port);
            self.ports.insert(vni, port);
            self.naive.ports.insert(vni, NaivePort::default());
        }
    }

    fn remove(&mut self, vni: Vni) {
        let removed = self.bridge.remove_port(vni);
        assert_eq!(removed.is_some(), self.naive.ports.remove(&vni).is_some());
        self.naive.seen.retain(|seen| seen.port != vni);
        if removed.is_some() {
            let port = self.ports[&vni];
            self.pending.retain(|(to, _)| *to != port);
        }
    }

    fn take(&mut self, ingress: Vni, frame: &[u8]) {
        self.received += 1;
        let port = self.port(ingress);
        let verdict = self.bridge.decide(self.now, port, frame, frame.len());
        let outcome = match verdict {
            BridgeVerdict::Forward(to) => {
                assert_ne!(to, port, "a frame went back to where it came from");
                self.pending.push((to, frame.len()));
                Outcome::To(vec![self.bridge.vni(to)])
            }
            BridgeVerdict::Flood => {
                let targets: Vec<_> = self.bridge.flood_targets(port).collect();
                self.pending.extend(targets.iter().map(|&to| (to, frame.len())));
                let mut to: Vec<_> = targets.iter().map(|&to| self.bridge.vni(to)).collect();
                to.sort_unstable();
                Outcome::To(to)
            }
            BridgeVerdict::Reply(ReplyKind::TooBig) => {
                assert_eq!(self.bridge.reply()[..6], frame[6..12]);
                self.pending.push((port, self.bridge.reply().len()));
                Outcome::Dropped(DropReason::Oversize)
            }
            BridgeVerdict::Reply(kind) => panic!("a bridge does not answer by {kind:?}"),
            BridgeVerdict::Drop(reason) => Outcome::Dropped(reason),
        };
        assert_eq!(outcome, self.naive.decide(self.now, ingress, frame), "{verdict:?}");
    }

    fn check(&self) {
        assert_eq!(self.bridge.check(), Ok(()));
        assert_eq!(self.bridge.totals().check(), Ok(()));
        assert_eq!(self.bridge.totals().traffic.received.frames, self.received);
        assert!(self.bridge.fdb().len() <= CAPACITY);
        for port in self.bridge.ports() {
            let own = self.pending.iter().filter(|(to, _)| *to == port);
            let lens: Vec<_> = own.map(|(_, len)| *len as u64).collect();
            let pending = self.bridge.counters(port).traffic.pending();
            assert_eq!((pending.frames, pending.bytes), (lens.len() as u64, lens.iter().sum()));
        }
        let fdb = self.bridge.fdb_counters();
        assert_eq!(fdb.learned - fdb.aged_out - fdb.flushed, self.bridge.fdb().len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_naive_bridge(ops in ops()) {
        let mut pair = Pair::new();
        for op in ops {
            pair.run(op);
            pair.check();
        }
        for (port, len) in std::mem::take(&mut pair.pending) {
            pair.bridge.sent(port, len);
        }
        prop_assert_eq!(pair.bridge.check_settled(), Ok(()));
    }

    #[test]
    fn any_bytes_are_decided_about(
        heads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..20),
        frame_len in prop_oneof![0..2000usize, 0..usize::MAX >> 8],
    ) {
        let mut pair = Pair::new();
        for head in heads {
            let _ = pair.bridge.decide(pair.now, pair.ports[&vni(1)], &head, frame_len);
            prop_assert_eq!(pair.bridge.check(), Ok(()));
        }
    }
}
