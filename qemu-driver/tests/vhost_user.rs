//! The vhost-user link with the real qemu and a real Linux in it: the tiny guest of the testbeds, if it has been built.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::io::IoSlice;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mvpnet_qemu_driver::argv;
use mvpnet_qemu_driver::links::vhost_user::{MAX_RECORD_LEN, Offers, Received, VhostUserLink, listen};
use mvpnet_qemu_driver::spec::{ClusterNet, DirectBoot, Machine, VhostUserEnd, VmSpec};
use mvpnet_qemu_driver::supervise::{Guest, GuestFds, Keeper, Launch};
use mvpnet_switch::World;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use common::{keeper_spec, tiny};

/// How long a guest may take to boot on a loaded machine without KVM.
const BOOT: Duration = Duration::from_secs(300);
/// How often the guest is spoken to.
const PERIOD: Duration = Duration::from_millis(100);
/// The guest, and the one who speaks to it.
const GUEST: Host = Host { mac: [0x52, 0x55, 0, 0, 0, 0], ip: [10, 0, 0, 1] };
const SWITCH: Host = Host { mac: [0x52, 0x55, 0, 0, 0, 1], ip: [10, 0, 0, 2] };
/// Octets of what is echoed: one buffer of the guest's, and many.
const SHORT: usize = 56;
const LONG: usize = 8900;

#[derive(Clone, Copy)]
struct Host {
    mac: [u8; 6],
    ip: [u8; 4],
}

/// What has been seen of the guest since it was last forgotten.
#[derive(Clone, Debug, Default)]
struct Seen {
    short_echoes: usize,
    long_echoes: usize,
    /// Connections that were accepted, in frames with the checksum left to us.
    accepted: usize,
    stats: Vec<(&'static str, u64)>,
    is_closed: bool,
}

impl Seen {
    fn stat(&self, name: &str) -> u64 {
        self.stats.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

/// Who is at the other end of the link: answers ARP, and asks for echoes and connections.
struct Switch {
    link: VhostUserLink,
    seen: Arc<Mutex<Seen>>,
}

impl Switch {
    fn start(listener: UnixListener, seen: Arc<Mutex<Seen>>) -> JoinHandle<()> {
        std::thread::spawn(move || {
            Switch { link: accept(&listener), seen }.run();
        })
    }

    fn run(mut self) {
        let (mut space, mut spoken) = (vec![0; MAX_RECORD_LEN], Instant::now());
        loop {
            match self.link.receive(&mut space).unwrap() {
                Received::Records(octets) => self.read(&space[..octets]),
                Received::Closed => break self.seen.lock().unwrap().is_closed = true,
                Received::Nothing => {
                    if !self.link.arm(true, false) {
                        let timeout = PollTimeout::try_from(PERIOD).unwrap();
                        let _ = poll(&mut [PollFd::new(self.link.fd(), PollFlags::POLLIN)], timeout);
                    }
                    self.link.disarm();
                }
            }
            assert!(self.link.take_refusal().is_none(), "Linux sends nothing that is refused");
            if spoken.elapsed() > PERIOD && self.link.has_peer() {
                for record in [record(&echo_request(SHORT), None), record(&echo_request(LONG), None), syn()] {
                    self.write(&record);
                }
                spoken = Instant::now();
            }
            self.seen.lock().unwrap().stats = self.link.stats().to_vec();
        }
    }

    fn write(&mut self, record: &[u8]) {
        // What finds no room is lost, as on any network.
        let wrote = self.link.write(&[IoSlice::new(record)]).unwrap();
        assert_eq!(wrote.unsendable.frames, 0);
    }

    fn read(&mut self, mut run: &[u8]) {
        while let Some((&[kind, high, middle, low], rest)) = run.split_first_chunk() {
            let (body, rest) = rest.split_at(u32::from_be_bytes([0, high, middle, low]) as usize);
            let (is_unfinished, frame) = if kind == 0 { (false, body) } else { (true, body.split_at(12).1) };
            self.take(frame, is_unfinished);
            run = rest;
        }
    }

    fn take(&mut self, frame: &[u8], is_unfinished: bool) {
        let is_for_us = frame.len() >= 42 && (frame[0] & 1 == 1 || frame[..6] == SWITCH.mac);
        match frame.get(12..14) {
            Some([0x08, 0x06]) if is_for_us && frame[20..22] == [0, 1] && frame[38..42] == SWITCH.ip => {
                self.write(&record(&arp_reply(), None));
            }
            Some([0x08, 0x00]) if is_for_us => {
                let mut seen = self.seen.lock().unwrap();
                match (frame[23], frame[34]) {
                    (1, 0) if frame.len() == 42 + SHORT => seen.short_echoes += 1,
                    (1, 0) if frame.len() == 42 + LONG => seen.long_echoes += 1,
                    (6, _) if is_unfinished && frame[34 + 13] == 0x12 => seen.accepted += 1,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// A record of a frame, with a header if anything is left to be done to it.
fn record(frame: &[u8], header: Option<[u8; 12]>) -> Vec<u8> {
    let header = header.as_ref().map_or(&[][..], |header| header);
    let mut prefix = u32::try_from(header.len() + frame.len()).unwrap().to_be_bytes();
    prefix[0] = if header.is_empty() { 0 } else { 0x80 };
    [&prefix[..], header, frame].concat()
}

fn ethernet(to: [u8; 6], ether_type: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&to[..], &SWITCH.mac, &ether_type, payload].concat()
}

fn arp_reply() -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4, 0, 2];
    let payload = [&fixed[..], &SWITCH.mac, &SWITCH.ip, &GUEST.mac, &GUEST.ip].concat();
    ethernet(GUEST.mac, [8, 6], &payload)
}

/// Adds up as checksums do (RFC 1071).
fn sum(octets: &[u8]) -> u16 {
    let words =
        octets.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], *two.get(1).unwrap_or(&0)])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0], &SWITCH.ip[..], &GUEST.ip].concat();
    let checksum = !sum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    ethernet(GUEST.mac, [8, 0], &[&header[..], payload].concat())
}

