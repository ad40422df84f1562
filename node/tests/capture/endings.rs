//! Captures of processes that meet full disks, are killed, or write to their standard output.

use std::fmt::Debug;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mvpnet_node::capture::{Destination, Direction, Port, Report, start};
use mvpnet_pcap::{Entry, Reader};
use tracing::field::Field;
use tracing::{Event, Metadata, Subscriber, span};

use super::{Books, LONG, SECOND, START_NS, Totals, a_frame, books, has, options, skip, wait_until};

/// In the environment of a child process: what it is to do, and where.
const CHILD: &str = "MVPNET_TEST_CAPTURE_TO";

/// Writes warnings to standard error.
struct SaysWarnings;

impl Subscriber for SaysWarnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut |field: &Field, value: &dyn Debug| {
            if field.name() == "message" {
                eprintln!("warning: {value:?}");
            }
        });
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Not a test by itself: what the child processes of the tests below do.
#[test]
fn child() {
    let Some(to) = std::env::var_os(CHILD) else { return };
    tracing::subscriber::set_global_default(SaysWarnings).unwrap();
    let (to, endless) = (PathBuf::from(to), std::env::var_os("MVPNET_TEST_ENDLESS").is_some());
    let destination = if to.as_os_str() == "-" { Destination::Stdout } else { Destination::Path(to) };
    let (mut tap, capture) = start(&options(destination)).unwrap();
    let frame = a_frame(1000);
    let mut n = 0;
    while endless || n < 5_000 {
        // Three bursts, with pauses after which a disk is tried again.
        let time_ns = START_NS + n / 2_000 * 10 * SECOND + n;
        tap.record(Port::Guest, Direction::Inbound, time_ns, &frame, None);
        n += 1;
        if n.is_multiple_of(100) {
            std::thread::yield_now();
        }
    }
    drop(tap);
    let report = capture.finish(LONG);
    eprintln!("{}", summary(&report));
}

fn summary(report: &Report) -> String {
    format!("written {} missing {} because {:?}", report.written(), report.missing(), report.error)
}

/// This program again, with its arguments behind a shell script that ends in `exec "$@"`.
fn child_process(script: &str, to: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "endings::child", "--nocapture", "--quiet"]).env(CHILD, to);
    command
}

/// A limit on the size of files, in units of 512 bytes, as a full disk that needs no root.
#[test]
fn a_file_size_limit_leaves_a_good_file_and_kills_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");

    let output = child_process("ulimit -f 200 && exec \"$@\"", &file).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    let Books { packets, end, .. } = books(&file)["rank3-guest"];
    assert!(packets > 50, "{packets} packets");
    assert_eq!(end, Some(Totals { received: 5_000, missed: 5_000 - packets }));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "written {packets} missing {} because Some(\"File too large (os error 27)\")",
        5_000 - packets
    );
    assert!(said.contains(&expected), "{said}");
    let warnings: Vec<_> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "once, however often it is tried again: {said}");
    assert!(warnings[0].contains("capture.pcapng: File too large"), "{said}");
}

/// A real file system without room, in a mount namespace of the child's own.
#[test]
fn a_full_file_system_leaves_a_good_file() {
    let test = "a_full_file_system_leaves_a_good_file";
    let dir = tempfile::tempdir().unwrap();
    let can_mount =
        Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs"]).arg(dir.path()).output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        return skip(test, "no mount namespace for this user");
    }
    // The mount ends with the child, so it puts the file where it is seen from outside.
    let copy = tempfile::NamedTempFile::new().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=200k tmpfs {0} && \"$@\" && cp {0}/capture.pcapng {1}",
        dir.path().display(),
        copy.path().display()
    );
    let in_shell = child_process(&script, &dir.path().join("capture.pcapng"));
    let mut command = Command::new("unshare");
    command.arg("-rm").arg(in_shell.get_program()).args(in_shell.get_args());
    command.envs(in_shell.get_envs().filter_map(|(name, value)| Some((name, value?))));

    let output = command.output().unwrap();

    assert!(output.status.success(), "{output:?}");
    let Books { packets, end, .. } = books(copy.path())["rank3-guest"];
    assert!(packets > 100, "{packets} packets");
    assert_eq!(end, Some(Totals { received: 5_000, missed: 5_000 - packets }));
}

/// Ends a child process with the test, whatever becomes of it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_capture_of_a_killed_rank_can_be_read() {
    let test = "the_capture_of_a_killed_rank_can_be_read";
    if !has(test, "tshark") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let mut command = child_process("ulimit -f 100000 && exec \"$@\"", &file);
    command.env("MVPNET_TEST_ENDLESS", "1").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Killed(command.spawn().unwrap());
    wait_until(|| std::fs::metadata(&file).is_ok_and(|metadata| metadata.len() > 1 << 20));

    child.0.kill().unwrap();

    assert_eq!(child.0.wait().unwrap().signal(), Some(9));
    // A kill in the middle of a write can leave a block unfinished; everything before it can be read
    // nevertheless.
    let output = Command::new("tshark")
        .args(["-T", "fields", "-e", "frame.number", "-r"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.stdout.split(|byte| *byte == b'\n').count() > 900, "{output:?}");
}

#[test]
fn standard_output_is_a_capture() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copy.pcapng");
    let output = child_process("exec \"$@\"", Path::new("-")).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    // The test program itself writes there before and after; a capture begins with its section header.
    let begin = output.stdout.windows(4).position(|bytes| bytes == [0x0a, 0x0d, 0x0d, 0x0a]).unwrap();
    std::fs::write(&file, &output.stdout[begin..]).unwrap();
    let mut packets = 0;
    let mut reader = Reader::new(File::open(&file).unwrap()).unwrap();
    while let Ok(Some(entry)) = reader.next_entry() {
        packets += u64::from(matches!(entry, Entry::Packet(_)));
    }
    assert_eq!(packets, 5_000);
}
