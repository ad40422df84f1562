//! A guest with a TCP/IP stack, whose programs are asynchronous Rust.
//!
//! The stack is smoltcp's. It gets its IPv4 address by DHCP from the switch, as a real guest does, and has the
//! IPv6 addresses that follow from its rank; programs start when it has its address. A program is an `async`
//! closure that is given the [`Host`] to work with: sockets ([`TcpStream`], [`TcpListener`], [`UdpSocket`]), time
//! ([`Host::sleep`]), chances ([`Host::chance`]). Streams implement the traits of `tokio::io`, so that code
//! written against these runs here unchanged.

mod clock;
mod device;
mod discovery;
mod held;
mod neighbors;
mod ping;
mod stack;
mod tasks;
mod tcp;
mod udp;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mvpnet_switch::{Instant, Rank, UlaPrefix, World};
use mvpnet_transports::link::Chance;

use crate::ready::Ready;

pub use clock::{Elapsed, Sleep};
pub use ping::PingError;
use stack::Stack;
pub(crate) use tasks::HostGuest;
use tasks::{Spawned, Task};
pub use tcp::{TCP_TIMEOUT, TcpListener, TcpStream};
pub use udp::UdpSocket;

/// A program, as the executor sees it.
pub(crate) type Program = Pin<Box<dyn Future<Output = crate::Result>>>;

/// A host of the simulation, as its programs see it. Clones are the same host.
#[derive(Clone)]
pub struct Host(Rc<Shared>);

pub(crate) struct Shared {
    rank: Rank,
    world: World,
    mtu: u32,
    ready: Arc<Ready>,
    progress: Rc<RefCell<Progress>>,
    boots: RefCell<Vec<Boot>>,
    /// Whether it runs just now, so that there is no need to wake it.
    running: Arc<AtomicBool>,
    inner: RefCell<Inner>,
}

/// What one life of the host consists of.
struct Inner {
    stack: Stack,
    timers: clock::Timers,
    chance: Chance,
    spawned: Vec<Spawned>,
    now: Instant,
    /// Tells this life's sockets from those of others.
    life: u64,
    next_port: u16,
    next_ping: u16,
}

/// A program that a host runs when it boots.
#[derive(Clone)]
pub(crate) struct Boot {
    make: Rc<dyn Fn(Host) -> Program>,
    client: Option<usize>,
}

impl Boot {
    /// One that runs anew after each crash.
    pub(crate) fn server(make: impl Fn(Host) -> Program + 'static) -> Boot {
        Boot { make: Rc::new(make), client: None }
    }

    /// One that runs once and whose end is waited for.
    pub(crate) fn client(token: usize, make: impl Fn(Host) -> Program + 'static) -> Boot {
        Boot { make: Rc::new(make), client: Some(token) }
    }
}

/// Which clients of the whole simulation have not ended, and what has failed.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    clients: Vec<Client>,
    open: usize,
    pub(crate) failed: Option<(Rank, Box<dyn std::error::Error>)>,
}

#[derive(Debug)]
struct Client {
    rank: u32,
    started: bool,
    ended: bool,
}

impl Progress {
    pub(crate) fn expect_client(&mut self, rank: u32) -> usize {
        self.clients.push(Client { rank, started: false, ended: false });
        self.open += 1;
        self.clients.len() - 1
    }

    /// Whether there are clients that have not ended.
    pub(crate) fn has_clients(&self) -> bool {
        self.open > 0
    }

    fn client_ended(&mut self, token: usize) {
        if !std::mem::replace(&mut self.clients[token].ended, true) {
            self.open -= 1;
        }
    }

    /// The ranks whose clients have not ended.
    pub(crate) fn waiting(&self) -> Vec<u32> {
        self.clients.iter().filter(|client| !client.ended).map(|client| client.rank).collect()
    }
}

impl Host {
    pub(crate) fn new(
        rank: Rank,
        world: World,
        mtu: u32,
        ready: &Arc<Ready>,
        progress: &Rc<RefCell<Progress>>,
    ) -> Host {
        let inner = Inner::new(rank, mtu, Instant::ZERO, 0, Chance::new(0));
        Host(Rc::new(Shared {
            rank,
            world,
            mtu,
            ready: ready.clone(),
            progress: progress.clone(),
            boots: RefCell::default(),
            running: Arc::default(),
            inner: RefCell::new(inner),
        }))
    }