fn echo_request(len: usize) -> Vec<u8> {
    let mut message = vec![0; 8 + len];
    message[0] = 8;
    let checksum = !sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    ipv4(1, &message)
}

/// The first segment of a connection to the guest's sshd, its checksum left to the guest: only the sum over the
/// pseudo-header is in its place.
fn syn() -> Vec<u8> {
    let pseudo_header = [&SWITCH.ip[..], &GUEST.ip, &[0, 6, 0, 20]].concat();
    let [high, low] = sum(&pseudo_header).to_be_bytes();
    let segment = [0x9c, 0x40, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, high, low, 0, 0];
    record(&ipv4(6, &segment), Some([1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]))
}

/// Starts the guest of a rank, which connects to the socket.
async fn boot(dir: &Path, rank: u32, mtu: u16, append: &str) -> (Guest, UnixListener) {
    let world = World::new(2).unwrap();
    let cmdline = std::fs::read_to_string(dir.join("cmdline")).unwrap();
    let machine = Machine {
        memory_mib: 256,
        mtu,
        direct_boot: Some(DirectBoot {
            kernel: dir.join("kernel"),
            initrd: Some(dir.join("initrd")),
            append: Some(format!("{} tiny.ip=10.0.0.{}/8 {append}", cmdline.trim(), rank + 1).into()),
        }),
        ..Machine::new(world.rank(rank).unwrap(), world)
    };
    let mut fds = GuestFds::new();
    let qmp = fds.add_qmp().unwrap();
    let (listener, named) = listen().unwrap();
    let cluster = ClusterNet::VhostUser(VhostUserEnd::Inherited(fds.add(named)));
    let spec = VmSpec { machine, cluster, qmp: Some(qmp), channels: None };
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest = keeper.launch(Launch { argv: argv(&spec), env: Vec::new(), fds }).await.unwrap();
    (guest, listener)
}

/// Takes qemu's connection, and waits for it. qemu waits for the switch's answers before it does anything else.
fn accept(listener: &UnixListener) -> VhostUserLink {
    let (socket, _) = listener.accept().unwrap();
    VhostUserLink::new(socket.into(), Offers::default()).unwrap()
}

/// Waits until the guest has answered all kinds of frames, or shows what it said last.
async fn answers(guest: &Guest, seen: &Mutex<Seen>) -> Seen {
    let deadline = Instant::now() + BOOT;
    loop {
        let now = seen.lock().unwrap().clone();
        if now.short_echoes > 0 && now.long_echoes > 0 && now.accepted > 0 {
            return now;
        }
        tokio::time::sleep(PERIOD).await;
        let last = (guest.console().last_lines(20), guest.stderr().last_lines(20));
        let ended = guest.end().is_some();
        assert!(!ended && !now.is_closed && Instant::now() < deadline, "{now:?} {last:#?}");
    }
}

