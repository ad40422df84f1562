//! The inner loop of a relay between two stream sockets, by plain system calls and by io_uring: bytes per second in reads of
//! 64 KiB at most, and round trips of 64 bytes through one such relay.
//!
//! `cargo bench -p mvpnet-testbeds --bench uring [-- --quick] [--write PAGE]`, or `ci/bench` for all benchmarks. It is here
//! to say why the product uses plain system calls.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod relay;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use mvpnet_testbeds::bench::page;
use mvpnet_testbeds::bench::table::{Row, Table, median};
use relay::Way;

/// Octets of a frame on a stream link, and how many of them a generator writes at a time.
const RECORD: usize = 4 + 1514;
const BURST: usize = 43;
/// Octets of a ping.
const PING: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let window = Duration::from_secs_f64(if quick { 0.5 } else { 2.0 });
    let rounds = if quick { 1 } else { 5 };
    let title =
        "A relay between two stream sockets: frames of 1514 bytes per second, and round trips of 64 bytes";
    let mut table = Table::new("uring", title, "frames/s", &["/plain", "round trip us", "/plain "]);
    let mut values = vec![(Vec::new(), Vec::new()); Way::ALL.len()];
    for _ in 0..rounds {
        for (way, (rates, trips)) in Way::ALL.into_iter().zip(&mut values) {
            rates.push(throughput(way, window)?);
            trips.push(round_trip(way, window)?);
        }
    }
    let marks = (median(&values[0].0), median(&values[0].1));
    for (way, (rates, trips)) in Way::ALL.into_iter().zip(values) {
        let over = |value: Option<f64>, mark: Option<f64>| {
            value.zip(mark).map(|(value, mark)| format!("{:.2}", value / mark)).unwrap_or_default()
        };
        let trip = median(&trips);
        let mut row = Row::new(way.name(), "relay", rates);
        let text = trip.map(|trip| format!("{trip:.1}")).unwrap_or_default();
        row.notes = vec![over(row.median, marks.0), text, over(trip, marks.1)];
        table.rows.push(row);
    }
    print!("{}", table.text());
    if let Some(file) = std::env::args().skip_while(|argument| argument != "--write").nth(1) {
        page::write(file.as_ref(), &[table])?;
    }
    Ok(())
}

/// Frames per second through a relay from one thread to another.
fn throughput(way: Way, window: Duration) -> std::io::Result<f64> {
    let (mut source, from) = UnixStream::pair()?;
    let (to, mut sink) = UnixStream::pair()?;
    let relay = thread::spawn(move || way.relay(&from, &to));
    let counter = thread::spawn(move || -> std::io::Result<usize> {
        let (mut buffer, mut octets) = (vec![0; 256 << 10], 0);
        loop {
            match sink.read(&mut buffer)? {
                0 => return Ok(octets),
                count => octets += count,
            }
        }
    });
    let (burst, start) = (vec![0x5a; BURST * RECORD], Instant::now());
    while start.elapsed() < window {
        source.write_all(&burst)?;
    }
    source.shutdown(Shutdown::Write)?;
    let octets = counter.join().expect("the counter does not panic")?;
    let seconds = start.elapsed().as_secs_f64();
    relay.join().expect("the relay does not panic")?;
    Ok(octets as f64 / RECORD as f64 / seconds)
}

/// The median of round trips, of which one way is through a relay, us.
fn round_trip(way: Way, window: Duration) -> std::io::Result<f64> {
    let (mut source, from) = UnixStream::pair()?;
    let (to, mut sink) = UnixStream::pair()?;
    let (mut back, mut answers) = UnixStream::pair()?;
    let relay = thread::spawn(move || way.relay(&from, &to));
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let mut ping = [0; PING];
        while sink.read_exact(&mut ping).is_ok() {
            back.write_all(&ping)?;
        }
        Ok(())
    });
    let (mut trips, mut pong, start) = (Vec::new(), [0; PING], Instant::now());
    while start.elapsed() < window / 2 {
        let begin = Instant::now();
        source.write_all(&[0; PING])?;
        answers.read_exact(&mut pong)?;
        trips.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    source.shutdown(Shutdown::Write)?;
    relay.join().expect("the relay does not panic")?;
    echo.join().expect("the echo does not panic")?;
    Ok(median(&trips).unwrap_or_default())
}
