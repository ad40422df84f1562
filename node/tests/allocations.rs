//! A warm frame loop allocates nothing for a frame: counted over two ranks in memory, with a guest that sends
//! and one that reads.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mvpnet_node::clock::Clock;
use mvpnet_node::frame_loop::{Command, GuestEnd, RankLoop, mailbox};
use mvpnet_qemu_driver::links::{LinkKind, pair};
use mvpnet_switch::{Config, Rank, Switch, World};
use mvpnet_transports::mem::fabric;

/// Counts every allocation of the process.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls are passed on to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

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
    let before = ALLOCATIONS.load(Relaxed);
    exchange(sender, reader, &burst, &mut sink, 1000);
    let allocations = ALLOCATIONS.load(Relaxed) - before;

    // A queue may still find a new high-water mark; 64,000 frames passed.
    assert!(allocations < 64, "{allocations} allocations for {} frames", 1000 * ROUND);
    for (handle, _) in &handles {
        handle.send(Command::Stop);
    }
    for thread in threads {
        thread.join().unwrap();
    }
}
