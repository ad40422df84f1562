//! The recorder over a disk whose room changes: the file is a good capture at every moment, and its books say
//! what is missing.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use mvpnet_pcap::{Entry as Item, Reader};
use proptest::prelude::*;

use super::*;
use crate::capture::{Direction, Port};

const SECOND: u64 = 1_000_000_000;

/// A disk of which a test sets the size at any time.
#[derive(Clone, Default)]
struct SmallDisk(Arc<Mutex<SmallDiskState>>);

#[derive(Default)]
struct SmallDiskState {
    bytes: Vec<u8>,
    size: usize,
    cannot_cut: bool,
}

impl SmallDisk {
    fn with_size(size: usize) -> Self {
        let disk = Self::default();
        disk.resize(size);
        disk
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SmallDiskState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resize(&self, size: usize) {
        self.lock().size = size;
    }

    fn used(&self) -> usize {
        self.lock().bytes.len()
    }

    fn contents(&self) -> Contents {
        Contents::read(&self.lock().bytes)
    }
}

impl Medium for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.lock();
        let count = bytes.len().min(disk.size.saturating_sub(disk.bytes.len()));
        if count == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        disk.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.cannot_cut {
            return Err(ErrorKind::Unsupported.into());
        }
        disk.bytes.truncate(len as usize);
        Ok(())
    }
}

/// What a reader finds in a capture.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    /// Of each packet: port, time, count of packets missing before it, comment.
    packets: Vec<(u32, u64, u64, Option<String>)>,
    /// Of each port: received and missed.
    statistics: Vec<(u64, u64)>,
}

impl Contents {
    fn read(bytes: &[u8]) -> Self {
        let mut contents = Self::default();
        let mut reader = Reader::new(bytes).unwrap();
        while let Some(item) = reader.next_entry().unwrap() {
            match item {
                Item::Packet(packet) => contents.packets.push((
                    packet.interface,
                    packet.time_ns,
                    packet.missed,
                    packet.comment.map(|comment| comment.into_owned()),
                )),
                Item::Statistics(statistics) => {
                    contents.statistics.push((statistics.received.unwrap(), statistics.missed.unwrap()));
                }
                _ => {}
            }
        }
        contents
    }
}

fn begin(disk: &SmallDisk) -> io::Result<Recorder<SmallDisk>> {
    let interfaces = [Interface::new("rank0-guest"), Interface::new("rank0-mem")];
    Recorder::begin("x".into(), disk.clone(), &Section::default(), &interfaces, Arc::new(Shared::new(2)), 0)
}

fn an_entry(port: Port, time_ns: u64) -> Entry {
    Entry { time_ns, missed: 0, original_len: 60, port, direction: Direction::Inbound, dropped: None }
}

/// A chunk of `count` frames of 60 bytes on the guest's port.
fn a_chunk(count: u64, time_ns: u64) -> Chunk {
    let mut chunk = Chunk::new(64 << 10);
    for _ in 0..count {
        chunk.push(an_entry(Port::Guest, time_ns), &[0; 60]);
    }
    chunk
}

#[test]
fn says_of_a_dropped_frame_why() {
    let disk = SmallDisk::with_size(usize::MAX);
    let mut recorder = begin(&disk).unwrap();
    let mut chunk = Chunk::new(1000);
    chunk.push(Entry { dropped: Some(DropReason::Runt), ..an_entry(Port::Guest, 5) }, b"short");

    recorder.take(&chunk);

    let comment = "dropped: runt: The frame is shorter than an Ethernet header.";
    assert_eq!(disk.contents().packets, [(0, 5, 0, Some(comment.to_owned()))]);
}

#[test]
fn a_full_disk_leaves_a_good_capture_that_says_what_is_missing() {
    let disk = SmallDisk::with_size(4000);
    let mut recorder = begin(&disk).unwrap();

    recorder.take(&a_chunk(1000, SECOND));

    let contents = disk.contents();
    let kept = contents.packets.len() as u64;
    assert!(kept > 10, "{kept} packets");
    assert_eq!(contents.statistics, [(1000, 1000 - kept), (0, 0)]);
}

#[test]
fn packets_make_room_for_the_statistics() {
    let disk = SmallDisk::with_size(usize::MAX);
    let mut recorder = begin(&disk).unwrap();
    recorder.take(&a_chunk(100, SECOND));
    disk.resize(disk.used());

    let report = recorder.finish(2 * SECOND);

    let kept = disk.contents().packets.len() as u64;
    assert!((90..100).contains(&kept), "{kept} packets");
    assert_eq!(disk.contents().statistics, [(100, 100 - kept), (0, 0)]);
    assert_eq!((report.written(), report.missing()), (kept, 100 - kept));
}

