//! What a capture costs the frame loop and the disk: `cargo run --release -p mvpnet-node --example
//! capture_bench [DIR]`.
//!
//! First the frame loop's share, nanoseconds per recorded frame; then how many frames a capture lacks when so
//! many per second cross both ports of a rank, each of which is then recorded twice.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing else to say")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mvpnet_node::capture::{Destination, Direction, Options, Pool, Port, start};
use mvpnet_switch::World;

const LONG: Duration = Duration::from_secs(60);

fn options(path: PathBuf) -> Options {
    let world = World::new(1).unwrap();
    Options {
        destination: Destination::Path(path),
        me: world.rank(0).unwrap(),
        world,
        transport: "mem".into(),
        job: None,
        pool: Pool::default(),
    }
}

/// Nanoseconds per frame, in bursts that the pool has room for, over memory that has been used before.
fn recording(len: usize) -> f64 {
    let pool = Pool::default();
    let burst = pool.chunks / 2 * pool.chunk_bytes / len.max(64);
    let frame = vec![0x5a; len];
    let (mut tap, capture) = start(&options("/dev/null".into())).unwrap();
    let mut best = f64::MAX;
    for round in 1..=20 {
        let begin = Instant::now();
        for n in 0..burst {
            tap.record(Port::Guest, Direction::Inbound, n as u64, &frame, None);
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / burst as f64);
        tap.flush();
        while capture.so_far().written() < (round * burst) as u64 {
            std::thread::yield_now();
        }
    }
    drop(tap);
    assert!(capture.finish(LONG).is_complete());
    best
}

/// Per cent of the frames that are missing when so many per second cross both ports, in bursts of 64 KiB.
fn missing(len: usize, rate: f64, path: PathBuf) -> f64 {
    let frame = vec![0x5a; len];
    let (mut tap, capture) = start(&options(path)).unwrap();
    let begin = Instant::now();
    let mut frames = 0.0;
    while begin.elapsed() < Duration::from_secs(2) {
        while frames < begin.elapsed().as_secs_f64() * rate {
            for n in 0..(65_536 / len) as u64 {
                tap.record(Port::Guest, Direction::Inbound, n, &frame, None);
                tap.record(Port::Transport, Direction::Outbound, n, &frame, None);
                frames += 1.0;
            }
        }
        std::thread::yield_now();
    }
    drop(tap);
    let report = capture.finish(LONG);
    report.missing() as f64 * 100.0 / (report.written() + report.missing()) as f64
}

fn main() {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let file = dir.join(format!("capture-bench.{}.pcapng", std::process::id()));
    println!("bytes  ns/record  frames/s  missing in /dev/null  missing in a file");
    for (len, rate) in [(60, 1e6), (1514, 0.2e6), (1514, 0.65e6), (9014, 0.1e6)] {
        let ns = recording(len);
        let (null, disk) = (missing(len, rate, "/dev/null".into()), missing(len, rate, file.clone()));
        println!("{len:>5}  {ns:>9.1}  {rate:>8.0}  {null:>18.1} %  {disk:>15.1} %");
    }
    // The last run's file is of no more use.
    let _ = std::fs::remove_file(&file);
}
