//! `mvpnet bridge` as it is called: from its first line to its last, and what is left when it was killed.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, in its helpers too, and other processes take real time"
)]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);

/// A bridge in a process of its own, with control sockets in a directory of its own.
struct Bridge {
    process: Child,
    said: BufReader<ChildStderr>,
    run_time: tempfile::TempDir,
}

fn mvpnet(run_time: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mvpnet"));
    command.args(line.split_whitespace()).env("XDG_RUNTIME_DIR", run_time);
    command
}

impl Bridge {
    fn start(line: &str) -> Self {
        let run_time = tempfile::tempdir().unwrap();
        let mut command = mvpnet(run_time.path(), line);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap());
        Self { process, said, run_time }
    }

    /// The next line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&self, line: &str) -> Output {
        mvpnet(self.run_time.path(), line).output().unwrap()
    }

    fn status(&self) -> Value {
        let output = self.ask("bridge status --json");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end: the exit code, and the rest of what it said.
    fn end(mut self) -> (Option<i32>, Vec<String>, tempfile::TempDir) {
        let rest = self.said.lines().map(Result::unwrap).collect();
        (self.process.wait().unwrap().code(), rest, self.run_time)
    }
}

/// A UDP port that nobody has at the moment.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn peer(last: u8) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// A broadcast as VXLAN.
fn broadcast(vni: u32, from: u8) -> Vec<u8> {
    let mut datagram =
        [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), &[0xff; 6], &[2, 0, 0, 0, 0, from]].concat();
    datagram.resize(8 + 60, 0x88);
    datagram
}

/// What is left of control sockets: nothing, when all is well.
fn wait_until_empty(run_time: &Path) {
    let deadline = Instant::now() + LONG;
    while std::fs::read_dir(run_time).unwrap().next().is_some() {
        assert!(Instant::now() < deadline, "{run_time:?} is not empty");
        std::thread::yield_now();
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_bridge_says_when_it_is_ready_how_it_does_and_how_it_did() {
    let (a, b, port) = (peer(2), peer(3), free_port());
    let (to_a, to_b) = (a.local_addr().unwrap().port(), b.local_addr().unwrap().port());
    let mut bridge = Bridge::start(&format!(
        "bridge --vni 40,41 --peer 40:127.0.0.2:{to_a} --peer 41:127.0.0.3:{to_b} --listen 127.0.0.1 \
         --vxlan-port {port} --mtu 1450 --name lab"
    ));
    assert_eq!(
        bridge.line(),
        format!(
            "mvpnet: bridge lab is ready on UDP 127.0.0.1:{port}: VNIs 40 to 127.0.0.2 (127.0.0.2:{to_a}), 41 to \
             127.0.0.3 (127.0.0.3:{to_b}); MTU 1450 for the guests"
        )
    );
    a.send_to(&broadcast(40, 1), ("127.0.0.1", port)).unwrap();
    let mut got = [0; 100];
    assert_eq!(b.recv(&mut got).unwrap(), 68);
    assert_eq!(got[..68], broadcast(41, 1));

    let status = bridge.status();
    assert_eq!((&status["name"], &status["mtu"]), (&"lab".into(), &1450.into()));
    assert_eq!(status["pid"], bridge.process.id());
    assert_eq!(status["ports"][0]["received"]["frames"], 1);
    assert_eq!(status["fdb"][0]["mac"], "02:00:00:00:00:01");
    let table = bridge.ask("bridge status --name lab");
    assert!(text(&table.stdout).contains("02:00:00:00:00:01  40"), "{}", text(&table.stdout));

    bridge.signal(Signal::SIGINT);
    let (code, rest, run_time) = bridge.end();
    assert_eq!(code, Some(0));
    let summary = "mvpnet: up 0 s: received 1 (60 B), sent 1 (60 B)";
    assert_eq!(rest.first().map(String::as_str), Some("mvpnet: the bridge ends: SIGINT"), "{rest:?}");
    assert!(
        rest[1].starts_with("mvpnet: up ") && rest[1].ends_with(&summary["mvpnet: up 0 s".len()..]),
        "{rest:?}"
    );
    assert!(std::fs::read_dir(run_time.path()).unwrap().next().is_none(), "something is left");
}

#[test]
fn down_ends_a_bridge_and_is_content_when_there_is_none() {
    let mut bridge = Bridge::start(&format!(
        "bridge --vni 40 --peer 127.0.0.2 --listen 127.0.0.1 --vxlan-port {}",
        free_port()
    ));
    assert!(bridge.line().contains("bridge cluster is ready"));
    let output = bridge.ask("bridge down");
    let pid = bridge.process.id();
    assert_eq!(text(&output.stdout), format!("bridge cluster (process {pid}) has ended\n"), "{output:?}");
    let (code, rest, run_time) = bridge.end();
    assert_eq!((code, rest[0].as_str()), (Some(0), "mvpnet: the bridge ends: mvpnet bridge down"));
    let again = mvpnet(run_time.path(), "bridge down --name cluster").output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(text(&again.stdout), "there is no bridge `cluster`: nothing to do\n");
    let status = mvpnet(run_time.path(), "bridge status --name cluster").output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stderr).starts_with("mvpnet: there is no bridge `cluster`"), "{status:?}");
}

