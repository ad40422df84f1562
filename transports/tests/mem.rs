//! The conformance suite over `mem`, and what only `mem` can be asked.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use mvpnet_switch::{Rank, World};
use mvpnet_transports::conformance::{self, Expectations, Rings};
use mvpnet_transports::mem::{self, MemTransport};
use mvpnet_transports::{FlowLimits, RecordKind, SendError, Transport};

fn fabric(size: u32) -> Vec<MemTransport> {
    mem::fabric(World::new(size).unwrap()).unwrap()
}

fn rank(index: u32, size: u32) -> Rank {
    World::new(size).unwrap().rank(index).unwrap()
}

fn conforms(size: u32) {
    let expectations = Expectations::new(FlowLimits::BUFFERS, Rings::Surely);
    let threads: Vec<_> = fabric(size)
        .into_iter()
        .map(|mut end| {
            std::thread::spawn(move || {
                let is_first = end.me().index() == 0;
                conformance::run(&mut end, &expectations, |name| {
                    if is_first {
                        println!("{size} ranks: {name}");
                    }
                })
            })
        })
        .collect();
    let failures: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn one_rank_conforms() {
    conforms(1);
}

#[test]
fn two_ranks_conform() {
    conforms(2);
}

#[test]
fn three_ranks_conform() {
    conforms(3);
}

#[test]
fn five_ranks_conform() {
    conforms(5);
}

#[test]
fn what_was_handed_over_arrives_although_its_sender_has_left() {
    let mut ends = fabric(2);
    let mut one = ends.pop().unwrap();
    let mut zero = ends.pop().unwrap();
    zero.send(one.me(), RecordKind::Unicast, zero.me(), b"last words").unwrap();
    assert_eq!(zero.progress().unwrap().bytes, 0);
    drop(zero);
    let batch = one.receive().unwrap().expect("a batch was handed over");
    assert_eq!(batch.bytes(), b"\0\0\0\x0alast words");
    one.recycle(batch);
}

#[test]
fn a_peer_that_has_left_is_gone_and_what_waited_for_it_is_counted() {
    let mut ends = fabric(2);
    let one = ends.pop().unwrap();
    let mut zero = ends.pop().unwrap();
    let (me, to) = (zero.me(), one.me());
    zero.send(to, RecordKind::Unicast, me, &[0; 96]).unwrap();
    drop(one);
    assert_eq!(zero.send(to, RecordKind::Unicast, me, &[0; 60]), Err(SendError::PeerGone(to)));
    assert_eq!(zero.progress().unwrap().bytes, 0);
    assert_eq!(zero.stats().discarded_bytes, 100);
}

#[test]
fn peers_that_are_never_talked_to_cost_nothing() {
    let mut ends = fabric(300);
    let (me, to) = (rank(0, 300), rank(299, 300));
    ends[0].send(to, RecordKind::Unicast, me, &[0; 60]).unwrap();
    assert_eq!(ends[0].progress().unwrap().bytes, 0);
    let batch = ends[299].receive().unwrap().expect("a batch was handed over");
    ends[299].recycle(batch);
    assert_eq!(ends.iter().map(|end| end.stats().buffers_made).sum::<u64>(), 1);
}
