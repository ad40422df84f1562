//! A capture from the tap to the file, with real files, pipes and full disks, as Wireshark's tools see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod endings;
mod traffic;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mvpnet_node::capture::{Capture, Destination, Options, Pool, Tap, start};
use mvpnet_pcap::{Entry, Reader};
use mvpnet_switch::World;

const START_NS: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const LONG: Duration = Duration::from_secs(60);

fn options(destination: Destination) -> Options {
    let world = World::new(8).unwrap();
    let me = world.rank(3).unwrap();
    Options {
        destination,
        me,
        world,
        transport: "mpi".into(),
        job: Some("demo".into()),
        pool: Pool::default(),
    }
}

fn start_at(path: &Path) -> (Tap, Capture) {
    start(&options(Destination::Path(path.to_owned()))).unwrap()
}

/// Says what cannot be tested here, where `cargo test` does not swallow it, or fails if everything must be
/// tested.
fn skip(test: &str, why: &str) {
    assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "{test} cannot run: {why}");
    // Past libtest, which shows what a test prints only when it fails.
    std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
}

fn has(test: &str, program: &str) -> bool {
    let there =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        skip(test, &format!("{program} is not installed"));
    }
    there
}

/// An Ethernet frame of an experimental type that the rank's guest sends to all.
fn a_frame(len: usize) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &[0x52, 0x55, 0, 0, 0, 3], &[0x88, 0xb5]].concat();
    frame.resize(len, 0);
    frame
}

/// What a file says of one of its interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Books {
    /// Packets in the file.
    packets: u64,
    /// Packets that others say are missing before them.
    told: u64,
    /// What the statistics at the end say.
    end: Option<Totals>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Totals {
    received: u64,
    missed: u64,
}

/// The books of each interface that has any.
fn books(file: &Path) -> BTreeMap<String, Books> {
    let mut books: BTreeMap<u32, Books> = BTreeMap::new();
    let mut reader = Reader::new(File::open(file).unwrap()).unwrap();
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry {
            Entry::Packet(packet) => {
                let port = books.entry(packet.interface).or_default();
                port.packets += 1;
                port.told += packet.missed;
            }
            Entry::Statistics(statistics) => {
                let (received, missed) = (statistics.received.unwrap(), statistics.missed.unwrap());
                books.entry(statistics.interface).or_default().end = Some(Totals { received, missed });
            }
            _ => {}
        }
    }
    let name = |interface| reader.interface(interface).unwrap().name.clone();
    books.into_iter().map(|(interface, books)| (name(interface), books)).collect()
}

fn run(program: &str, args: &[&str], file: &Path) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(args).arg(file).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    let said: Vec<_> = said.lines().filter(|line| !line.starts_with("Running as user \"root\"")).collect();
    assert!(status.success() && said.is_empty(), "{program}: {status}, said: {said:?}");
    String::from_utf8(stdout).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "other threads and processes take real time")]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LONG;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it did not happen within {LONG:?}");
        std::thread::yield_now();
    }
}
