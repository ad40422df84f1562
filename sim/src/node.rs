//! One rank: the switch, the links that end here, and its guest.

use std::collections::VecDeque;
use std::rc::Rc;

use mvpnet_switch::{Instant, Rank, Switch};
use mvpnet_transports::link::{Chance, Network};

use crate::guest::Guest;

/// How many bytes may wait for a guest that stands still, as they would in a real guest's socket and queue.
pub(crate) const BACKLOG_BYTES: usize = 256 << 10;

/// Makes a rank's guest, anew after every crash.
pub(crate) type MakeGuest = Box<dyn FnMut() -> Box<dyn Guest>>;

/// What state a guest is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestState {
    /// The rank has no guest.
    Absent,
    /// It runs.
    Up,
    /// It stands still, and goes on later.
    Paused,
    /// It has crashed.
    Down,
}

/// A rank, see the module.
pub(crate) struct Node {
    pub(crate) rank: Rank,
    pub(crate) switch: Switch,
    pub(crate) network: Network,
    pub(crate) make: Option<MakeGuest>,
    /// Not there while it runs, or when it has crashed.
    pub(crate) guest: Option<Box<dyn Guest>>,
    pub(crate) state: GuestState,
    /// Goes up when the guest crashes or starts, so that what was planned for its former life is void.
    pub(crate) life: u32,
    pub(crate) chance: Chance,
    pub(crate) wake_at: Option<Instant>,
    /// When the queue of events will wake the guest: later than `wake_at` never, earlier maybe.
    pub(crate) wake_planned: Option<Instant>,
    pub(crate) backlog: VecDeque<Waiting>,
    pub(crate) backlog_bytes: usize,
}

/// A frame that waits for a guest that stands still.
pub(crate) struct Waiting {
    pub(crate) from: Rank,
    pub(crate) frame: Rc<[u8]>,
    /// Whether it is a second copy, which the switch's books know nothing of.
    pub(crate) is_duplicate: bool,
}

impl Node {
    pub(crate) fn new(switch: Switch, seed: u64) -> Node {
        const GUESTS: u32 = u32::MAX; // no rank has this number: a guest's chances are no link's
        let rank = switch.config().me;
        Node {
            rank,
            switch,
            network: Network::new(rank, seed),
            make: None,
            guest: None,
            state: GuestState::Absent,
            life: 0,
            chance: Chance::for_part(seed, [rank.index(), GUESTS]),
            wake_at: None,
            wake_planned: None,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
        }
    }

    /// Keeps a frame for later, if there is room.
    pub(crate) fn queue(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        if self.backlog_bytes + waiting.frame.len() > BACKLOG_BYTES {
            return Err(waiting);
        }
        self.backlog_bytes += waiting.frame.len();
        self.backlog.push_back(waiting);
        Ok(())
    }
}
