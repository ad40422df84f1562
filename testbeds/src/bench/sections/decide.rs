//! The time of one decision of the switch, without any I/O.

use std::hint::black_box;

use mvpnet_switch::{Config, Delivery, Ingress, Instant, Rank, Switch, World};

use super::super::{
    Bench,
    table::{Row, Table, Target},
};
use crate::loadgen::frame::{self, BROADCAST, Kind, Message, rank_mac};
use crate::wall::now;

const RANKS: u32 = 16;
const DECISIONS: u64 = 1_000_000;

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Table> {
    let mut table = Table::new("decide", "One decision of the switch", "ns", &[]);
    let world = World::new(RANKS)?;
    let me = world.rank(0)?;
    let peer = |index| Ok::<Rank, anyhow::Error>(world.rank(index)?);
    let foreign = [0x02, 0, 0, 0, 0, 9];
    let cases = [
        ("unicast, guest to peer", Ingress::Guest, rank_mac(0), rank_mac(5), true),
        ("unicast, peer to guest", unicast(peer(5)?), rank_mac(5), rank_mac(0), true),
        ("unicast, learned address", Ingress::Guest, rank_mac(0), foreign, false),
        ("broadcast", Ingress::Guest, rank_mac(0), BROADCAST, false),
    ];
    for (case, ingress, from, to, judged) in cases {
        let mut switch = Switch::new(Config::new(me, world));
        let mut learned = vec![0; 1514];
        let message = Message { kind: Kind::Data, origin: 0, seq: 0, stamp: 0 };
        frame::write(&mut learned, rank_mac(0), foreign, message);
        let _ = switch.decide(Instant::ZERO, unicast(peer(5)?), &learned, learned.len());
        let mut frame = vec![0; 1514];
        frame::write(&mut frame, to, from, message);
        let mut decide = || {
            let start = now();
            for count in 0..DECISIONS {
                let at = Instant::from_nanos(1000 * count);
                let _ = black_box(switch.decide(at, ingress, black_box(&frame), frame.len()));
            }
            start.elapsed().as_nanos() as f64 / DECISIONS as f64
        };
        decide();
        let values = (0..bench.options.repetitions().max(5)).map(|_| decide()).collect();
        let mut row = Row::new(case, "switch", values);
        if judged {
            row.judge_value(Target::AtMost(100.0));
        }
        table.rows.push(row);
    }
    Ok(table)
}

fn unicast(origin: Rank) -> Ingress {
    Ingress::Peer { origin, delivery: Delivery::Unicast }
}
