//! Faults on running loops: what is lost is counted with its reason, what is late comes late, and when all is well
//! again nothing of it is left.

use std::time::{Duration, Instant as WallInstant};

use mvpnet_node::frame_loop::Command;
use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_switch::MacAddr;
use tokio::sync::oneshot;

use crate::ranks::{DEADLINE, Node, counter, counters_now, frame, kinds, start, stop};

/// How long a frame that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(20);

/// Lets this happen at all ranks, and waits until it has.
fn change(nodes: &[Node], words: &str) {
    for node in nodes {
        let (applied, done) = oneshot::channel();
        let change = words.parse().unwrap();
        node.handle.send(Command::Change { change, seed: 1, applied });
        done.blocking_recv().expect("the loop runs");
    }
}

fn send(nodes: &mut [Node], from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    let sent = frame(nodes[to].rank.mac(), nodes[from].rank.mac(), payload);
    nodes[from].guest.send(&sent);
    sent
}

/// Waits until a rank has counted this.
fn wait_for_count(node: &Node, name: &str, count: u64) {
    let until = WallInstant::now() + DEADLINE;
    while counter(&counters_now(node), name) < count {
        assert!(WallInstant::now() < until, "{name} does not come to {count}");
        std::thread::yield_now();
    }
}

#[test]
fn a_partition_parts_unicast_and_broadcast_until_it_heals() {
    for kind in kinds() {
        let mut nodes = start(4, kind);
        change(&nodes, "partition 0,1 | 2,3");
        send(&mut nodes, 0, 2, b"to the other side");
        let within = send(&mut nodes, 0, 1, b"to the same side");
        assert_eq!(nodes[1].guest.expect(), within);
        let to_all = frame(MacAddr::BROADCAST, nodes[3].rank.mac(), b"to all");
        nodes[3].guest.send(&to_all);
        // Whatever way down the tree the flood takes.
        assert_eq!(nodes[2].guest.expect(), to_all);
        wait_for_count(&nodes[2], "guest-egress-drop-partition", 1);
        for (parted, count) in [(0, 1), (1, 1), (2, 1)] {
            wait_for_count(&nodes[parted], "guest-egress-drop-partition", count);
            assert_eq!(nodes[parted].guest.receive(SILENCE), None);
        }
        change(&nodes, "heal");
        let sent = send(&mut nodes, 0, 2, b"again");
        assert_eq!(nodes[2].guest.expect(), sent);
        let counters = stop(nodes);
        assert_eq!(counter(&counters[3], "partition"), 0);
    }
}

#[test]
fn a_latency_is_kept_to_and_frames_that_are_on_their_way_stay_in_order() {
    let mut nodes = start(2, LinkKind::Stream);
    change(&nodes, "link 0->1 latency=50ms");
    let began = WallInstant::now();
    let sent: Vec<_> = (0..10_u8).map(|number| send(&mut nodes, 0, 1, &[number; 46])).collect();
    let back = send(&mut nodes, 1, 0, b"the other way");
    assert_eq!(nodes[0].guest.expect(), back);
    assert_eq!(nodes[1].guest.expect(), sent[0]);
    assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    // The model changes while the others are still on their way.
    change(&nodes, "link all ideal");
    for sent in &sent[1..] {
        assert_eq!(&nodes[1].guest.expect(), sent);
    }
    let last = send(&mut nodes, 0, 1, b"without delay");
    assert_eq!(nodes[1].guest.expect(), last);
    stop(nodes);
}

#[test]
fn what_a_link_loses_doubles_or_damages_is_counted() {
    for kind in kinds() {
        let mut nodes = start(2, kind);
        change(&nodes, "link 0->1 loss=100%");
        (0..5).for_each(|_| drop(send(&mut nodes, 0, 1, b"lost")));
        wait_for_count(&nodes[1], "guest-egress-drop-link-loss", 5);
        change(&nodes, "link 0->1 duplicate=100%");
        let sent = send(&mut nodes, 0, 1, b"doubled");
        assert_eq!((nodes[1].guest.expect(), nodes[1].guest.expect()), (sent.clone(), sent));
        change(&nodes, "link 0->1 corrupt=100%");
        let sent = send(&mut nodes, 0, 1, b"damaged");
        let got = nodes[1].guest.expect();
        let flipped: u32 = sent.iter().zip(&got).map(|(sent, got)| (sent ^ got).count_ones()).sum();
        assert_eq!((got.len(), flipped), (sent.len(), 1));
        let counters = counters_now(&nodes[1]);
        assert_eq!(counter(&counters, "faults.duplicated"), 1);
        assert_eq!(counter(&counters, "faults.duplicates-lost"), 0);
        assert_eq!(counter(&counters, "faults.corrupted"), 1);
        assert_eq!(nodes[1].guest.receive(SILENCE), None);
        stop(nodes);
    }
}

#[test]
fn an_access_link_is_shared_by_all_that_is_sent_to_a_guest() {
    let mut nodes = start(3, LinkKind::Stream);
    change(&nodes, "access 2 rate=1Mbit/s");
    let began = WallInstant::now();
    for _ in 0..4 {
        for from in 0..2 {
            send(&mut nodes, from, 2, &[0; 1236]); // 10,000 bits with its header
        }
    }
    (0..8).for_each(|_| drop(nodes[2].guest.expect()));
    assert!(began.elapsed() >= Duration::from_millis(80), "{:?}", began.elapsed());
    stop(nodes);
}

#[test]
fn what_is_still_on_its_way_at_the_end_is_in_the_books() {
    let mut nodes = start(2, LinkKind::Stream);
    change(&nodes, "link all latency=1h duplicate=100%");
    (0..3).for_each(|_| drop(send(&mut nodes, 0, 1, b"never arrives")));
    wait_for_count(&nodes[1], "faults.duplicated", 3);
    let counters = stop(nodes);
    assert_eq!(counter(&counters[1], "guest-egress-drop-guest-gone"), 3);
}

#[test]
fn a_guest_that_does_not_read_loses_what_comes_late_and_stalls_nobody() {
    let mut nodes = start(3, LinkKind::Stream);
    change(&nodes, "link all latency=1ms");
    let began = WallInstant::now();
    for _ in 0..10 {
        (0..500).for_each(|_| drop(send(&mut nodes, 0, 1, &[1; 1500])));
        let sent = send(&mut nodes, 0, 2, b"urgent");
        assert_eq!(nodes[2].guest.expect(), sent);
    }
    assert!(began.elapsed() < DEADLINE);
    let counters = stop(nodes);
    let lost = counter(&counters[0], "queue-full") + counter(&counters[1], "queue-full");
    assert!(lost > 0, "nothing is lost at a guest that does not read");
}
