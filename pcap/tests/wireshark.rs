//! Wireshark's own tools agree on what a capture says. Skipped, and counted as skipped, where they are not
//! installed; with MVPNET_REQUIRE=all that is a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use mvpnet_pcap::{Direction, Interface, Packet, Section, Statistics, Writer};

const START_NS: u64 = 1_700_000_000_000_000_000;

/// Whether all of these programs can be run here; if not, says so where `cargo test` does not swallow it.
fn can_run(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| Command::new(program).arg("--version").output().is_err());
    let Some(missing) = missing else { return true };
    assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "{test} needs {missing}");
    // Past libtest, which shows what a test prints only when it fails.
    std::io::stderr().write_all(format!("SKIPPED {test}: {missing} is not installed\n").as_bytes()).unwrap();
    false
}

fn run(program: &str, file: &Path, args: &[&str]) -> String {
    let mut command = Command::new(program);
    if program == "tshark" {
        command.arg("-r");
    }
    let Output { status, stdout, stderr } = command.arg(file).args(args).output().unwrap();
    let said: Vec<_> =
        std::str::from_utf8(&stderr).unwrap().lines().filter(|line| !about_root(line)).collect();
    assert!(status.success() && said.is_empty(), "{program}: {status}, said: {said:?}");
    String::from_utf8(stdout).unwrap()
}

fn about_root(line: &str) -> bool {
    line == "Running as user \"root\" and group \"root\". This could be dangerous."
}

/// A broadcast of the guest, dropped; a frame towards it; then the books.
fn a_capture(dir: &Path) -> std::path::PathBuf {
    let section = Section {
        hardware: Some("x86_64".into()),
        os: Some("Linux 6.1.0".into()),
        application: Some("mvpnet 0.1.0".into()),
        comment: Some("rank 3 of 8".into()),
    };
    let mut writer = Writer::new(Vec::new(), &section).unwrap();
    let guest = Interface {
        description: Some("guest n0003 of rank 3".into()),
        mac: Some([0x52, 0x55, 0, 0, 0, 3]),
        ..Interface::new("rank3-guest")
    };
    let guest = writer.add_interface(&guest).unwrap();
    let peers = writer.add_interface(&Interface::new("rank3-mpi")).unwrap();
    let frame = [&[0xff; 6][..], &[0x52, 0x55, 0, 0, 0, 3], &[0x88, 0xb5], &[0; 46]].concat();
    let dropped = Packet::new(guest, Direction::Inbound, START_NS + 123_456_789, &frame)
        .with_comment("dropped: queue-full: no room at the peer");
    writer.packet(&dropped).unwrap();
    writer
        .packet(&Packet {
            missed: 5,
            ..Packet::new(peers, Direction::Inbound, START_NS + 123_456_790, &frame)
        })
        .unwrap();
    writer.packet(&Packet::new(guest, Direction::Outbound, START_NS + 123_456_791, &frame)).unwrap();
    for (interface, received, missed) in [(guest, 2, 0), (peers, 6, 5)] {
        let statistics = Statistics {
            interface,
            time_ns: START_NS + 2_000_000_000,
            start_ns: Some(START_NS),
            end_ns: Some(START_NS + 2_000_000_000),
            received: Some(received),
            missed: Some(missed),
            delivered: Some(received - missed),
            comment: None,
        };
        writer.statistics(&statistics).unwrap();
    }
    let path = dir.join("capture.pcapng");
    std::fs::write(&path, writer.into_inner()).unwrap();
    path
}

#[test]
fn tshark_shows_interface_direction_time_and_comment_of_each_packet() {
    if !can_run("tshark_shows_interface_direction_time_and_comment_of_each_packet", &["tshark"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = a_capture(dir.path());
    let fields = ["interface_name", "packet_flags_direction", "time_epoch", "len", "drop_count", "comment"];
    let args: Vec<_> = fields.iter().flat_map(|field| ["-e".to_owned(), format!("frame.{field}")]).collect();
    let args: Vec<_> = ["-T", "fields"].into_iter().chain(args.iter().map(String::as_str)).collect();

    let shown = run("tshark", &file, &args);

    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        lines,
        [
            [
                "rank3-guest",
                "0x00000001",
                "1700000000.123456789",
                "60",
                "",
                "dropped: queue-full: no room at the peer"
            ],
            ["rank3-mpi", "0x00000001", "1700000000.123456790", "60", "5", ""],
            ["rank3-guest", "0x00000002", "1700000000.123456791", "60", "", ""],
        ]
    );
}

#[test]
fn tshark_finds_packets_by_interface_name_and_direction() {
    if !can_run("tshark_finds_packets_by_interface_name_and_direction", &["tshark"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = a_capture(dir.path());
    let filter = "frame.interface_name == \"rank3-guest\" && frame.packet_flags_direction == 2";

    let shown = run("tshark", &file, &["-Y", filter, "-T", "fields", "-e", "frame.number"]);

    assert_eq!(shown.trim(), "3");
}

#[test]
fn capinfos_accepts_the_file_and_shows_its_interfaces_and_who_wrote_it() {
    if !can_run("capinfos_accepts_the_file_and_shows_its_interfaces_and_who_wrote_it", &["capinfos"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = a_capture(dir.path());

    let shown = run("capinfos", &file, &[]);

    for expected in [
        "pcapng",
        "mvpnet 0.1.0",
        "Linux 6.1.0",
        "x86_64",
        "rank 3 of 8",
        "rank3-guest",
        "guest n0003 of rank 3",
        "rank3-mpi",
        "nanoseconds (9)",
    ] {
        assert!(shown.contains(expected), "capinfos does not say {expected:?}:\n{shown}");
    }
    assert_eq!(shown.matches("Number of stat entries = 1").count(), 2, "{shown}");
}
