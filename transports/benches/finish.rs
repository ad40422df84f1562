//! What finishing a frame in software costs: `cargo bench -p mvpnet-transports --bench finish`.
//!
//! A plain loop over one frame that the processor has at hand, as it has those that a guest has just written.

use std::hint::black_box;

use mvpnet_switch::{OFFLOAD_LEN, Offload};
use mvpnet_transports::offload::{Finisher, complete_checksum};

/// Octets of Ethernet, IPv4 and TCP headers, the last with a timestamp.
const HEADERS_LEN: usize = 14 + 20 + 32;
const TRANSPORT: usize = 34;

fn main() {
    // Cargo passes `--bench` when it benchmarks, and not when it only tests that this runs.
    let calls = if std::env::args().any(|arg| arg == "--bench") { 50_000 } else { 100 };
    println!("{:<44} {:>10} {:>8}", "", "ns", "GB/s");
    for (name, frame_len) in [("checksum of a frame of 1500 octets", 1500), ("checksum of 64 KiB", 65_500)] {
        let (header, mut frame) = tcp(frame_len, None);
        let offload = read(&header, &frame);
        let nanos = nanos_per_call(calls, || {
            complete_checksum(&offload, black_box(&mut frame)).expect("the checksum is in the packet");
        });
        report(name, nanos, frame_len - TRANSPORT);
    }
    for (name, segment_len) in [
        ("64 KiB into frames of 1514 octets", 1514),
        ("64 KiB into frames of 9014 octets", 9014),
        ("64 KiB into frames of 100 octets", 100),
    ] {
        let (header, frame) = tcp(65_500, Some((segment_len - HEADERS_LEN) as u16));
        let offload = read(&header, &frame);
        let mut finisher = Finisher::new();
        let nanos = nanos_per_call(calls / 4, || {
            let finished = finisher.finish(&offload, black_box(&frame), |segment| {
                black_box(segment);
            });
            black_box(finished.expect("the packet is whole"));
        });
        report(name, nanos, frame.len() - HEADERS_LEN);
    }
}

fn report(name: &str, nanos: f64, octets: usize) {
    println!("{name:<44} {nanos:>10.1} {:>8.1}", octets as f64 / nanos);
}

/// A TCP segment over IPv4, all zeros but for its lengths and some payload, and what is left to be done to it.
fn tcp(len: usize, payload_len: Option<u16>) -> ([u8; OFFLOAD_LEN], Vec<u8>) {
    let mut frame: Vec<u8> = (0..len).map(|at| (at * 31 / 7) as u8).collect();
    frame[..HEADERS_LEN].fill(0);
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    frame[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
    (frame[23], frame[TRANSPORT + 12]) = (6, 8 << 4);
    let mut header = [1, u8::from(payload_len.is_some()), 0, 0, 0, 0, TRANSPORT as u8, 0, 16, 0, 0, 0];
    header[4..6].copy_from_slice(&payload_len.unwrap_or(0).to_le_bytes());
    (header, frame)
}

fn read(header: &[u8; OFFLOAD_LEN], frame: &[u8]) -> Offload {
    let offload = Offload::read(header, frame).expect("the header belongs to the frame");
    offload.expect("something is left to be done")
}

/// The best of five rounds: the others measure what else the machine does.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads the clock")]
fn nanos_per_call(calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let start = std::time::Instant::now();
        for _ in 0..calls / 5 {
            call();
        }
        start.elapsed().as_nanos() as f64 / f64::from(calls / 5)
    };
    (0..5).map(round).fold(f64::INFINITY, f64::min)
}
