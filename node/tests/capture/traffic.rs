//! Frames and what becomes of them in files and pipes.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use mvpnet_node::capture::{Destination, Direction, Options, Pool, Port, StartError, start};
use mvpnet_switch::DropReason;

use super::{Books, LONG, SECOND, START_NS, Totals, a_frame, books, has, options, run, start_at, wait_until};

/// The books of a port all of whose frames are in the file.
fn complete(packets: u64) -> Books {
    Books { packets, told: 0, end: Some(Totals { received: packets, missed: 0 }) }
}

#[test]
fn tshark_sees_ports_directions_times_and_the_reasons_of_drops() {
    let test = "tshark_sees_ports_directions_times_and_the_reasons_of_drops";
    if !has(test, "tshark") || !has(test, "capinfos") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let (mut tap, capture) = start_at(&file);
    let frame = a_frame(60);
    tap.record(Port::Guest, Direction::Inbound, START_NS + 1, &frame, None);
    tap.record(Port::Transport, Direction::Outbound, START_NS + 2, &frame, Some(DropReason::QueueFull));
    tap.record(Port::Transport, Direction::Inbound, START_NS + 3, &a_frame(9014), None);
    tap.record(Port::Guest, Direction::Outbound, START_NS + 4, &a_frame(9014), None);
    drop(tap);

    let report = capture.finish(LONG);

    assert!(report.is_complete(), "{report}");
    assert_eq!(report.to_string(), format!("capture {}: 4 packets", file.display()));
    let fields = ["interface_name", "packet_flags_direction", "time_epoch", "len", "comment"];
    let fields: Vec<_> = fields.iter().map(|field| format!("frame.{field}")).collect();
    let mut args = vec!["-T", "fields"];
    args.extend(fields.iter().flat_map(|field| ["-e", field]));
    args.push("-r");
    let shown = run("tshark", &args, &file);
    let dropped = format!("dropped: queue-full: {}", DropReason::QueueFull.describe());
    assert_eq!(
        shown.lines().map(|line| line.split('\t').collect::<Vec<_>>()).collect::<Vec<_>>(),
        [
            ["rank3-guest", "0x00000001", "1700000000.000000001", "60", ""],
            ["rank3-mpi", "0x00000002", "1700000000.000000002", "60", &dropped],
            ["rank3-mpi", "0x00000001", "1700000000.000000003", "9014", ""],
            ["rank3-guest", "0x00000002", "1700000000.000000004", "9014", ""],
        ]
    );
    let shown = run("capinfos", &[], &file);
    for expected in ["rank 3 of 8 of job demo", "guest n0003 (10.0.0.4) of rank 3", "mpi between rank 3"] {
        assert!(shown.contains(expected), "capinfos does not say {expected:?}:\n{shown}");
    }
}

#[test]
fn every_frame_is_in_the_file_when_the_disk_keeps_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let (mut tap, capture) = start_at(&file);
    for n in 0..8_000 {
        tap.record(Port::Guest, Direction::Inbound, START_NS + n, &a_frame(60 + n as usize % 1400), None);
    }
    drop(tap);

    let report = capture.finish(LONG);

    assert!(report.is_complete(), "{report}");
    assert_eq!(books(&file)["rank3-guest"], complete(8_000));
}

#[test]
fn the_file_counts_what_a_small_memory_could_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let small = Pool { chunks: 2, chunk_bytes: 4096 };
    let (mut tap, capture) =
        start(&Options { pool: small, ..options(Destination::Path(file.clone())) }).unwrap();
    for n in 0..100_000 {
        tap.record(Port::Transport, Direction::Inbound, START_NS + n, &a_frame(1514), None);
    }
    drop(tap);

    let report = capture.finish(LONG);

    let Books { packets, told, end } = books(&file)["rank3-mpi"];
    assert_eq!(report.written(), packets);
    assert_eq!(report.written() + report.missing(), 100_000);
    assert_eq!(end, Some(Totals { received: 100_000, missed: 100_000 - packets }));
    assert!(packets + told <= 100_000, "{packets} packets, {told} said to be missing");
}

#[test]
fn a_frame_is_on_disk_soon_after_traffic_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let (mut tap, _capture) = start_at(&file);
    tap.record(Port::Guest, Direction::Inbound, START_NS, &a_frame(60), None);

    assert_eq!(tap.next_flush(START_NS + SECOND / 10), Some(Duration::from_millis(150)));
    tap.flush_due(START_NS + SECOND / 10);
    assert!(books(&file).is_empty(), "not due yet");
    tap.flush_due(START_NS + SECOND / 4);
    assert_eq!(tap.next_flush(START_NS + SECOND), None);

    wait_until(|| books(&file).contains_key("rank3-guest"));
}

#[test]
fn a_frame_is_on_disk_soon_under_constant_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let (mut tap, _capture) = start_at(&file);
    tap.record(Port::Guest, Direction::Inbound, START_NS, &a_frame(60), None);

    tap.record(Port::Guest, Direction::Inbound, START_NS + SECOND / 2, &a_frame(60), None);

    wait_until(|| books(&file).get("rank3-guest").is_some_and(|port| port.packets == 1));
}

#[test]
fn a_device_that_is_always_full_is_an_error_at_the_start() {
    let refused = start(&options(Destination::Path("/dev/full".into()))).unwrap_err();

    assert!(matches!(refused, StartError::Header { .. }));
    assert_eq!(
        refused.to_string(),
        "cannot write a capture to /dev/full: No space left on device (os error 28)"
    );
}

#[test]
fn a_named_pipe_gets_the_capture_as_soon_as_someone_reads() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (mut tap, capture) = start_at(&pipe);
    tap.record(Port::Guest, Direction::Inbound, START_NS, &a_frame(60), None);
    drop(tap);

    let mut received = Vec::new();
    File::open(&pipe).unwrap().read_to_end(&mut received).unwrap();

    assert!(capture.finish(LONG).is_complete());
    let copy = dir.path().join("copy");
    std::fs::write(&copy, received).unwrap();
    assert_eq!(books(&copy)["rank3-guest"], complete(1));
}

#[test]
fn a_pipe_without_reader_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (mut tap, capture) = start_at(&pipe);
    tap.record(Port::Guest, Direction::Inbound, START_NS, &a_frame(60), None);
    drop(tap);

    let report = capture.finish(Duration::from_millis(50));

    assert!(!report.finished);
    assert_eq!((report.written(), report.missing()), (0, 1));
}

#[test]
fn a_reader_that_goes_away_ends_the_capture_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (mut tap, capture) = start_at(&pipe);
    drop(File::open(&pipe).unwrap());
    for n in 0..10_000 {
        tap.record(Port::Guest, Direction::Inbound, START_NS + n, &a_frame(1514), None);
    }
    drop(tap);

    let report = capture.finish(LONG);

    assert_eq!((report.written() + report.missing(), report.finished), (10_000, true), "{report}");
    assert_eq!(report.error.as_deref(), Some("Broken pipe (os error 32)"));
}
