//! A loop that waits for a frame on a slow link sleeps until the frame is due, and hands it over on time.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that fails says so by panicking, and what it measures is real time"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mvpnet_node::clock::Clock;
use mvpnet_node::frame_loop::{Command, GuestEnd, RankLoop, mailbox};
use mvpnet_qemu_driver::links::{LinkKind, pair};
use mvpnet_switch::{Config, Rank, Switch, World};
use mvpnet_transports::mem::fabric;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::oneshot;

const LATENCY: Duration = Duration::from_millis(500);

/// Time on a core that all threads of this process have used.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = [usage.user_time(), usage.system_time()].map(|it| it.tv_sec() * 1_000_000 + it.tv_usec());
    Duration::from_micros(micros.iter().sum::<i64>().cast_unsigned())
}

/// A frame as it stands on a stream link.
fn record(from: Rank, to: Rank) -> Vec<u8> {
    let mut record = 60_u32.to_be_bytes().to_vec();
    record.extend_from_slice(&to.mac().octets());
    record.extend_from_slice(&from.mac().octets());
    record.resize(4 + 60, 0x5a);
    record
}

#[test]
fn a_frame_on_its_way_keeps_no_core_busy_and_comes_on_time() {
    let world = World::new(2).unwrap();
    let (mut guests, mut handles, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for (rank, transport) in world.ranks().zip(fabric(world).unwrap()) {
        let (handle, inbox, events) = mailbox().unwrap();
        let (ours, theirs) = pair(LinkKind::Stream).unwrap();
        handle.send(Command::Attach(GuestEnd { kind: LinkKind::Stream, socket: ours, guest_path: None }));
        guests.push(UnixStream::from(theirs));
        threads.push(std::thread::spawn(move || {
            let switch = Switch::new(Config::new(rank, world));
            RankLoop::new(switch, transport, Clock::start(), inbox, None).run()
        }));
        let (applied, done) = oneshot::channel();
        let change = format!("link all latency={}ms", LATENCY.as_millis()).parse().unwrap();
        handle.send(Command::Change { change, seed: 1, applied });
        done.blocking_recv().unwrap();
        handles.push((handle, events));
    }
    let sent = record(world.rank(0).unwrap(), world.rank(1).unwrap());
    let (began, used) = (Instant::now(), cpu_time());
    guests[0].write_all(&sent).unwrap();
    let mut got = vec![0; sent.len()];
    guests[1].read_exact(&mut got).unwrap();
    let (took, used) = (began.elapsed(), cpu_time() - used);
    assert_eq!(got, sent);
    // The backstop of a sleep alone would be 100 ms late at worst.
    assert!(took >= LATENCY && took < LATENCY + Duration::from_millis(80), "it took {took:?}");
    assert!(used < LATENCY / 10, "{used:?} on a core while nothing was to be done");
    handles.iter().for_each(|(handle, _)| handle.send(Command::Stop));
    for thread in threads {
        thread.join().unwrap().switch.counters().check_settled().unwrap();
    }
}
