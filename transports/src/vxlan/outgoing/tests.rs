//! Tests of the lists and runs.

use mvpnet_switch::Vni;
use proptest::prelude::*;

use super::super::header::Header;
use super::super::table::{Table, Tunnel};
use super::*;

fn tunnel() -> TunnelId {
    let tunnel = Tunnel { vni: Vni::new(1).unwrap(), peer: ([192, 0, 2, 1], 4789).into() };
    Table::default().insert(tunnel).unwrap()
}

fn item(start: u32, len: u32) -> Outgoing {
    Outgoing { tunnel: tunnel(), arena: Arena::Received, start, len, head: None }
}

fn queue(lens: &[u32]) -> Queue {
    let mut queue = Queue::default();
    queue.grow(2);
    let mut start = 8;
    for len in lens {
        queue.push(1, item(start, *len));
        start += len + 8;
    }
    queue
}

/// Counts of the runs.
fn runs(queue: &mut Queue, segments: bool) -> Vec<usize> {
    let mut counts = Vec::new();
    while let Some(run) = queue.run(1, segments) {
        counts.push(run.count);
        queue.pop(1, run);
    }
    assert!(queue.is_empty());
    counts
}

#[test]
fn a_run_is_of_one_length_and_ends_with_a_shorter_one() {
    assert_eq!(runs(&mut queue(&[100, 100, 100, 60, 100, 200, 200]), true), [4, 1, 2]);
    assert_eq!(runs(&mut queue(&[100, 100, 60]), false), [1, 1, 1]);
    assert_eq!(runs(&mut queue(&[60; 150]), true), [64, 64, 22]);
}

#[test]
fn a_run_passes_the_kernel_as_one_packet() {
    assert_eq!(runs(&mut queue(&[1464; 64]), true), [44, 20]);
    assert_eq!(runs(&mut queue(&[65_400, 65_400]), true), [1, 1]);
}

#[test]
fn frames_that_lie_side_by_side_are_one_piece_of_memory() {
    let received: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let arenas = Arenas { received: &received, cut: &[], copies: &[] };
    let queue = queue(&[100, 100, 100]);
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let run = queue.run(1, true).unwrap();
    assert_eq!(queue.gather(run, &arenas, &mut slices), 1);
    assert_eq!(&slices[0][..], &received[..3 * 108]);
}

#[test]
fn a_header_of_its_own_goes_in_front_of_its_frame() {
    let received = [7; 64];
    let head = Header { vni: Vni::new(40).unwrap() }.emit();
    let mut queue = Queue::default();
    queue.grow(2);
    queue.push(1, item(8, 20));
    queue.push(1, Outgoing { head: Some(head), ..item(36, 20) });
    queue.push(1, Outgoing { head: Some(head), ..item(36, 20) });
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let run = queue.run(1, true).unwrap();
    let arenas = Arenas { received: &received, cut: &[], copies: &[] };
    let used = queue.gather(run, &arenas, &mut slices);
    let sent: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!(sent, [&[7; 28][..], &head, &[7; 20], &head, &[7; 20]].concat());
}

proptest! {
    #[test]
    fn every_frame_leaves_once_and_in_the_order_of_its_socket(
        pushes in prop::collection::vec((0usize..3, 14u32..1500), 0..200), segments: bool
    ) {
        let mut queue = Queue::default();
        queue.grow(3);
        let mut wanted = vec![Vec::new(); 3];
        for (number, (socket, len)) in pushes.iter().enumerate() {
            queue.push(*socket, item(number as u32, *len));
            wanted[*socket].push(number as u32);
        }
        let mut found = vec![Vec::new(); 3];
        while let Some(socket) = queue.busy(0) {
            let run = queue.run(socket, segments).unwrap();
            let lens: Vec<u32> = queue.items(run).map(|item| item.len).collect();
            let (last, others) = lens.split_last().unwrap();
            prop_assert!(others.iter().all(|len| *len == lens[0]) && *last <= lens[0] && lens.len() <= MAX_RUN);
            found[socket].extend(queue.items(run).map(|item| item.start));
            queue.pop(socket, run);
        }
        prop_assert_eq!(found, wanted);
    }
}
