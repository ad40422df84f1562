//! Ranks with their frame loops in threads, and sockets in place of guests.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mvpnet_node::clock::Clock;
use mvpnet_node::frame_loop::{Command, Event, GuestEnd, LoopEnd, LoopHandle, RankLoop, mailbox};
use mvpnet_qemu_driver::links::vhost_user::Offers;
use mvpnet_qemu_driver::links::vhost_user::front::{Front, FrontConfig};
use mvpnet_qemu_driver::links::{LinkKind, pair};
use mvpnet_switch::{Config, MacAddr, OFFLOAD_LEN, Rank, Switch, World};
use mvpnet_transports::mem::{MemTransport, fabric};
use nix::poll::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::UnboundedReceiver;

pub const DEADLINE: Duration = Duration::from_secs(10);

/// One rank: its loop in a thread of its own, and the guest's end of the link.
pub struct Node {
    pub rank: Rank,
    pub handle: LoopHandle,
    pub events: UnboundedReceiver<Event>,
    thread: JoinHandle<LoopEnd<MemTransport>>,
    pub guest: Guest,
}

pub enum Guest {
    Stream(UnixStream),
    Dgram(UnixDatagram),
    VhostUser(Box<Driver>),
}

/// A guest's driver of its network card.
pub struct Driver {
    front: Front,
    came: VecDeque<([u8; OFFLOAD_LEN], Vec<u8>)>,
}

impl Driver {
    /// Sends a frame of which something may be left to be done.
    pub fn send(&mut self, header: Option<&[u8; OFFLOAD_LEN]>, frame: &[u8]) {
        let until = Instant::now() + DEADLINE;
        while self.front.send([(header, frame)]) == 0 {
            assert!(Instant::now() < until, "the switch takes nothing");
            self.front.reclaim();
            std::thread::yield_now();
        }
    }

    /// The next frame with its header, or `None` when none comes within `wait`.
    pub fn receive(&mut self, wait: Duration) -> Option<([u8; OFFLOAD_LEN], Vec<u8>)> {
        let until = Instant::now() + wait;
        loop {
            let came = &mut self.came;
            self.front.receive(|header, frame| came.push_back((*header, frame.to_vec())));
            if !self.came.is_empty() || Instant::now() > until {
                return self.came.pop_front();
            }
            if !self.front.arm(true, false) {
                let _ = poll(&mut [PollFd::new(self.front.fd(), PollFlags::POLLIN)], 10u16);
            }
            self.front.disarm();
        }
    }
}

/// All kinds of links.
pub fn kinds() -> [LinkKind; 3] {
    [LinkKind::Stream, LinkKind::Dgram, LinkKind::VhostUser(Offers::default())]
}

impl Guest {
    pub fn send(&mut self, frame: &[u8]) {
        match self {
            Self::Stream(socket) => {
                let mut record = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
                record.extend_from_slice(frame);
                socket.write_all(&record).unwrap();
            }
            Self::Dgram(socket) => drop(socket.send(frame).unwrap()),
            Self::VhostUser(driver) => driver.send(None, frame),
        }
    }

    /// The next frame, or `None` when none comes within `wait`.
    pub fn receive(&mut self, wait: Duration) -> Option<Vec<u8>> {
        let mut frame = vec![0; 70_000];
        match self {
            Self::VhostUser(driver) => return driver.receive(wait).map(|(_, frame)| frame),
            Self::Stream(socket) => {
                socket.set_read_timeout(Some(wait)).unwrap();
                let mut prefix = [0; 4];
                match socket.read_exact(&mut prefix) {
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        return None;
                    }
                    other => other.unwrap(),
                }
                frame.truncate(u32::from_be_bytes(prefix) as usize);
                socket.read_exact(&mut frame).unwrap();
            }
            Self::Dgram(socket) => {
                socket.set_read_timeout(Some(wait)).unwrap();
                let len = socket.recv(&mut frame).ok()?;
                frame.truncate(len);
            }
        }
        Some(frame)
    }

    pub fn expect(&mut self) -> Vec<u8> {
        self.receive(DEADLINE).expect("a frame arrives")
    }
}

pub fn start(size: u32, kind: LinkKind) -> Vec<Node> {
    let world = World::new(size).unwrap();
    let ends = fabric(world).unwrap();
    world.ranks().zip(ends).map(|(rank, transport)| start_one(rank, world, transport, kind)).collect()
}

/// Ranks with a kind of link each.
pub fn start_mixed(kinds: &[LinkKind]) -> Vec<Node> {
    let world = World::new(kinds.len() as u32).unwrap();
    let ends = fabric(world).unwrap().into_iter().zip(kinds);
    world
        .ranks()
        .zip(ends)
        .map(|(rank, (transport, kind))| start_one(rank, world, transport, *kind))
        .collect()
}

fn start_one(rank: Rank, world: World, transport: MemTransport, kind: LinkKind) -> Node {
    let (handle, inbox, events) = mailbox().unwrap();
    let clock = Clock::start();
    let thread = std::thread::spawn(move || {
        let switch = Switch::new(Config::new(rank, world));
        RankLoop::new(switch, transport, clock, inbox, None).run()
    });
    let (ours, theirs) = pair(kind).unwrap();
    handle.send(Command::Attach(GuestEnd { kind, socket: ours, guest_path: None }));
    let guest = match kind {
        LinkKind::Stream => Guest::Stream(UnixStream::from(theirs)),
        LinkKind::Dgram => Guest::Dgram(UnixDatagram::from(theirs)),
        LinkKind::VhostUser(_) => {
            let front = Front::connect(theirs, FrontConfig::default()).unwrap();
            Guest::VhostUser(Box::new(Driver { front, came: VecDeque::new() }))
        }
    };
    Node { rank, handle, events, thread, guest }
}

/// Stops all loops; their books must balance.
pub fn stop(nodes: Vec<Node>) -> Vec<Vec<(String, u64)>> {
    for node in &nodes {
        node.handle.send(Command::Stop);
    }
    nodes
        .into_iter()
        .map(|node| {
            let end = node.thread.join().expect("the loop does not panic");
            assert!(end.failure.is_none(), "{:?}", end.failure);
            end.switch.counters().check_settled().expect("the books balance");
            end.switch.counters().iter().collect()
        })
        .collect()
}

pub fn frame(to: MacAddr, from: MacAddr, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.octets().to_vec();
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&[0x88, 0xb5]); // IEEE 802 local experimental EtherType 1
    frame.extend_from_slice(payload);
    frame
}

pub fn counter(counters: &[(String, u64)], name: &str) -> u64 {
    counters.iter().filter(|(key, _)| key.contains(name)).map(|(_, value)| value).sum()
}

/// The rank's counters at present.
pub fn counters_now(node: &Node) -> Vec<(String, u64)> {
    let (reply, counters) = tokio::sync::oneshot::channel();
    node.handle.send(Command::Counters(reply));
    counters.blocking_recv().expect("the loop runs")
}
