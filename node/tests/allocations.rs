//! A warm frame loop allocates nothing for a frame: counted over two ranks in memory, with a guest that sends
//! and one that reads.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod counting;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use mvpnet_node::clock::Clock;
use mvpnet_node::frame_loop::{Command, GuestEnd, RankLoop, mailbox};
use mvpnet_qemu_driver::links::{LinkKind, pair};
use mvpnet_switch::{Config, Rank, Switch, World};
use mvpnet_transports::mem::fabric;

use counting::{Counting, allocations};

#[global_allocator]
static COUNTING: Counting = Counting;

const FRAME_LEN: usize = 200;
const ROUND: usize = 64;

/// A frame as it stands on a stream link.
fn record(from: Rank, to: Rank) -> Vec<u8> {
    let mut record = u32::try_from(FRAME_LEN).unwrap().to_be_bytes().to_vec();
    record.extend_from_slice(&to.mac().octets());
    record.extend_from_slice(&from.mac().octets());
    record.resize(4 + FRAME_LEN, 0x5a);
    record
}

/// Sends `rounds` bursts and reads each at the other end before the next leaves.
fn exchange(sender: &mut UnixStream, reader: &mut UnixStream, burst: &[u8], sink: &mut [u8], rounds: usize) {
    for _ in 0..rounds {
        sender.write_all(burst).unwrap();
        reader.read_exact(sink).unwrap();
    }
}

#[test]
fn a_warm_loop_allocates_nothing_for_a_frame() {
    let world = World::new(2).unwrap();
    let mut guests = Vec::new();
    let mut handles = Vec::new();
    let mut threads = Vec::new();
    for (rank, transport) in world.ranks().zip(fabric(world).unwrap()) {
        let (handle, inbox, events) = mailbox().unwrap();
        let (ours, theirs) = pair(LinkKind::Stream).unwrap();
        handle.send(Command::Attach(GuestEnd { kind: LinkKind::Stream, socket: ours, guest_path: None }));
        guests.push(UnixStream::from(theirs));
        handles.push((handle, events));
        threads.push(std::thread::spawn(move || {
            let switch = Switch::new(Config::new(rank, world));
            RankLoop::new(switch, transport, Clock::start(), inbox, None).run()
        }));
    }
    let [sender, reader] = guests.as_mut_slice() else { unreachable!() };
    let burst = record(world.rank(0).unwrap(), world.rank(1).unwrap()).repeat(ROUND);
    let mut sink = vec![0; burst.len()];

    exchange(sender, reader, &burst, &mut sink, 200);
    let before = allocations();
    exchange(sender, reader, &burst, &mut sink, 1000);
    let allocations = allocations() - before;

    // A queue may still find a new high-water mark; 64,000 frames passed.
    assert!(allocations < 64, "{allocations} allocations for {} frames", 1000 * ROUND);
    for (handle, _) in &handles {
        handle.send(Command::Stop);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}