    /// Adds a program to those that run from the next boot on, and at once if the host is up.
    pub(crate) fn add(&self, boot: Boot) {
        if self.0.inner.borrow().stack.is_up() {
            self.run_boot(&boot);
        }
        self.0.boots.borrow_mut().push(boot);
    }

    fn run_boot(&self, boot: &Boot) {
        if let Some(token) = boot.client {
            let client = &mut self.0.progress.borrow_mut().clients[token];
            if std::mem::replace(&mut client.started, true) {
                return;
            }
        }
        let program = (boot.make)(self.clone());
        self.push(Spawned { program, client: boot.client });
    }

    fn push(&self, spawned: Spawned) {
        self.0.inner.borrow_mut().spawned.push(spawned);
        self.nudge();
    }

    /// There is something to do for the stack or for a program.
    fn nudge(&self) {
        if !self.0.running.load(Ordering::Relaxed) {
            self.0.ready.push(self.0.rank.index());
        }
    }

    /// The simulated time.
    pub fn now(&self) -> Instant {
        self.0.inner.borrow().now
    }

    /// This host's rank.
    pub fn rank(&self) -> u32 {
        self.0.rank.index()
    }

    /// All ranks.
    pub fn world(&self) -> World {
        self.0.world
    }

    /// This host's IPv4 address.
    pub fn address(&self) -> IpAddr {
        self.0.rank.ipv4().into()
    }

    /// A rank's IPv4 address.
    ///
    /// # Panics
    ///
    /// If there is no such rank.
    pub fn address_of(&self, rank: u32) -> IpAddr {
        self.peer(rank).ipv4().into()
    }

    /// A rank's IPv6 address in the job's own prefix.
    ///
    /// # Panics
    ///
    /// If there is no such rank.
    pub fn ipv6_of(&self, rank: u32) -> Ipv6Addr {
        self.peer(rank).ula(UlaPrefix::default())
    }

    /// A port of a rank's IPv4 address.
    ///
    /// # Panics
    ///
    /// If there is no such rank.
    pub fn socket_address_of(&self, rank: u32, port: u16) -> SocketAddr {
        SocketAddr::new(self.address_of(rank), port)
    }

    fn peer(&self, rank: u32) -> Rank {
        self.0.world.rank(rank).unwrap_or_else(|error| panic!("{error}"))
    }

    /// 64 random bits that follow from the simulation's seed and this rank.
    pub fn random(&self) -> u64 {
        self.0.inner.borrow_mut().chance.bits()
    }

    /// A random number below `bound`, or 0 if that is 0.
    pub fn random_below(&self, bound: u64) -> u64 {
        self.0.inner.borrow_mut().chance.below(bound)
    }

    /// Runs something beside the caller on this host. Its failure ends the simulation.
    pub fn spawn(&self, program: impl Future<Output = crate::Result> + 'static) {
        self.push(Spawned { program: Box::pin(program), client: None });
    }

    /// A program has ended.
    fn ended(&self, task: &Task, result: crate::Result) {
        let mut progress = self.0.progress.borrow_mut();
        if let Some(token) = task.client() {
            progress.client_ended(token);
        }
        if let Err(error) = result {
            progress.failed.get_or_insert((self.0.rank, error));
        }
    }
}

impl Inner {
    fn new(rank: Rank, mtu: u32, now: Instant, life: u64, mut chance: Chance) -> Inner {
        const FIRST_PORT: u16 = 49152; // the dynamic ports of RFC 6335 §6
        Inner {
            stack: Stack::new(rank, mtu, now, chance.bits()),
            timers: clock::Timers::default(),
            next_port: FIRST_PORT + (chance.below(8192) as u16),
            next_ping: 1,
            chance,
            spawned: Vec::new(),
            now,
            life,
        }
    }

    /// A local port that no connection of this life has used yet, or not for long.
    fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == u16::MAX { 49152 } else { port + 1 };
        port
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.0.rank)
    }
}