#[tokio::test]
async fn a_guest_echoes_and_is_connected_to_and_again_after_a_reset() {
    let Some(dir) = tiny() else { return };
    let (guest, listener) = boot(&dir, 0, 9000, "").await;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let switch = Switch::start(listener, seen.clone());
    let first = answers(&guest, &seen).await;
    assert_eq!((first.stat("ring-starts"), first.stat("ring-stops")), (2, 0), "{first:?}");
    assert_eq!((first.stat("rings-broken"), first.stat("bad-chains")), (0, 0), "{first:?}");
    assert!(first.stat("unfinished-from-guest") > 0 && first.stat("unfinished-to-guest") > 0, "{first:?}");
    assert_eq!(first.stat("requests-refused"), 0, "{first:?}");

    guest.qmp().unwrap().execute("system_reset", json!({})).await.unwrap();
    let deadline = Instant::now() + BOOT;
    while seen.lock().unwrap().stat("ring-stops") < 2 {
        assert!(Instant::now() < deadline, "the rings have not stopped");
        tokio::time::sleep(PERIOD).await;
    }
    *seen.lock().unwrap() = Seen::default();
    let second = answers(&guest, &seen).await;
    assert_eq!((second.stat("ring-starts"), second.stat("rings-broken")), (4, 0), "{second:?}");

    guest.kill().await.unwrap();
    guest.ended().await;
    switch.join().unwrap();
    assert!(seen.lock().unwrap().is_closed);
}

/// What goes from one guest to another.
#[derive(Default)]
struct Way {
    pending: Vec<u8>,
    /// Octets of the longest record.
    longest: usize,
}

/// Passes on what the guests send until one of them goes. Returns the longest record of each, in octets.
fn join(listeners: [UnixListener; 2]) -> [usize; 2] {
    let mut links = listeners.map(|listener| accept(&listener));
    let (mut ways, mut space) = ([Way::default(), Way::default()], vec![0; MAX_RECORD_LEN]);
    loop {
        let mut has_moved = false;
        for (from, way) in ways.iter_mut().enumerate() {
            let to = 1 - from;
            if way.pending.is_empty() {
                match links[from].receive(&mut space).unwrap() {
                    Received::Records(octets) => way.pending.extend_from_slice(&space[..octets]),
                    Received::Nothing => {}
                    Received::Closed => return ways.map(|way| way.longest),
                }
                let mut run = &way.pending[..];
                while let Some((&[_, high, middle, low], rest)) = run.split_first_chunk() {
                    let len = u32::from_be_bytes([0, high, middle, low]) as usize;
                    (way.longest, run) = (way.longest.max(len), &rest[len..]);
                }
            }
            if !links[to].has_peer() {
                way.pending.clear();
            }
            let wrote = links[to].write(&[IoSlice::new(&way.pending)]).unwrap();
            assert_eq!(wrote.unsendable.frames, 0);
            way.pending.drain(..wrote.octets);
            has_moved |= wrote.octets > 0;
        }
        if !has_moved {
            let waits = ways.each_ref().map(|way| !way.pending.is_empty());
            let has_work = links[0].arm(!waits[0], waits[1]) | links[1].arm(!waits[1], waits[0]);
            if !has_work {
                let mut fds = links.each_ref().map(|link| PollFd::new(link.fd(), PollFlags::POLLIN));
                let _ = poll(&mut fds, PollTimeout::try_from(PERIOD).unwrap());
            }
            links.iter_mut().for_each(VhostUserLink::disarm);
        }
    }
}

#[tokio::test]
async fn two_guests_exchange_segments_that_nobody_cuts() {
    let Some(dir) = tiny() else { return };
    // Encoded as in a URL: the guest's shell runs it when its network is up.
    let send = "tiny.run=until+iperf3+-c+10.0.0.2+-n+20M;do+sleep+1;done";
    let (sender, first) = boot(&dir, 0, 1500, send).await;
    let (receiver, second) = boot(&dir, 1, 1500, "").await;
    let joined = std::thread::spawn(move || join([first, second]));
    let deadline = Instant::now() + BOOT;
    loop {
        let last = [&sender, &receiver].map(|guest| guest.console().last_lines(20));
        if last[0].iter().any(|line| line.contains("tiny: run ended with 0")) {
            break;
        }
        let has_ended = sender.end().is_some() || receiver.end().is_some();
        assert!(!has_ended && Instant::now() < deadline, "{last:#?} {:#?}", sender.stderr().last_lines(20));
        tokio::time::sleep(PERIOD).await;
    }
    sender.kill().await.unwrap();
    let [longest, _] = joined.join().unwrap();
    // Many times the MTU: nobody has cut them, nor summed them up.
    assert!(longest > 20_000, "{longest}");
    println!("the longest frame had {longest} octets: {:#?}", sender.console().last_lines(6));
}
