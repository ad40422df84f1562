//! The switch's books.
//!
//! Two balances hold at all times. Frames: what came in was forwarded, flooded, answered, consumed or
//! dropped for a reason. Copies: what the verdicts offered to a port was sent, was dropped at that port
//! for a reason, or is still pending there.

use std::ops::AddAssign;

use crate::{Control, DropReason, PortId, ReplyKind, Vni};

const REASONS: usize = DropReason::ALL.len();

/// A number of frames and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of frames.
    pub frames: u64,
    /// Bytes in them, without the framing of the link.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, more: Tally) {
        self.frames += more.frames;
        self.bytes += more.bytes;
    }
}

impl AddAssign<usize> for Tally {
    /// Adds one frame of this many bytes.
    fn add_assign(&mut self, frame_len: usize) {
        self.frames += 1;
        self.bytes += frame_len as u64;
    }
}

/// Frames dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops {
    by_reason: [Tally; REASONS],
}

impl Drops {
    /// What was dropped for this reason.
    pub const fn by(&self, reason: DropReason) -> Tally {
        self.by_reason[reason.index()]
    }

    /// What was dropped for any reason.
    pub fn total(&self) -> Tally {
        self.by_reason.iter().fold(Tally::default(), |sum, tally| Tally {
            frames: sum.frames + tally.frames,
            bytes: sum.bytes + tally.bytes,
        })
    }

    pub(crate) fn add(&mut self, more: &Drops) {
        for (tally, more) in self.by_reason.iter_mut().zip(&more.by_reason) {
            tally.add(*more);
        }
    }

    pub(crate) fn count_all(&mut self, reason: DropReason, frames: Tally) {
        self.by_reason[reason.index()].add(frames);
    }

    pub(crate) fn count(&mut self, reason: DropReason, frame_len: usize) {
        self.by_reason[reason.index()] += frame_len;
    }
}

impl Default for Drops {
    fn default() -> Drops {
        Drops { by_reason: [Tally::default(); REASONS] }
    }
}

/// What came in by one kind of port, and what became of the copies that were to go out by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that came in.
    pub received: Tally,
    /// Copies that verdicts sent to this kind of port.
    pub offered: Tally,
    /// Copies that were handed to the link or the transport.
    pub sent: Tally,
    /// Copies that were dropped on the way out.
    pub egress_drops: Drops,
}

impl PortCounters {
    /// Copies that were offered, and neither sent nor dropped yet.
    pub fn pending(&self) -> Tally {
        let drops = self.egress_drops.total();
        Tally {
            frames: self.offered.frames.saturating_sub(self.sent.frames + drops.frames),
            bytes: self.offered.bytes.saturating_sub(self.sent.bytes + drops.bytes),
        }
    }

    /// The tallies but for drops, with their names.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("received-frames", self.received.frames),
            ("received-bytes", self.received.bytes),
            ("offered-frames", self.offered.frames),
            ("offered-bytes", self.offered.bytes),
            ("sent-frames", self.sent.frames),
            ("sent-bytes", self.sent.bytes),
        ]
        .into_iter()
    }

    pub(crate) fn add(&mut self, more: &PortCounters) {
        self.received.add(more.received);
        self.offered.add(more.offered);
        self.sent.add(more.sent);
        self.egress_drops.add(&more.egress_drops);
    }

    pub(crate) fn check(&self, port: &'static str) -> Result<(), Imbalance> {
        let drops = self.egress_drops.total();
        let units = [
            ("copies", self.offered.frames, self.sent.frames, drops.frames),
            ("bytes", self.offered.bytes, self.sent.bytes, drops.bytes),
        ];
        for (unit, offered, sent, dropped) in units {
            if sent + dropped > offered {
                return Err(Imbalance::Copies { port, unit, offered, sent, dropped });
            }
        }
        Ok(())
    }
}

/// What happened to the table of learned addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbCounters {
    /// Addresses learned that were not in the table.
    pub learned: u64,
    /// Addresses that were seen on another port than before.
    pub moved: u64,
    /// Addresses forgotten because they were silent for the ageing time.
    pub aged_out: u64,
    /// Frames whose source was not learned for want of room.
    pub table_full: u64,
    /// Addresses forgotten because their port was removed, which happens in a [`Bridge`](crate::Bridge) only.
    pub flushed: u64,
}

/// Everything that one rank's switch counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The guest's port.
    pub guest: PortCounters,
    /// The ports of all peers together.
    pub peers: PortCounters,
    /// The port of the tunnel, if there is one.
    pub tunnel: PortCounters,
    /// Frames sent on to one port.
    pub forwarded: u64,
    /// Frames sent on to everyone; the last ranks of the tree have nobody to send them to but their guest.
    pub flooded: u64,
    /// Frames dropped on the way in, by decision or by the link.
    pub ingress_drops: Drops,
    /// The table of learned addresses.
    pub fdb: FdbCounters,
    answered: [u64; ReplyKind::ALL.len()],
    consumed: [u64; Control::ALL.len()],
}

