//! The simulation as tests see it: what it is made of, what is to happen, and running it.

mod running;

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_switch::{Config, Instant, MacPolicy, Rank, Switch, World as Ranks};
use mvpnet_transports::link::{Change, ChangeError, LinkModel};

use crate::books::Traffic;
use crate::capture::Recorder;
use crate::failure::Replay;
use crate::frames::Frames;
use crate::guest::Guest;
use crate::host::{Boot, Host, HostGuest, Progress};
use crate::node::GuestState;
use crate::plan::At;
use crate::rules::{AddRule, Rule, When};
use crate::world::{Event, World};

/// A table of learned addresses that is smaller than a real switch's, so that ten thousand fit into memory.
const FDB_CAPACITY: usize = 64;

/// How much simulated time [`Sim::run`] gives to clients.
pub const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// Something of the test's own that happens at a planned time.
type Call = Box<dyn FnOnce(&mut Sim)>;

/// A simulated job: ranks with their switches, the network between them, and their guests.
///
/// Everything that happens follows from what the test says and the seed: no clock, no threads, no order that
/// differs from run to run.
///
/// ```
/// use std::time::Duration;
/// use mvpnet_sim::{LinkModel, Sim};
///
/// let mut sim = Sim::new(42, 2).links(LinkModel::CAMPUS);
/// sim.client(0, async |host| {
///     let rtt = host.ping(host.address_of(1), Duration::from_secs(1)).await?;
///     assert!(rtt >= 2 * LinkModel::CAMPUS.latency);
///     Ok(())
/// });
/// sim.host(1, async |_| Ok(()));
/// sim.run()?;
/// # Ok::<(), mvpnet_sim::Failure>(())
/// ```
pub struct Sim {
    pub(crate) world: World,
    configs: Configs,
    progress: Rc<RefCell<Progress>>,
    hosts: Vec<Option<Host>>,
    calls: Vec<Option<Call>>,
    started: bool,
    time_limit: Duration,
}

/// What all switches are told.
#[derive(Clone, Copy, Debug)]
struct Configs {
    mtu: u32,
    mac_policy: MacPolicy,
    fdb_capacity: usize,
}

impl Sim {
    /// A simulation of this many ranks, without guests, whose switches are joined by ideal links.
    ///
    /// # Panics
    ///
    /// If there cannot be a job of this many ranks.
    pub fn new(seed: u64, ranks: u32) -> Sim {
        let ranks = Ranks::new(ranks).expect("a job has at least one rank and not too many");
        let configs =
            Configs { mtu: Config::DEFAULT_MTU, mac_policy: MacPolicy::Learn, fdb_capacity: FDB_CAPACITY };
        Sim {
            world: make_world(seed, ranks, configs),
            configs,
            progress: Rc::default(),
            hosts: vec![None; ranks.size() as usize],
            calls: Vec::new(),
            started: false,
            time_limit: TIME_LIMIT,
        }
    }

    // ---- what it is made of

    /// The same, with this MTU.
    pub fn mtu(mut self, mtu: u32) -> Sim {
        self.configs.mtu = mtu;
        self.remake();
        self
    }

    /// The same, with this policy for source addresses that are no rank's.
    pub fn mac_policy(mut self, policy: MacPolicy) -> Sim {
        self.configs.mac_policy = policy;
        self.remake();
        self
    }

    /// The same, with switches that learn at most so many foreign addresses.
    pub fn fdb_capacity(mut self, addresses: usize) -> Sim {
        self.configs.fdb_capacity = addresses;
        self.remake();
        self
    }

    /// The same, with all links like this.
    pub fn links(mut self, model: LinkModel) -> Sim {
        self.world.settings.apply(&Change::Link(mvpnet_transports::link::Pairs::All, model));
        self
    }

    /// The same, with clients that may take so much simulated time; else it is [`TIME_LIMIT`].
    pub fn time_limit(mut self, limit: Duration) -> Sim {
        self.time_limit = limit;
        self
    }

