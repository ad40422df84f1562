//! The `mpi` transport: ranks are the processes of an MPI job. Feature `mpi`.
//!
//! Ranks of one host exchange batches through shared memory (`shm`). Between hosts, and everywhere where
//! [`MpiConfig::shm`] says so, batches are messages on a communicator of our own: started with `MPI_Isend`, matched with
//! `MPI_Improbe`, received into pooled buffers, and never waited for. Byte credits in the batch header do what MPI does
//! not: bound what is on the way. Idle ranks sleep and are [rung](Bells). This file initialises; what is sent is in
//! `outgoing`, the calls of [`Transport`](crate::Transport) are in `carry`, the end is in `close`.
//!
//! `unsafe` is in `ffi` and `requests` alone, and no type of MPI leaves this module.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use mvpnet_switch::{Rank, World, WorldError};
use thiserror::Error;

use crate::credit::ReceiveWindow;
use crate::doze::{self, Backstop};
use crate::launcher::{LauncherMismatch, NoPmi, check_launcher, check_pmi, launcher_env};
use crate::outbox::{FlowLimits, Outbox};
use crate::peers::Peers;
use crate::pool::Pool;
use crate::shm::{Announced, Key, Neighbours, Rings};
use crate::{TransportError, TransportStats};

mod bells;
mod card;
mod carry;
mod close;
mod far;
mod ffi;
mod host;
mod hydra;
mod leftovers;
mod outgoing;
mod requests;
mod tuning;

pub use bells::Bells;
pub use close::CloseReport;
pub use ffi::{MpiError, library_version};
pub use leftovers::{Leftovers, leftovers};

use bells::{Doorbell, PeerBell};
use card::{CARD_LEN, Card, Places};
use host::Host;
use requests::{Receives, Sends};

/// Unused buffers of each size that a rank keeps.
const KEEP_BUFFERS: usize = 64;

/// How an [`MpiTransport`] is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpiConfig {
    /// Bounds per peer, the same on all ranks.
    pub limits: FlowLimits,
    /// How ranks wake each other, the same on all ranks.
    pub bells: Bells,
    /// Whether ranks of one host exchange batches through shared memory, the same on all ranks.
    pub shm: bool,
}

impl Default for MpiConfig {
    fn default() -> Self {
        MpiConfig { limits: FlowLimits::MESSAGES, bells: Bells::Auto, shm: true }
    }
}

