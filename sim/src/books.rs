//! What a simulation counts beyond the switches' own books, and what must hold for the whole world.

use std::collections::BTreeMap;
use std::time::Duration;

use mvpnet_switch::{DropReason, Imbalance, Instant, Rank, Switch};

/// How long a slot of [`History`] is.
pub const SLOT: Duration = Duration::from_millis(100);

/// Frames and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Frames.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
    }
}

/// What guests sent and got, and what faults did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What all guests sent.
    pub sent: Amount,
    /// What all guests got, answers of switches and second copies included.
    pub received: Amount,
    /// Second copies that links and rules made.
    pub duplicated: u64,
    /// Of these, those that guests got.
    pub duplicates_received: u64,
    /// Of these, those that were lost on their way.
    pub duplicates_lost: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// What was dropped, by reason.
    pub drops: BTreeMap<DropReason, u64>,
    /// What came over each link in each time slot, when asked for; see [`Sim::keep_history`](crate::Sim::keep_history).
    pub history: Option<History>,
}

/// What happened when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Bytes that came over a link, from one rank's guest to another's, in a slot of [`SLOT`].
    pub links: BTreeMap<([u32; 2], u64), u64>,
    /// Drops in a slot, by reason.
    pub drops: BTreeMap<(DropReason, u64), u64>,
}

fn slot(now: Instant) -> u64 {
    now.as_nanos() / u64::try_from(SLOT.as_nanos()).unwrap_or(u64::MAX)
}

impl Traffic {
    pub(crate) fn sent(&mut self, len: usize) {
        self.sent.add(len);
    }

    pub(crate) fn received(&mut self, now: Instant, from: Rank, to: Rank, len: usize) {
        self.received.add(len);
        // What a guest gets from its own switch comes over no link.
        if let Some(history) = self.history.as_mut().filter(|_| from != to) {
            *history.links.entry(([from.index(), to.index()], slot(now))).or_default() += len as u64;
        }
    }

    pub(crate) fn dropped(&mut self, now: Instant, reason: DropReason) {
        *self.drops.entry(reason).or_default() += 1;
        if let Some(history) = &mut self.history {
            *history.drops.entry((reason, slot(now))).or_default() += 1;
        }
    }
}

/// How the books of a whole world fail to balance: a defect of mvpnet, not of what is tested on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldImbalance {
    /// One switch's books.
    #[error("rank {rank}: {imbalance}")]
    Switch {
        /// Whose.
        rank: u32,
        /// What is wrong.
        imbalance: Imbalance,
    },
    /// Frames vanished or appeared between switches.
    #[error("switches sent each other {sent} frames and received {received}")]
    BetweenSwitches {
        /// Frames that switches sent to others.
        sent: u64,
        /// Frames that switches got from others.
        received: u64,
    },
    /// Guests got what no switch sent them, or the reverse.
    #[error(
        "guests got {received} frames; switches sent them {sent}, and {duplicates} second copies arrived"
    )]
    AtGuests {
        /// What guests got.
        received: u64,
        /// What switches sent to them.
        sent: u64,
        /// Second copies that guests got.
        duplicates: u64,
    },
}

/// Checks the books of all switches and what must hold between them.
pub(crate) fn check<'a>(
    switches: impl Iterator<Item = &'a Switch>,
    traffic: &Traffic,
) -> Result<(), WorldImbalance> {
    let (mut sent, mut received, mut to_guests) = (0, 0, 0);
    for switch in switches {
        let counters = switch.counters();
        let rank = switch.config().me.index();
        counters.check().map_err(|imbalance| WorldImbalance::Switch { rank, imbalance })?;
        sent += counters.peers.sent.frames;
        received += counters.peers.received.frames;
        to_guests += counters.guest.sent.frames;
    }
    if sent != received {
        return Err(WorldImbalance::BetweenSwitches { sent, received });
    }
    let duplicates = traffic.duplicates_received;
    if traffic.received.frames != to_guests + duplicates {
        return Err(WorldImbalance::AtGuests {
            received: traffic.received.frames,
            sent: to_guests,
            duplicates,
        });
    }
    Ok(())
}
