//! Watches every frame from the guest that sends it to those that get it.
//!
//! The world tells what happens at its edges (a guest sends, a guest is given, a copy is lost) and which faults it has
//! let happen on the way. Everything else follows from these: the audit does not ask switches or links what
//! they think they have done.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use mvpnet_switch::{DropReason, Instant, MacAddr, MacOwner, Rank, Verdict, World as Ranks};
use mvpnet_transports::link::{Arrival, LinkModel, Settings};

use super::ledger::{Excess, Ledger};
use super::{Fate, FrameId, Violation};
use crate::failure::FailureKind;
use crate::node::{GuestState, Node};
use crate::world::World;
use crate::{Failure, Sim};

/// Length of an Ethernet header without tags (IEEE 802.3 §3.1): what an error shows of a frame.
const ETHERNET_HEADER_LEN: usize = 14;

/// What is known of all frames since the beginning, and the first thing that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    ledger: Ledger,
    /// Copies of broadcasts that must arrive, in the order in which they were sent.
    due: BTreeMap<(u32, Rc<[u8]>), VecDeque<Due>>,
    violation: Option<Violation>,
}

/// A copy of a broadcast that must arrive.
#[derive(Clone, Copy, Debug)]
struct Due {
    frame: FrameId,
    sent_at: Instant,
    /// When, once it is on its way.
    arrives: Option<Instant>,
}

impl Due {
    fn missed(self, to: u32, fate: Fate) -> Violation {
        Violation::BroadcastMissed { frame: self.frame, sent_at: self.sent_at, to, fate }
    }
}

impl Sim {
    /// Watches every frame from now on, so that [`check`](Sim::check), and with it every `run`, fails if a guest is
    /// given what no guest has sent, or more often than a fault explains, or if a broadcast does not come to a guest
    /// to which nothing is in its way. Remembers all frames, for tests that send no millions of them.
    ///
    /// # Panics
    ///
    /// If frames may be on their way already, which would look like inventions.
    pub fn audit(&mut self) {
        assert!(!self.has_started(), "an audit begins before anything runs");
        self.world.audit.get_or_insert_default();
    }

    pub(crate) fn check_audit(&self) -> Result<(), Failure> {
        let Some(audit) = &self.world.audit else { return Ok(()) };
        let found = audit.violation.clone().or_else(|| audit.overdue(&self.world));
        found.map_or(Ok(()), |violation| Err(self.failure(FailureKind::Invariant(violation))))
    }
}

impl World {
    /// A guest has sent a frame, and its switch has decided this.
    pub(crate) fn audit_sent(&mut self, from: Rank, frame: &Rc<[u8]>, verdict: &Verdict) {
        let Some(audit) = &mut self.audit else { return };
        let id = audit.ledger.sent(from.index(), frame);
        if !matches!(verdict, Verdict::Flood(_)) || !destination(frame).is_some_and(MacAddr::is_broadcast) {
            return;
        }
        for node in self.nodes.iter().filter(|node| is_connected(&self.settings, from, node, frame.len())) {
            let due = Due { frame: id, sent_at: self.now, arrives: None };
            audit.due.entry((node.rank.index(), frame.clone())).or_default().push_back(due);
        }
    }

    /// A switch answers its own guest.
    pub(crate) fn audit_answer(&mut self, to: Rank, frame: &Rc<[u8]>) {
        if let Some(audit) = &mut self.audit {
            audit.ledger.made(to.index(), frame);
        }
    }

    /// A copy for a guest sets out, as these bytes. Only a link's or a rule's word explains that it is another than
    /// what was sent.
    pub(crate) fn audit_on_its_way(
        &mut self,
        to: Rank,
        sent: &Rc<[u8]>,
        arriving: &Rc<[u8]>,
        arrival: &Arrival,
        is_second: bool,
    ) {
        let (now, ranks) = (self.now, self.ranks);
        let Some(audit) = &mut self.audit else { return };
        let receiver = to.index();
        if is_second {
            audit.ledger.made(receiver, sent);
        }
        if arrival.corrupt_bit.is_some() {
            // What was sent ends here, and what it has become begins.
            audit.ends(now, ranks, to, sent);
            audit.ledger.made(receiver, arriving);
            audit.take_due(receiver, sent);
        } else if let Some(due) = audit.due.get_mut(&(receiver, sent.clone()))
            && let Some(due) = due.iter_mut().find(|due| due.arrives.is_none())
        {
            due.arrives = Some(arrival.at);
        }
    }