#[test]
fn leaves_a_full_disk_alone_for_a_while_then_goes_on_when_there_is_room() {
    let disk = SmallDisk::with_size(4000);
    let mut recorder = begin(&disk).unwrap();
    recorder.take(&a_chunk(1000, SECOND));
    let kept = disk.contents().packets.len() as u64;
    disk.resize(usize::MAX);

    recorder.take(&a_chunk(1, 2 * SECOND));
    assert_eq!(disk.contents().packets.len() as u64, kept, "too early");
    recorder.take(&a_chunk(1, 4 * SECOND));

    let contents = disk.contents();
    assert_eq!(contents.packets.last(), Some(&(0, 4 * SECOND, 1001 - kept, None)));
    assert_eq!(contents.statistics, [], "statistics belong at the end");
    let report = recorder.finish(5 * SECOND);
    assert_eq!(disk.contents().statistics, [(1002, 1001 - kept), (0, 0)]);
    assert_eq!((report.written(), report.missing()), (kept + 1, 1001 - kept));
    assert!(!report.is_complete());
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_it_from_trying_again() {
    let disk = SmallDisk::with_size(4000);
    let mut recorder = begin(&disk).unwrap();
    recorder.take(&a_chunk(1000, 100 * SECOND));
    disk.resize(usize::MAX);

    recorder.take(&a_chunk(1, SECOND));

    assert_eq!(disk.contents().packets.last().unwrap().1, SECOND);
}

#[test]
fn a_medium_that_cannot_be_repaired_is_not_written_to_again() {
    let disk = SmallDisk::with_size(4000);
    disk.lock().cannot_cut = true;
    let mut recorder = begin(&disk).unwrap();
    recorder.take(&a_chunk(1000, SECOND));
    let used = disk.used();
    disk.resize(usize::MAX);

    recorder.take(&a_chunk(1, 100 * SECOND));
    let report = recorder.finish(101 * SECOND);

    assert_eq!(disk.used(), used);
    assert_eq!((report.written() + report.missing(), report.finished), (1001, true));
    assert!(report.error.is_some());
}

#[test]
fn a_disk_without_room_for_the_header_is_an_error() {
    assert_eq!(begin(&SmallDisk::with_size(100)).err().map(|e| e.kind()), Some(ErrorKind::StorageFull));
}

#[test]
fn counts_what_the_tap_had_no_room_for() {
    let disk = SmallDisk::with_size(usize::MAX);
    let mut recorder = begin(&disk).unwrap();
    let mut chunk = Chunk::new(1000);
    chunk.push(Entry { missed: 7, ..an_entry(Port::Transport, 5) }, &[0; 60]);
    recorder.take(&chunk);
    // Seven before the frame, two after it.
    recorder.shared.ports[Port::Transport.index()].unheld.store(9, Ordering::Relaxed);

    recorder.finish(6);

    assert_eq!(disk.contents().packets, [(1, 5, 7, None)]);
    assert_eq!(disk.contents().statistics, [(0, 0), (10, 9)]);
}

proptest! {
    /// Whatever the disk does, the file can be read at every moment, packets are in order, and what the file
    /// has and what it says is missing add up to what was seen.
    #[test]
    fn nothing_is_missing_that_the_file_does_not_count(
        turns in proptest::collection::vec((0..60u64, 0..5u64, 0..12_000usize, 60..1514usize), 1..20),
    ) {
        let disk = SmallDisk::with_size(1000);
        let mut recorder = begin(&disk).unwrap();
        let (mut seen, mut now_ns) = ([0, 0], 0);
        for (frames, seconds, size, len) in turns {
            now_ns += seconds * SECOND;
            disk.resize(size.max(1000));
            let mut chunk = Chunk::new(128 << 10);
            for place in 0..frames {
                let port = if place % 3 == 0 { Port::Transport } else { Port::Guest };
                now_ns += 1;
                chunk.push(Entry { original_len: len as u32, ..an_entry(port, now_ns) }, &vec![0; len]);
                seen[port.index()] += 1;
            }
            recorder.take(&chunk);

            let contents = disk.contents();
            prop_assert!(contents.packets.is_sorted_by_key(|(_, time_ns, _, _)| *time_ns));
        }
        let report = recorder.finish(now_ns);

        let contents = disk.contents();
        let per_port = |port: u32| contents.packets.iter().filter(move |packet| packet.0 == port);
        for (port, reported) in report.ports.iter().enumerate() {
            let packets = per_port(port as u32).count() as u64;
            prop_assert_eq!((reported.seen, reported.written), (seen[port], packets));
            let told: u64 = per_port(port as u32).map(|packet| packet.2).sum();
            prop_assert!(packets + told <= seen[port]);
            if let Some((received, missed)) = contents.statistics.get(port) {
                prop_assert_eq!((*received, *missed), (seen[port], seen[port] - packets));
            }
        }
    }
}
