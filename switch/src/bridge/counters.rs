//! A bridge's books, one for each port.
//!
//! Two balances hold for every port. Frames: what came in there was forwarded, flooded or dropped for a
//! reason. Copies: what the verdicts offered to it, whichever port the frames came from, was sent, was
//! dropped for a reason, or is still pending there.

use crate::counters::named_drops;
use crate::{DropReason, Drops, Imbalance, PortCounters, ReplyKind};

/// Everything that a bridge counts at one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePortCounters {
    /// What came in, and what became of the copies that were to go out.
    pub traffic: PortCounters,
    /// Frames from here that were sent on to one port.
    pub forwarded: u64,
    /// Frames from here that were sent on to all others.
    pub flooded: u64,
    /// Frames from here whose sender was told that they are too long. They are among the dropped.
    pub answered: u64,
    /// Frames from here that were dropped, by decision or before it.
    pub ingress_drops: Drops,
}

impl BridgePortCounters {
    /// Checks that the books balance; copies may still be pending.
    pub fn check(&self) -> Result<(), Imbalance> {
        let received = self.traffic.received.frames;
        let decided = self.forwarded + self.flooded + self.ingress_drops.total().frames;
        if received != decided {
            return Err(Imbalance::Frames { received, decided });
        }
        self.traffic.check("egress")
    }

    /// Checks that the books balance and that no copy is pending.
    pub fn check_settled(&self) -> Result<(), Imbalance> {
        self.check()?;
        match self.traffic.pending().frames {
            0 => Ok(()),
            copies => Err(Imbalance::PendingAtPort { copies }),
        }
    }

    /// All counters with their names, for logs and statistics, always the same and in the same order.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let decided = [
            ("forwarded".to_owned(), self.forwarded),
            ("flooded".to_owned(), self.flooded),
            (format!("answered-{}", ReplyKind::TooBig.name()), self.answered),
        ];
        self.traffic
            .tallies()
            .map(|(name, count)| (name.to_owned(), count))
            .chain(decided)
            .chain(named_drops("ingress", &self.ingress_drops))
            .chain(named_drops("egress", &self.traffic.egress_drops))
    }

    /// Enters all pending copies as dropped.
    pub(super) fn drop_pending(&mut self, reason: DropReason) {
        let pending = self.traffic.pending();
        self.traffic.egress_drops.count_all(reason, pending);
    }

    pub(super) fn add(&mut self, more: &BridgePortCounters) {
        self.traffic.add(&more.traffic);
        self.forwarded += more.forwarded;
        self.flooded += more.flooded;
        self.answered += more.answered;
        self.ingress_drops.add(&more.ingress_drops);
    }
}