    /// A copy for a guest was given to it, or lost for this reason.
    pub(crate) fn audit_ended(&mut self, to: Rank, frame: &Rc<[u8]>, lost: Option<DropReason>) {
        let (now, ranks) = (self.now, self.ranks);
        let Some(audit) = &mut self.audit else { return };
        audit.ends(now, ranks, to, frame);
        let Some(due) = audit.take_due(to.index(), frame) else { return };
        if let Some(reason) = lost
            && !explains(reason)
            && loses_nothing(self.settings.access(to), frame.len())
        {
            audit.found(due.missed(to.index(), Fate::Dropped(reason)));
        }
    }
}

impl Audit {
    fn found(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn ends(&mut self, at: Instant, ranks: Ranks, to: Rank, frame: &Rc<[u8]>) {
        let receiver = to.index();
        match self.ledger.ended(receiver, frame) {
            Ok(()) => {}
            Err(Excess::Invented) => {
                self.found(Violation::Invented { at, to: receiver, len: frame.len(), begin: begin(frame) });
            }
            Err(Excess::Doubled(frame, times)) => {
                self.found(Violation::Doubled { at, to: receiver, frame, times });
            }
        }
        if let Some(mac) = destination(frame)
            && let MacOwner::Rank(meant) = ranks.owner_of(mac)
            && meant != to
            && let Some(frame) = self.ledger.sent_to(receiver, frame)
        {
            self.found(Violation::Astray { at, to: receiver, frame, meant: meant.index() });
        }
    }

    /// One broadcast less that must come to this guest.
    fn take_due(&mut self, to: u32, frame: &Rc<[u8]>) -> Option<Due> {
        let key = (to, frame.clone());
        let queue = self.due.get_mut(&key)?;
        let due = queue.pop_front();
        if queue.is_empty() {
            self.due.remove(&key);
        }
        due
    }

    /// A broadcast that should have come by now.
    fn overdue(&self, world: &World) -> Option<Violation> {
        self.due.iter().find_map(|((to, _), queue)| {
            let to = world.ranks.rank(*to).ok()?;
            let due = queue.front()?;
            let Some(arrives) = due.arrives else { return Some(due.missed(to.index(), Fate::NotSent)) };
            // It may wait for the access link, or in front of a guest that stands still.
            let waits = world.node(to).state == GuestState::Paused || !world.settings.has_no_access_links();
            (arrives < world.now && !waits).then(|| due.missed(to.index(), Fate::Vanished))
        })
    }
}

fn destination(frame: &[u8]) -> Option<MacAddr> {
    Some(MacAddr::new(frame.get(..6)?.try_into().ok()?))
}

/// Whether nothing is in the way of a broadcast from one guest to another.
fn is_connected(settings: &Settings, from: Rank, node: &Node, len: usize) -> bool {
    from != node.rank
        && matches!(node.state, GuestState::Up | GuestState::Paused)
        && !settings.parts(from, node.rank)
        && loses_nothing(settings.model(from, node.rank), len)
        && loses_nothing(settings.access(node.rank), len)
}

/// Whether a link loses and changes no frames of this length, but when its queue overflows.
fn loses_nothing(model: &LinkModel, len: usize) -> bool {
    let quiet =
        LinkModel { loss: LinkModel::IDEAL.loss, burst: None, corrupt: LinkModel::IDEAL.corrupt, ..*model };
    quiet == *model && model.mtu.is_none_or(|mtu| len <= mtu as usize + ETHERNET_HEADER_LEN)
}

/// Whether a frame may be lost for this reason to a guest that was connected when it was sent: the guest crashed
/// since, or was slow, or somebody wanted it so.
fn explains(reason: DropReason) -> bool {
    use DropReason::{GuestGone, LinkQueueFull, QueueFull, Rule};
    matches!(reason, GuestGone | LinkQueueFull | QueueFull | Rule)
}

fn begin(frame: &[u8]) -> String {
    let shown: Vec<String> =
        frame.iter().take(ETHERNET_HEADER_LEN).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ") + if frame.len() > ETHERNET_HEADER_LEN { " …" } else { "" }
}

#[cfg(test)]
mod tests;