    /// The same, with a capture of all frames in this file.
    pub fn capture(self, path: impl AsRef<std::path::Path>) -> Result<Sim, mvpnet_pcap::WriteError> {
        let file = std::fs::File::create(path)?;
        self.capture_to(Box::new(std::io::BufWriter::with_capacity(1 << 20, file)))
    }

    /// The same, with a capture of all frames into this.
    pub fn capture_to(mut self, sink: Box<dyn std::io::Write>) -> Result<Sim, mvpnet_pcap::WriteError> {
        let (ranks, seed) = (self.world.ranks.size(), self.world.seed);
        self.world.capture = Some(Recorder::new(sink, ranks, seed)?);
        Ok(self)
    }

    /// Keeps what happens when, for [`Traffic::history`].
    pub fn keep_history(&mut self) {
        self.world.traffic.history.get_or_insert_default();
    }

    /// Only before there are guests: the switches are made anew.
    fn remake(&mut self) {
        debug_assert!(!self.started, "the settings of switches are made before anything runs");
        let configs = self.configs;
        for node in &mut self.world.nodes {
            node.switch = Switch::new(config(node.rank, self.world.ranks, configs));
        }
    }

    // ---- guests

    /// Gives a rank a guest of any kind. `make` makes it now and after each crash.
    pub fn guest<G: Guest>(&mut self, rank: u32, mut make: impl FnMut() -> G + 'static) {
        let rank = self.rank(rank);
        let node = self.world.node_mut(rank);
        node.make = Some(Box::new(move || Box::new(make())));
        if self.started {
            self.world.start(rank);
        }
    }

    /// A rank's guest, to be looked at or told something, if it is of this kind and has not crashed.
    pub fn guest_mut<G: Guest>(&mut self, rank: u32) -> Option<&mut G> {
        let rank = self.rank(rank);
        let guest: &mut dyn Any = self.world.node_mut(rank).guest.as_deref_mut()?;
        guest.downcast_mut()
    }

    /// Lets a rank's guest do something now, with its port at hand.
    pub fn with_guest<G: Guest>(&mut self, rank: u32, run: impl FnOnce(&mut G, &mut crate::Port<'_>)) {
        self.start();
        let rank = self.rank(rank);
        self.world.run_guest(rank, |guest, port| {
            let guest: &mut dyn Any = guest;
            if let Some(guest) = guest.downcast_mut() {
                run(guest, port);
            }
        });
    }

    /// Gives a rank a host with TCP/IP that runs this, beside what it runs already. It runs from the beginning
    /// after each crash. That it ends is fine, that it fails ends the simulation.
    pub fn host<F>(&mut self, rank: u32, run: F)
    where
        F: AsyncFn(Host) -> crate::Result + Clone + 'static,
    {
        self.add(rank, Boot::server(move |host| boxed(run.clone(), host)));
    }

    /// Like [`host`](Sim::host), but [`run`](Sim::run) waits for its end. It runs once: a crash ends it.
    pub fn client<F>(&mut self, rank: u32, run: F)
    where
        F: AsyncFn(Host) -> crate::Result + Clone + 'static,
    {
        let rank_number = rank;
        let token = self.progress.borrow_mut().expect_client(rank_number);
        self.add(rank, Boot::client(token, move |host| boxed(run.clone(), host)));
    }

    fn add(&mut self, rank: u32, boot: Boot) {
        let host = self.host_of(rank);
        host.add(boot);
    }

    /// The host of a rank, which it gets if it had none: for tests that act in its place.
    pub fn host_of(&mut self, index: u32) -> Host {
        let rank = self.rank(index);
        if let Some(host) = &self.hosts[index as usize] {
            return host.clone();
        }
        let host = Host::new(rank, self.world.ranks, self.configs.mtu, &self.world.ready, &self.progress);
        self.hosts[index as usize] = Some(host.clone());
        let made = host.clone();
        self.guest(index, move || HostGuest::new(&made));
        host
    }

    // ---- what is to happen

    /// Begins a plan: what follows happens so long after the beginning.
    #[must_use = "a plan without anything in it does nothing"]
    pub fn at(&mut self, after: Duration) -> At<'_> {
        At { sim: self, at: Instant::ZERO + after }
    }

