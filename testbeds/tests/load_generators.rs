//! Load generators joined by one socketpair, by paths, or by a copy from ring to ring, without any switch: what they count
//! can be relied on.

#![allow(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use std::{
    fs,
    os::fd::OwnedFd,
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use command_fds::{CommandFdExt, FdMapping};
use serde_json::Value;

const LINK: i32 = 3;

/// A generator that is killed when the test is over.
struct Generator(Child);

impl Generator {
    fn start(out: &Path, script: &str, rank: u32, netdev: &str, link: Option<OwnedFd>) -> Generator {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mvpnet-loadgen"));
        command
            .args(["-m", "256", "-netdev", netdev])
            .args(["-device", &format!("virtio-net-pci,netdev=n,mac=52:55:00:00:00:{rank:02x}")])
            .args(["-device", "virtio-net-pci,netdev=u,mac=52:56:00:00:00:02"])
            .env("MVPNET_LOADGEN", script)
            .env("MVPNET_LOADGEN_OUT", out)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if let Some(link) = link {
            command.fd_mappings(vec![FdMapping { parent_fd: link, child_fd: LINK }]).unwrap();
        }
        Generator(command.spawn().unwrap())
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both ranks' results of a script over a pair of inherited sockets; each generator must end by itself, with 0.
fn play_over(netdev: &str, first: OwnedFd, second: OwnedFd, script: &str) -> [Value; 2] {
    let out = tempfile::tempdir().unwrap();
    let mut generators = [
        Generator::start(out.path(), script, 0, netdev, Some(first)),
        Generator::start(out.path(), script, 1, netdev, Some(second)),
    ];
    for generator in &mut generators {
        assert_eq!(generator.exit_code(), Some(0));
    }
    [result(out.path(), 0), result(out.path(), 1)]
}

fn result(out: &Path, rank: u32) -> Value {
    let text = fs::read_to_string(out.join(format!("rank-{rank}.jsonl"))).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

fn stream(script: &str) -> [Value; 2] {
    let (first, second) = UnixStream::pair().unwrap();
    play_over("stream,id=n,addr.type=fd,addr.str=3", first.into(), second.into(), script)
}

fn dgram(script: &str) -> [Value; 2] {
    let (first, second) = UnixDatagram::pair().unwrap();
    play_over("dgram,id=n,local.type=fd,local.str=3", first.into(), second.into(), script)
}

/// The same over two vhost-user links between whose rings one thread copies.
fn vhost_user(script: &str) -> [Value; 2] {
    relay(&["copy", env!("CARGO_BIN_EXE_mvpnet-loadgen")], script)
}

/// The same over the relay; it ends with its generators.
fn relay(args: &[&str], script: &str) -> [Value; 2] {
    let out = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_mvpnet-bare-relay"))
        .args(args)
        .env("MVPNET_LOADGEN", script)
        .env("MVPNET_LOADGEN_OUT", out.path())
        .stdin(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{args:?}, {script}");
    [result(out.path(), 0), result(out.path(), 1)]
}

fn assert_whole(received: &Value, frames: u64, size: u64) {
    assert_eq!(received["frames"], frames, "{received}");
    assert_eq!(received["bytes"], frames * size, "{received}");
    for fault in ["lost", "doubled", "late"] {
        assert_eq!(received[fault], 0, "{fault}: {received}");
    }
}

#[test]
fn every_frame_of_a_blast_arrives_whole() {
    for size in [60, 1514, 9014] {
        let script = format!("0:blast,to=1,size={size},count=2000;1:sink,check=all");
        for [_, sink] in [stream(&script), dgram(&script), vhost_user(&script)] {
            assert_whole(&sink["received"], 2000, size);
            assert_eq!(sink["strays"]["corrupt"], 0);
        }
    }
}

#[test]
fn packets_that_are_still_to_be_cut_arrive_whole() {
    let script = "0:blast,to=1,segment=1460,count=500;1:sink,check=all";
    let [_, sink] = vhost_user(script);
    assert_whole(&sink["received"], 500, 64_294);
    assert_eq!((&sink["link"], &sink["strays"]["corrupt"]), (&"vhost-user".into(), &0.into()));
}

#[test]
fn the_relay_passes_all_that_it_is_given() {
    for kind in ["stream", "dgram", "vhost-user"] {
        let generator = env!("CARGO_BIN_EXE_mvpnet-loadgen");
        let script = "0:duplex,to=1,count=3000;1:duplex,to=0,count=2000,size=9014";
        let [first, second] = relay(&["threads", kind, generator], script);
        assert_whole(&first["received"], 2000, 9014);
        assert_whole(&second["received"], 3000, 1514);
        // Who only answers ends with its peer.
        let [ping, _] = relay(&["threads", kind, generator], "0:pingpong,to=1,seconds=0.1;1:echo");
        assert_eq!(ping["lost"], 0, "{ping}");
    }
}

#[test]
fn both_ways_at_once() {
    let script = "0:duplex,to=1,count=3000;1:duplex,to=0,count=2000";
    for [first, second] in [stream(script), dgram(script), vhost_user(script)] {
        assert_whole(&first["received"], 2000, 1514);
        assert_whole(&second["received"], 3000, 1514);
    }
}

#[test]
fn a_window_is_measured_and_then_the_sender_stops() {
    let [blast, sink] = stream("0:blast,to=1;1:sink,warmup=0.05,seconds=0.2");
    assert!(sink["received"]["frames_per_second"].as_f64().unwrap() > 1000.0, "{sink}");
    let seconds = sink["received"]["seconds"].as_f64().unwrap();
    assert!((0.1..2.0).contains(&seconds), "{sink}");
    assert_eq!(blast["sent"]["unheard"], serde_json::json!([]), "{blast}");
}

#[test]
fn a_rate_is_kept() {
    let [blast, _] = stream("0:blast,to=1,size=60,count=200,rate=1000;1:sink");
    assert!(blast["sent"]["seconds"].as_f64().unwrap() >= 0.19, "{blast}");
}

#[test]
fn pings_are_answered() {
    let script = "0:pingpong,to=1,warmup=0.01,seconds=0.2;1:echo,seconds=2";
    for [ping, _] in [stream(script), dgram(script), vhost_user(script)] {
        assert!(ping["pings"].as_u64().unwrap() > 10, "{ping}");
        assert_eq!(ping["lost"], 0, "{ping}");
        assert!(ping["p50_us"].as_f64().unwrap() <= ping["p99_us"].as_f64().unwrap(), "{ping}");
    }
}

#[test]
fn nobody_there_is_an_error() {
    let (first, _second) = UnixStream::pair().unwrap();
    let out = tempfile::tempdir().unwrap();
    let netdev = "stream,id=n,addr.type=fd,addr.str=3";
    let script = "blast,to=1,patience=0.3";
    let mut generator = Generator::start(out.path(), script, 0, netdev, Some(first.into()));
    assert_eq!(generator.exit_code(), Some(1));
    let error = result(out.path(), 0)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("ranks [1] did not answer"), "{error}");
}

#[test]
fn links_by_path_are_waited_for() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name);
    let netdev = format!("stream,id=n,addr.type=unix,addr.path={}", path("s").display());
    // A rank of each kind against a socket of ours that says nothing: being up is what counts.
    let listener = UnixListener::bind(path("s")).unwrap();
    let mut first = Generator::start(out.path(), "deaf,seconds=0.1", 0, &netdev, None);
    let accepted = listener.accept();
    assert!(accepted.is_ok());
    assert_eq!(first.exit_code(), Some(0));
    let netdev = format!(
        "dgram,id=n,local.type=unix,local.path={},remote.type=unix,remote.path={}",
        path("guest").display(),
        path("switch").display()
    );
    let _switch = UnixDatagram::bind(path("switch")).unwrap();
    let mut second = Generator::start(out.path(), "deaf,seconds=0.1", 1, &netdev, None);
    assert_eq!(second.exit_code(), Some(0));
    assert!(path("rank-0.up").exists() && path("rank-1.up").exists());
}

#[test]
fn the_kinds_of_garbage_go_out_as_they_should() {
    // A plain end, to see the very bytes.
    let bytes_of = |script: &str| {
        let (first, second) = UnixStream::pair().unwrap();
        let out = tempfile::tempdir().unwrap();
        let netdev = "stream,id=n,addr.type=fd,addr.str=3";
        let mut generator = Generator::start(out.path(), script, 0, netdev, Some(first.into()));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &second, &mut bytes).unwrap();
        assert_eq!(generator.exit_code(), Some(0));
        bytes
    };
    let length = bytes_of("garbage-lengths,count=1,length=4294967292,seconds=0.05");
    assert_eq!((length.len(), &length[..4]), (68, &[0xff, 0xff, 0xff, 0xfc][..]));
    assert_eq!(bytes_of("garbage-lengths,count=3,length=0,seconds=0.05"), [0; 12]);
    assert_eq!(bytes_of("garbage-cut,seconds=0.05").len(), (4 + 1514) / 2);
    assert_eq!(bytes_of("garbage-huge,count=2,seconds=0.05").len(), 2 * (4 + 65536));
    let forged = bytes_of("garbage-forged,count=3,seconds=0.05");
    assert_eq!(forged[10..16], [0x52, 0x55, 0, 0, 0, 1]);
}
