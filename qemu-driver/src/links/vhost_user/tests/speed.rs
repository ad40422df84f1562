//! How fast it is. Not a test: `cargo test --release -p mvpnet-qemu-driver --lib speed -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use super::*;

const TIME: Duration = Duration::from_millis(500);
const BATCH: usize = 64;

/// Frames per second from one guest to another, all four ends on one core: two copies by the links, two by the drivers.
fn through(frame: &Sent, driver: FrontConfig) -> f64 {
    let (mut left, mut right) = (Lab::new(driver), Lab::new(driver));
    let (start, mut frames) = (Instant::now(), 0);
    let mut kept = Vec::new();
    while start.elapsed() < TIME {
        left.front.send(std::iter::repeat_n((frame.0.as_ref(), &frame.1[..]), BATCH));
        while let Received::Records(octets) = left.link.receive(&mut left.space).unwrap() {
            kept.clear();
            kept.extend_from_slice(&left.space[..octets]);
            let mut written = 0;
            while written < octets {
                written += right.write(&left.space[written..octets]).octets;
                frames += right.front.receive(|_, _| {});
            }
        }
        left.front.reclaim();
    }
    frames as f64 / start.elapsed().as_secs_f64()
}

/// Frames per second of one direction of one link, with the driver's part.
fn one_way(frame: &Sent, from_guest: bool, driver: FrontConfig) -> f64 {
    let mut lab = Lab::new(driver);
    let records = run(std::iter::repeat_n(frame, BATCH));
    let (start, mut frames) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        if from_guest {
            frames += lab.front.send(std::iter::repeat_n((frame.0.as_ref(), &frame.1[..]), BATCH));
            while lab.link.receive(&mut lab.space) != Ok(Received::Nothing) {}
            lab.front.reclaim();
        } else {
            let mut written = 0;
            while written < records.len() {
                written += lab.write(&records[written..]).octets;
                frames += lab.front.receive(|_, _| {});
            }
        }
    }
    frames as f64 / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let driver = FrontConfig::default();
    let sizes =
        [("60", (None, frame(1, 60))), ("1514", (None, frame(1, 1514))), ("64K", super_frame(65_000))];
    for (name, frame) in sizes {
        let rate = [through(&frame, driver), one_way(&frame, true, driver), one_way(&frame, false, driver)];
        let [through, from_guest, to_guest] = rate.map(|rate| rate / 1000.0);
        let gbit = through * frame.1.len() as f64 * 8.0 / 1e6;
        println!(
            "{name:>5} octets: through {through:8.0} k/s ({gbit:5.1} Gbit/s), from the guest {from_guest:8.0}, to it {to_guest:8.0}"
        );
    }
}
