//! Random traffic.

use std::time::Duration;

use mvpnet_switch::RankList;
use mvpnet_transports::link::ByteSize;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::STEP;
use crate::scenario::{Kind, Ranks, Targets, Traffic};

/// How long pings wait.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The smallest frame on a real Ethernet, less its FCS (IEEE 802.3 §3.2.8).
const SMALLEST: u32 = 60;

/// How much longer each step of size makes a frame or a datagram.
const LONGER: u32 = 100;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficKind {
    /// Pings between hosts.
    Ping,
    /// Datagrams between hosts.
    Udp,
    /// Streams between hosts.
    Tcp,
    /// Frames without a stack.
    Frames,
    /// Frames to all.
    Broadcast,
}

impl TrafficKind {
    /// All of them.
    pub const ALL: [TrafficKind; 5] =
        [TrafficKind::Ping, TrafficKind::Udp, TrafficKind::Tcp, TrafficKind::Frames, TrafficKind::Broadcast];
}

/// A line of traffic, as it is drawn: it means something in every world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    kind: TrafficKind,
    from: u32,
    distance: u32,
    starts: u32,
    count: u32,
    /// From 0, the smallest, to 13, as much as an MTU of 1500 bytes takes.
    size: u32,
}

/// Draws lines of these kinds that start within so many steps.
pub(super) fn strategy(kinds: Vec<TrafficKind>, steps: u32) -> BoxedStrategy<Line> {
    let rank = 0..u32::from(u16::MAX);
    (prop::sample::select(kinds), rank.clone(), rank, 0..steps, 1..=10_u32, 0..=13_u32)
        .prop_map(|(kind, from, distance, starts, count, size)| Line {
            kind,
            from,
            distance,
            starts,
            count,
            size,
        })
        .boxed()
}

impl Line {
    /// What it means in a world of so many ranks, two at least.
    pub(super) fn of(self, ranks: u32) -> Traffic {
        let from = self.from % ranks;
        let to = (from + 1 + self.distance % (ranks - 1)) % ranks;
        let len = SMALLEST + LONGER * self.size;
        let kind = match self.kind {
            TrafficKind::Ping => Kind::Ping { timeout: PING_TIMEOUT },
            TrafficKind::Udp => Kind::Udp { len },
            TrafficKind::Tcp => Kind::Tcp { bytes: ByteSize::new(1000 << self.size.min(7)) },
            TrafficKind::Frames => Kind::Frames { len },
            TrafficKind::Broadcast => Kind::Broadcast { len },
        };
        let to = if kind.has_targets() { Targets::Only(RankList::of([to])) } else { Targets::All };
        Traffic {
            from: Ranks::Only(RankList::of([from])),
            to,
            start: STEP * self.starts,
            count: self.count.into(),
            every: STEP / 2,
            ..Traffic::new(kind)
        }
    }
}