/// How the books fail to balance, which is a bug in the switch or in its caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// A frame came in and nothing became of it, or something became of a frame that never came in.
    #[error(
        "{received} frames came in, but {decided} were forwarded, flooded, answered, consumed or dropped"
    )]
    Frames {
        /// Frames that came in.
        received: u64,
        /// Frames of which something became.
        decided: u64,
    },
    /// More was sent and dropped at a port than was ever offered to it.
    #[error("{port}: {offered} {unit} offered, but {sent} sent and {dropped} dropped")]
    Copies {
        /// The kind of port.
        port: &'static str,
        /// What is counted: copies or bytes.
        unit: &'static str,
        /// How much was offered.
        offered: u64,
        /// How much was sent.
        sent: u64,
        /// How much was dropped.
        dropped: u64,
    },
    /// Copies are pending at a time when none should be.
    #[error(
        "{guest} copies for the guest, {peers} copies for peers and {tunnel} copies for the tunnel are still pending"
    )]
    Pending {
        /// Copies for the guest.
        guest: u64,
        /// Copies for peers.
        peers: u64,
        /// Copies for the tunnel.
        tunnel: u64,
    },
    /// Copies are pending at a bridge's port at a time when none should be.
    #[error("{copies} copies are still pending")]
    PendingAtPort {
        /// How many.
        copies: u64,
    },
    /// The books of one port of a bridge do not balance.
    #[error("VNI {vni}: {imbalance}")]
    AtPort {
        /// The port's.
        vni: Vni,
        /// How they fail to.
        imbalance: Box<Imbalance>,
    },
}

impl Counters {
    /// Frames that the switch answered itself, in this way.
    pub const fn answered(&self, kind: ReplyKind) -> u64 {
        self.answered[kind as usize]
    }

    /// Frames that were messages to the job, of this kind.
    pub const fn consumed(&self, control: Control) -> u64 {
        self.consumed[control as usize]
    }

    /// The rest of the answers are about frames that are among the dropped.
    fn answers_to_what_was_not_dropped(&self) -> u64 {
        let kinds = ReplyKind::ALL.iter().filter(|kind| kind.drop_reason().is_none());
        kinds.map(|&kind| self.answered(kind)).sum()
    }

    /// Checks that the books balance; copies may still be pending.
    pub fn check(&self) -> Result<(), Imbalance> {
        let received = self.ports().map(|(_, port)| port.received.frames).sum();
        let decided = self.forwarded
            + self.flooded
            + self.answers_to_what_was_not_dropped()
            + self.consumed.iter().sum::<u64>()
            + self.ingress_drops.total().frames;
        if received != decided {
            return Err(Imbalance::Frames { received, decided });
        }
        self.ports().try_for_each(|(name, port)| port.check(name))
    }

    /// Checks that the books balance and that no copy is pending, as when everything has been drained.
    pub fn check_settled(&self) -> Result<(), Imbalance> {
        self.check()?;
        match [&self.guest, &self.peers, &self.tunnel].map(|port| port.pending().frames) {
            [0, 0, 0] => Ok(()),
            [guest, peers, tunnel] => Err(Imbalance::Pending { guest, peers, tunnel }),
        }
    }

    /// All counters with their names, for logs and statistics. The order and the names stay the same from
    /// run to run; counters that are zero are included.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let tallies = self.ports().flat_map(|(port, counters)| {
            counters.tallies().map(move |(what, count)| (format!("{port}-{what}"), count))
        });
        let decided = [("forwarded", self.forwarded), ("flooded", self.flooded)];
        let answered =
            ReplyKind::ALL.iter().map(|&kind| (format!("answered-{}", kind.name()), self.answered(kind)));
        let consumed = Control::ALL
            .iter()
            .map(|&control| (format!("consumed-{}", control.name()), self.consumed(control)));
        let fdb = [
            ("fdb-learned", self.fdb.learned),
            ("fdb-moved", self.fdb.moved),
            ("fdb-aged-out", self.fdb.aged_out),
            ("fdb-table-full", self.fdb.table_full),
        ];
        tallies
            .chain(decided.map(|(name, count)| (name.to_owned(), count)))
            .chain(answered)
            .chain(consumed)
            .chain(fdb.map(|(name, count)| (name.to_owned(), count)))
            .chain(named_drops("ingress", &self.ingress_drops))
            .chain(named_drops("guest-egress", &self.guest.egress_drops))
            .chain(named_drops("peers-egress", &self.peers.egress_drops))
            .chain(named_drops("tunnel-egress", &self.tunnel.egress_drops))
    }

    /// The kinds of ports, with their names.
    fn ports(&self) -> impl Iterator<Item = (&'static str, &PortCounters)> {
        [("guest", &self.guest), ("peers", &self.peers), ("tunnel", &self.tunnel)].into_iter()
    }

    pub(crate) fn port(&mut self, port: PortId) -> &mut PortCounters {
        match port {
            PortId::Guest => &mut self.guest,
            PortId::Peer(_) => &mut self.peers,
            PortId::Tunnel(_) => &mut self.tunnel,
        }
    }

    pub(crate) fn count_answer(&mut self, kind: ReplyKind) {
        self.answered[kind as usize] += 1;
    }

    pub(crate) fn count_consumed(&mut self, control: Control) {
        self.consumed[control as usize] += 1;
    }
}

/// Drops by their names, which begin with the `place`.
pub(crate) fn named_drops<'a>(
    place: &'static str,
    drops: &'a Drops,
) -> impl Iterator<Item = (String, u64)> + 'a {
    DropReason::ALL.iter().map(move |&reason| (format!("{place}-drop-{reason}"), drops.by(reason).frames))
}

#[cfg(test)]
mod tests;