#[test]
fn after_a_kill_nothing_is_left_and_the_port_is_free() {
    let line = format!("bridge --vni 40 --peer 127.0.0.2 --listen 127.0.0.1 --vxlan-port {}", free_port());
    let mut bridge = Bridge::start(&line);
    assert!(bridge.line().contains("is ready"));
    bridge.signal(Signal::SIGKILL);
    let (code, _, run_time) = bridge.end();
    assert_eq!(code, None);
    wait_until_empty(run_time.path());
    let mut again = Bridge::start(&line);
    assert!(again.line().contains("is ready"));
    again.signal(Signal::SIGTERM);
    assert_eq!(again.end().0, Some(0));
}

#[test]
fn a_hang_up_reads_the_file_of_peers_again_and_a_wrong_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let peers = directory.path().join("peers");
    let (a, b, port) = (peer(2), peer(3), free_port());
    let (to_a, to_b) = (a.local_addr().unwrap().port(), b.local_addr().unwrap().port());
    std::fs::write(&peers, format!("40:127.0.0.2:{to_a}\n")).unwrap();
    let mut bridge =
        Bridge::start(&format!("bridge --peers {} --listen 127.0.0.1 --vxlan-port {port}", peers.display()));
    assert!(bridge.line().contains("VNIs 40 to 127.0.0.2"));

    std::fs::write(&peers, "40:127.0.0.2\n41:\n").unwrap();
    bridge.signal(Signal::SIGHUP);
    let line = bridge.line();
    assert!(line.starts_with("mvpnet: the peers stay as they were: "), "{line}");
    assert!(line.contains("peers:2: `41:` names no host"), "{line}");
    assert_eq!(bridge.status()["ports"].as_array().unwrap().len(), 1);

    std::fs::write(&peers, format!("40:127.0.0.2:{to_a}\n41:127.0.0.3:{to_b}  # new\n")).unwrap();
    bridge.signal(Signal::SIGHUP);
    let line = bridge.line();
    assert!(line.starts_with("mvpnet: peers read again: VNIs 40 to 127.0.0.2"), "{line}");
    assert!(line.ends_with("; 1 VNI added, 0 removed, 0 at another address"), "{line}");
    b.send_to(&broadcast(41, 2), ("127.0.0.1", port)).unwrap();
    assert_eq!(a.recv(&mut [0; 100]).unwrap(), 68);
    bridge.signal(Signal::SIGTERM);
    assert_eq!(bridge.end().0, Some(0));
}

#[test]
fn a_stranger_is_told_of_at_once() {
    let (stranger, port) = (peer(9), free_port());
    let mut bridge = Bridge::start(&format!(
        "bridge --vni 40 --peer 127.0.0.2 --listen 127.0.0.1 --vxlan-port {port} --json"
    ));
    assert!(bridge.line().contains("is ready"));
    stranger.send_to(&broadcast(40, 9), ("127.0.0.1", port)).unwrap();
    let line = bridge.line();
    let from = stranger.local_addr().unwrap();
    assert!(line.starts_with(&format!("mvpnet: a datagram from {from} refused (unknown-peer): ")), "{line}");
    bridge.signal(Signal::SIGTERM);
    let output = std::io::read_to_string(bridge.process.stdout.take().unwrap()).unwrap();
    let end: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(end["refusals"]["unknown-peer"], 1);
    assert_eq!(bridge.end().0, Some(0));
}

#[test]
fn a_taken_port_a_wrong_peer_and_a_taken_name_say_what_to_do() {
    let run_time = tempfile::tempdir().unwrap();
    let refused = |line: &str| {
        let output = mvpnet(run_time.path(), line).output().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let taken = peer(1);
    let port = taken.local_addr().unwrap().port();
    let (code, said) =
        refused(&format!("bridge --vni 40 --peer 127.0.0.2 --listen 127.0.0.1 --vxlan-port {port}"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with(&format!("mvpnet: UDP port {port} of 127.0.0.1 is taken")), "{said}");
    assert!(said.contains("--vxlan-port"), "{said}");

    let (code, said) = refused("bridge --vni 40 --peer no-such-host.invalid");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("mvpnet: there is no host `no-such-host.invalid`: "), "{said}");

    let (code, said) = refused("bridge --vni 40 --peer 127.0.0.2 --listen 127.0.0.1 --mtu 65535");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--mtu 65535 is too much: the path to 127.0.0.2:4789 carries"), "{said}");

    let (code, said) = refused("bridge --peers /no/such/file");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the file of peers /no/such/file: No such file or directory"), "{said}");

    let mut first = Bridge::start(&format!(
        "bridge --vni 40 --peer 127.0.0.2 --listen 127.0.0.1 --vxlan-port {}",
        free_port()
    ));
    assert!(first.line().contains("is ready"));
    let second = first.ask(&format!("bridge --vni 40 --peer 127.0.0.2 --vxlan-port {}", free_port()));
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.starts_with("mvpnet: a bridge called `cluster` runs already (process "), "{said}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().0, Some(0));
}
