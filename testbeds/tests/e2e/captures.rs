//! Captures of a ping between two guests, as Wireshark's tools read them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::wait::run;
use crate::harness::{Job, Launcher, Need, begin};

/// Octets of data in the ping: no other frame in the capture is as long.
const DATA: u32 = 1111;
const FRAME: u32 = 14 + 20 + 8 + DATA;

const INBOUND: &str = "0x00000001";
const OUTBOUND: &str = "0x00000002";

#[test]
fn a_ping_is_captured_once_on_every_port_that_it_crosses_under_up() {
    a_ping_is_captured(Launcher::Up, "mem");
}

#[test]
fn a_ping_is_captured_once_on_every_port_that_it_crosses_under_mpich() {
    a_ping_is_captured(Launcher::Mpich, "mpi");
}

#[test]
fn a_ping_is_captured_once_on_every_port_that_it_crosses_under_openmpi() {
    a_ping_is_captured(Launcher::OpenMpi, "mpi");
}

fn a_ping_is_captured(launcher: Launcher, transport: &str) {
    let needs = [Need::Guests, Need::Launcher(launcher), Need::Wireshark];
    let Some(_turn) = begin(&needs) else { return };
    let job = Job::new(launcher, 2);
    let directory = job.place("log");
    let mut job = job.tiny().flags(["--capture", &directory]).stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    guests[0].run(&format!("ping -c 1 -W 10 -s {DATA} {}", guests[1].ip()));
    let absent = guests[0].try_run("ping -c 1 -W 1 -w 2 10.0.0.99");
    assert!(!absent.is_success(), "rank 98 is not there");
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    let files = [0, 1].map(|rank| job.home().at(format!("log/capture.{}.{rank}.pcapng", job.home().name)));
    files.iter().for_each(|file| capinfos_accepts(file));

    let port = |rank, name: &str| format!("rank{rank}-{name}");
    let crossing = |type_: u8, [first, second]: [(String, &str); 2]| {
        let line = |(port, direction): (String, &str)| format!("{port}\t{direction}\t{type_}");
        vec![line(first), line(second)]
    };
    let (request, reply) = (8, 0);
    let icmp = |rank: usize| {
        let filter = format!("icmp && frame.len == {FRAME}");
        fields(&files[rank], &filter, &["frame.interface_name", "frame.packet_flags_direction", "icmp.type"])
    };
    let there = crossing(request, [(port(0, "guest"), INBOUND), (port(0, transport), OUTBOUND)]);
    let back = crossing(reply, [(port(0, transport), INBOUND), (port(0, "guest"), OUTBOUND)]);
    assert_eq!(icmp(0), [there, back].concat(), "rank 0: the ping goes out and comes back, each once");
    let there = crossing(request, [(port(1, transport), INBOUND), (port(1, "guest"), OUTBOUND)]);
    let back = crossing(reply, [(port(1, "guest"), INBOUND), (port(1, transport), OUTBOUND)]);
    assert_eq!(icmp(1), [there, back].concat(), "rank 1: the ping comes in and is answered, each once");

    the_switch_answered(&files[0], &guests[1].ip(), &guests[1].mac());
    the_request_for_nobody_was_dropped(&files[0]);
    assert_eq!(fields(&files[1], "arp.dst.proto_ipv4 == 10.0.0.99", &["frame.number"]), [""; 0]);
}

/// The question by the guest, the answer to the guest, and neither anywhere else.
fn the_switch_answered(file: &Path, address: &str, mac: &str) {
    let shown = ["frame.interface_name", "frame.packet_flags_direction", "arp.src.hw_mac"];
    let asked = fields(file, &format!("arp.opcode == 1 && arp.dst.proto_ipv4 == {address}"), &shown);
    let answered = fields(file, &format!("arp.opcode == 2 && arp.src.proto_ipv4 == {address}"), &shown);
    assert!(!asked.is_empty(), "the guest asked");
    assert_eq!(asked.len(), answered.len(), "one answer to each question: {asked:?} {answered:?}");
    for line in asked {
        assert_eq!(line, format!("rank0-guest\t{INBOUND}\t52:55:00:00:00:00"));
    }
    for line in answered {
        assert_eq!(line, format!("rank0-guest\t{OUTBOUND}\t{mac}"));
    }
}

fn the_request_for_nobody_was_dropped(file: &Path) {
    let shown = ["frame.interface_name", "frame.packet_flags_direction", "frame.comment"];
    let asked = fields(file, "arp.dst.proto_ipv4 == 10.0.0.99", &shown);
    assert!(!asked.is_empty(), "the guest asked");
    for line in asked {
        let start = format!("rank0-guest\t{INBOUND}\tdropped: arp-absent-rank: ");
        assert!(line.starts_with(&start), "{line}");
    }
}

/// These fields of the frames that pass the display filter, a line each.
fn fields(file: &Path, filter: &str, names: &[&str]) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-Y", filter, "-T", "fields"]);
    for name in names {
        tshark.args(["-e", name]);
    }
    let said = run(&mut tshark, Duration::from_secs(60));
    assert!(said.is_success(), "tshark: {}", said.stderr);
    said.stdout.lines().map(str::to_owned).collect()
}

fn capinfos_accepts(file: &Path) {
    let said = run(Command::new("capinfos").arg(file), Duration::from_secs(60));
    assert!(said.is_success(), "capinfos: {}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("Number of interfaces in file: 2"), "{}", said.stdout);
}