/// Why MPI could not be used.
#[derive(Debug, Error)]
pub enum InitError {
    /// MPI can be initialised once in the life of a process.
    #[error("MPI is initialised already")]
    AlreadyInitialized,
    /// The library does not allow threads beside the one that calls it.
    #[error("{library} was built without support for threads (MPI_THREAD_FUNNELED)")]
    Threads {
        /// The library, as it names itself.
        library: String,
    },
    /// The program was built for another MPI than the one that started it.
    #[error(transparent)]
    Launcher(#[from] LauncherMismatch),
    /// Slurm's srun was not told which MPI the program has.
    #[error(transparent)]
    NoPmi(#[from] NoPmi),
    /// More ranks than a job can have.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Ranks run different versions of this program, or with different limits.
    #[error("rank {other} runs another version of this program than rank {me}, or with other limits")]
    Disagreement {
        /// This rank.
        me: u32,
        /// The first rank that differs.
        other: u32,
    },
    /// No doorbell could be made.
    #[error("no doorbell for an idle rank: {0}")]
    Doorbell(#[from] io::Error),
    /// MPI itself failed.
    #[error(transparent)]
    Mpi(#[from] MpiError),
}

/// This process's end of an MPI job. Stays on the thread that made it.
pub struct MpiTransport {
    mpi: ffi::Mpi,
    library: String,
    me: Rank,
    world: World,
    limits: FlowLimits,
    /// The cards of all ranks as they came; read when a peer is first talked to.
    cards: Arc<[u8]>,
    host: Host,
    hosts: Hosts,
    /// Kept open, since neighbours open it when they first talk to this rank.
    _segment: OwnedFd,
    /// What is exchanged with the ranks of this host through shared memory.
    rings: Option<Rings<Host>>,
    /// Whether that is all there is.
    is_all_near: bool,
    /// Whether MPI is asked for a batch before the rings are.
    is_mpis_turn: bool,
    doorbell: Doorbell,
    pool: Pool,
    peers: Peers<Peer>,
    /// Slots in `peers` that have something queued, in flight or to be credited.
    busy: Vec<usize>,
    /// Record bytes queued, all peers together.
    queued: usize,
    /// Whether a queue that refused has room again, of which the caller has not heard.
    has_room_come: bool,
    /// Record bytes in flight.
    in_flight: usize,
    sends: Sends,
    receives: Receives,
    backstop: Backstop,
    is_armed: bool,
    /// The last sleep, where no ring ended it.
    slept_unrung: Option<Duration>,
    sleep: Duration,
    /// Found where it could not be returned.
    failure: Option<TransportError>,
    stats: TransportStats,
}

/// What is kept of a rank that was talked to.
struct Peer {
    rank: Rank,
    outbox: Outbox,
    data_in: ReceiveWindow,
    control_in: ReceiveWindow,
    /// Sends that are not complete.
    in_flight: usize,
    /// Whether sends were in flight when progress was last made, and whether one of them is complete since.
    has_pended: bool,
    has_completed: bool,
    bell: PeerBell,
    is_busy: bool,
    /// Whether the last send was refused for want of room.
    has_refused: bool,
    is_gone: bool,
}

impl MpiTransport {
    /// Initialises MPI and meets the other ranks. Every rank of the job calls this, on the thread that will
    /// use the transport, before others are started.
    ///
    /// Also asks the system to end this thread's sleeps on time (PR_SET_TIMERSLACK), since a rank with
    /// pending sends sleeps for 100 µs at most.
    pub fn init(config: MpiConfig) -> Result<Self, InitError> {
        let library = library_version();
        // OpenMPI would end the process.
        check_pmi(&library)?;
        let mpi = ffi::Mpi::init(tuning::wanted(config.shm)).map_err(|error| match error {
            ffi::StartError::AlreadyInitialized => InitError::AlreadyInitialized,
            ffi::StartError::Threads => InitError::Threads { library: library.clone() },
            ffi::StartError::Mpi(error) => InitError::Mpi(error),
        })?;
        let meeting = match Meeting::hold(&mpi, &library, config) {
            Ok(meeting) => meeting,
            Err(error) => {
                // Perhaps this rank alone, and then the others do not come to finalise.
                close::finalize(mpi, &library, None, 1);
                return Err(error);
            }
        };
        let Meeting { me, world, cards, doorbell, segment: announced, host, hosts, can_share } = meeting;
        if let Err(error) = nix::sys::prctl::set_timerslack(1) {
            tracing::debug!(%error, "short sleeps will be longer than asked for");
        }
        let limits = config.limits.workable();
        let segment = doorbell.segment().clone();
        let rings = can_share.then(|| Rings::new(me, world, segment.clone(), host.clone(), limits));
        Ok(MpiTransport {
            mpi,
            library,
            me,
            world,
            limits,
            cards,
            is_all_near: rings.is_some() && host.ranks().len() == world.size() as usize,
            is_mpis_turn: false,
            pool: if rings.is_some() {
                Pool::with_blocks(KEEP_BUFFERS, segment)
            } else {
                Pool::new(KEEP_BUFFERS)
            },
            rings,
            host,
            hosts,
            doorbell,
            _segment: announced,
            peers: Peers::new(world),
            busy: Vec::new(),
            queued: 0,
            has_room_come: false,
            in_flight: 0,
            sends: Sends::default(),
            receives: Receives::default(),
            backstop: Backstop::default(),
            is_armed: false,
            slept_unrung: None,
            sleep: Duration::ZERO,
            failure: None,
            stats: TransportStats::default(),
        })
    }

    /// The MPI library, as it names itself.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// The ranks on this host, in ascending order, this one included.
    pub fn neighbours(&self) -> &[Rank] {
        self.host.ranks()
    }

    /// Gives rank 0's bytes to all ranks. Every rank calls it, before its frame loop.
    ///
    /// # Errors
    /// MPI fails.
    pub fn share(&self, bytes: Vec<u8>) -> Result<Vec<u8>, MpiError> {
        let mut length = (bytes.len() as u64).to_be_bytes();
        self.mpi.broadcast(&mut length)?;
        let mut bytes = bytes;
        bytes.resize(usize::try_from(u64::from_be_bytes(length)).expect("it fits into rank 0's memory"), 0);
        self.mpi.broadcast(&mut bytes)?;
        Ok(bytes)
    }

    /// The number of ranks on the host that has most.
    pub fn fullest_host(&self) -> usize {
        self.hosts.fullest()
    }
}

/// What the ranks learn of each other at start.
struct Meeting {
    me: Rank,
    world: World,
    cards: Arc<[u8]>,
    doorbell: Doorbell,
    segment: OwnedFd,
    host: Host,
    hosts: Hosts,
    /// Whether all ranks can share memory with their neighbours, and want to.
    can_share: bool,
}

impl Meeting {
    fn hold(mpi: &ffi::Mpi, library: &str, config: MpiConfig) -> Result<Self, InitError> {
        let size = mpi.size()?;
        check_launcher(launcher_env(), size, library)?;
        let world = World::new(size)?;
        let me = world.rank(mpi.rank()?).expect("MPI numbers its ranks below the size (MPI 3.1, §6.2)");
        let mut key = random_key()?;
        mpi.broadcast(&mut key)?;
        // A rank without a doorbell still takes part in the exchanges, or the others would wait for ever.
        let bell = own_bell(world, me, key, config.bells);
        let mine = Card {
            agreement: card::fnv1a(format!("{} {:?}", env!("CARGO_PKG_VERSION"), config).as_bytes()),
            host: card::host_identity(),
            pid: std::process::id(),
            cores: u16::try_from(doze::cores()).unwrap_or(u16::MAX),
            addresses: card::host_addresses(),
            places: bell.as_ref().map_or(Places::NOWHERE, |bell| bell.places),
        };
        let cards: Arc<[u8]> = mpi.gather_to_all(&mine.to_bytes(), size as usize)?.into();
        let host = Host::new(world, key, cards.clone(), mine.host);
        let can_share = config.shm && bell.is_ok() && host.can_meet(me);
        let can_share = mpi.gather_to_all(&[u8::from(can_share)], size as usize)?.iter().all(|can| *can == 1);
        let OwnBell { mut doorbell, segment, .. } = bell?;
        let hosts = Hosts::of(world, &cards);
        if let Some(other) = world.ranks().find(|rank| card_of(&cards, *rank).agreement != mine.agreement) {
            return Err(InitError::Disagreement { me: me.index(), other: other.index() });
        }
        if host.ranks().len() == size as usize {
            doorbell.close_far();
        }
        Ok(Meeting { me, world, cards, doorbell, segment, host, hosts, can_share })
    }
}

/// How this rank can be reached.
struct OwnBell {
    doorbell: Doorbell,
    segment: OwnedFd,
    places: Places,
}

fn own_bell(world: World, me: Rank, key: Key, bells: Bells) -> io::Result<OwnBell> {
    let (door, segment) = host::own_door(world, me, &key)?;
    let at = |fd: &OwnedFd| Announced::of(fd).map(|announced| (announced.number, announced.inode));
    let (segment_at, pipe) = (at(&segment)?, at(door.pipe())?);
    let doorbell = Doorbell::new(bells, door, key, me.index())?;
    let places = Places { segment: segment_at, pipe, udp_port: doorbell.udp_port()? };
    Ok(OwnBell { doorbell, segment, places })
}

/// How many ranks each host has.
struct Hosts {
    ranks: std::collections::BTreeMap<u64, usize>,
}

impl Hosts {
    fn of(world: World, cards: &[u8]) -> Self {
        let mut ranks = std::collections::BTreeMap::new();
        for rank in world.ranks() {
            *ranks.entry(card_of(cards, rank).host).or_default() += 1;
        }
        Hosts { ranks }
    }

    fn ranks_on(&self, host: u64) -> usize {
        self.ranks.get(&host).copied().unwrap_or(0)
    }

    fn fullest(&self) -> usize {
        self.ranks.values().copied().max().unwrap_or(1)
    }
}

/// One rank's card among those of all.
fn card_of(cards: &[u8], rank: Rank) -> Card {
    let card = cards[rank.index() as usize * CARD_LEN..].first_chunk();
    Card::from_bytes(card.expect("a card of every rank was gathered"))
}

fn random_key() -> io::Result<Key> {
    use io::Read;
    let mut key = Key::default();
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}