    /// Begins a rule for these frames.
    pub fn on(&mut self, frames: Frames) -> When<'_, Sim> {
        When { sim: self, frames }
    }

    /// Adds a rule after those that there are.
    pub fn rule(&mut self, rule: impl Rule + 'static) {
        self.world.rules.push(Box::new(rule));
    }

    /// Lets a change happen now.
    pub fn change(&mut self, change: &Change) -> Result<(), ChangeError> {
        change.check(self.world.ranks)?;
        self.start();
        self.world.apply(change);
        self.world.wake_ready();
        Ok(())
    }

    pub(crate) fn plan(&mut self, at: Instant, change: Change) -> Result<(), ChangeError> {
        change.check(self.world.ranks)?;
        self.world.queue.push(at.max(self.world.now), Event::Change(Box::new(change)));
        Ok(())
    }

    pub(crate) fn plan_call(&mut self, at: Instant, call: Call) {
        self.calls.push(Some(call));
        self.world.queue.push(at.max(self.world.now), Event::Call(self.calls.len() - 1));
    }

    // ---- looking at it

    /// The simulated time.
    pub fn now(&self) -> Instant {
        self.world.now
    }

    /// All ranks.
    pub fn world(&self) -> Ranks {
        self.world.ranks
    }

    /// What was sent and received, and what faults did.
    pub fn traffic(&self) -> &Traffic {
        &self.world.traffic
    }

    /// A rank's switch.
    pub fn switch(&self, rank: u32) -> &Switch {
        &self.world.node(self.rank(rank)).switch
    }

    /// A rank's guest's state.
    pub fn state(&self, rank: u32) -> GuestState {
        self.world.node(self.rank(rank)).state
    }

    /// The rank whose guest has asked to shut the job down, by an ARP request for 10.255.255.254.
    pub fn shutdown_asked_by(&self) -> Option<Rank> {
        self.world.shutdown_asked_by
    }

    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// The host of a rank that has one.
    pub(crate) fn existing_host(&self, rank: u32) -> Option<&Host> {
        self.hosts[rank as usize].as_ref()
    }

    /// How many events are planned: frames on their way, wake-ups, changes.
    pub fn planned(&self) -> usize {
        self.world.queue.len()
    }

    /// # Panics
    ///
    /// If there is no such rank, as all methods that take one.
    fn rank(&self, index: u32) -> Rank {
        self.world.ranks.rank(index).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl AddRule for Sim {
    fn add_rule(&mut self, rule: Box<dyn Rule>) {
        self.world.rules.push(rule);
    }
}

impl Drop for Sim {
    /// A test that panics says with which seed, since what it asserts rarely does.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (at, seed) = (self.world.now, self.world.seed);
            eprintln!("simulation: at {at} of simulated time, seed {seed}{Replay}");
        }
    }
}

fn boxed<F>(run: F, host: Host) -> std::pin::Pin<Box<dyn Future<Output = crate::Result>>>
where
    F: AsyncFn(Host) -> crate::Result + 'static,
{
    Box::pin(async move { run(host).await })
}

fn make_world(seed: u64, ranks: Ranks, configs: Configs) -> World {
    World::new(seed, ranks.ranks().map(|rank| config(rank, ranks, configs)), ranks)
}

fn config(rank: Rank, ranks: Ranks, configs: Configs) -> Config {
    Config {
        mtu: configs.mtu,
        mac_policy: configs.mac_policy,
        fdb_capacity: configs.fdb_capacity,
        ..Config::new(rank, ranks)
    }
}
