//! Random faults, each of which begins and ends.
//!
//! A [`Fault`] is drawn without knowledge of the world that it will happen to, and means something in any: so a
//! scenario can shrink to fewer ranks without drawing its faults anew.

use std::time::Duration;

use mvpnet_switch::RankList;
use mvpnet_transports::link::{Change, LinkModel, Pairs};
use proptest::prelude::*;
use proptest::strategy::{BoxedStrategy, Union};

use super::{Links, STEP};

/// How many ranks a partition chooses one by one; ranks after these are on the larger side.
const CHOSEN: u32 = 16;

/// Which kinds of faults there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    partitions: bool,
    crashes: bool,
    pauses: bool,
    links: bool,
}

/// Something that goes wrong for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When it begins, in steps of [`STEP`].
    pub begins: u32,
    /// How many steps later it ends.
    pub lasts: u32,
}

/// What goes wrong. Ranks are meant modulo the size of the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// The ranks whose bits are set, from the lowest, cannot reach the others.
    Partition(u16),
    /// A guest crashes and is started anew.
    Crash(u32),
    /// A guest stands still and goes on.
    Pause(u32),
    /// The links between a rank and one so many ranks after it, both ways, are like this for a time.
    Link(u32, u32, LinkModel),
}

impl Faults {
    /// All kinds.
    pub const ALL: Faults = Faults { partitions: true, crashes: true, pauses: true, links: true };
    /// Partitions.
    pub const PARTITIONS: Faults = Faults { partitions: true, ..Faults::NONE };
    /// Crashes.
    pub const CRASHES: Faults = Faults { crashes: true, ..Faults::NONE };
    /// Pauses.
    pub const PAUSES: Faults = Faults { pauses: true, ..Faults::NONE };
    /// Changes of links.
    pub const LINKS: Faults = Faults { links: true, ..Faults::NONE };
    const NONE: Faults = Faults { partitions: false, crashes: false, pauses: false, links: false };

    /// These and those.
    pub const fn and(self, other: Faults) -> Faults {
        Faults {
            partitions: self.partitions | other.partitions,
            crashes: self.crashes | other.crashes,
            pauses: self.pauses | other.pauses,
            links: self.links | other.links,
        }
    }

    /// The strategy that draws one that begins and ends within so many steps.
    pub fn strategy(self, links: Links, steps: u32) -> BoxedStrategy<Fault> {
        let rank = 0..u32::from(u16::MAX);
        // What shrinks does so towards the first: a partition is the fault that is easiest to think about.
        let mut kinds: Vec<BoxedStrategy<FaultKind>> = Vec::new();
        if self.partitions {
            kinds.push((1..=u16::MAX).prop_map(FaultKind::Partition).boxed());
        }
        if self.crashes {
            kinds.push(rank.clone().prop_map(FaultKind::Crash).boxed());
        }
        if self.pauses {
            kinds.push(rank.clone().prop_map(FaultKind::Pause).boxed());
        }
        if self.links {
            let link = (rank.clone(), rank, links.strategy());
            kinds.push(link.prop_map(|(one, other, model)| FaultKind::Link(one, other, model)).boxed());
        }
        (Union::new(kinds), 1..=(steps / 2).max(1), 1..=(steps / 2).max(1))
            .prop_map(|(kind, begins, lasts)| Fault { kind, begins, lasts })
            .boxed()
    }
}

impl Fault {
    /// How it begins and how it ends, in a world of so many ranks with such links.
    fn changes(&self, ranks: u32, links: LinkModel) -> [Change; 2] {
        let one = |rank: u32| RankList::of([rank % ranks]);
        match self.kind {
            FaultKind::Partition(mask) => [partition(mask, ranks), Change::Heal],
            FaultKind::Crash(rank) => [Change::Crash(one(rank)), Change::Restart(one(rank))],
            FaultKind::Pause(rank) => [Change::Pause(one(rank)), Change::Resume(one(rank))],
            FaultKind::Link(rank, distance, model) => {
                let rank = rank % ranks;
                let other = (rank + 1 + distance % (ranks - 1)) % ranks;
                let (one, other) = (rank.min(other), rank.max(other));
                [model, links].map(|model| {
                    Change::Link(Pairs::BothWays(RankList::of([one]), RankList::of([other])), model)
                })
            }
        }
    }
}

/// Two groups that are never empty, the one with rank 0 first.
fn partition(mask: u16, ranks: u32) -> Change {
    let chosen = |rank: &u32| *rank < CHOSEN && mask >> rank & 1 == 1;
    let (mut one, mut other): (Vec<u32>, Vec<u32>) = (0..ranks).partition(chosen);
    if one.is_empty() || other.is_empty() {
        (one, other) = (vec![0], (1..ranks).collect());
    }
    if other.first() == Some(&0) {
        std::mem::swap(&mut one, &mut other);
    }
    Change::Partition(vec![RankList::of(one), RankList::of(other)])
}

/// What happens when, in order. The world has at least two ranks.
pub(super) fn schedule(faults: &[Fault], ranks: u32, links: LinkModel) -> Vec<(Duration, Change)> {
    let mut changes = Vec::new();
    for fault in faults {
        let [begin, end] = fault.changes(ranks, links);
        changes.push((STEP * fault.begins, begin));
        changes.push((STEP * (fault.begins + fault.lasts), end));
    }
    // What was drawn first happens first at the same time.
    changes.sort_by_key(|(at, _)| *at);
    changes
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::World;

    use super::*;

    proptest! {
        #[test]
        fn every_fault_means_something_in_every_world(
            ranks in 2..40_u32,
            faults in prop::collection::vec(Faults::ALL.strategy(Links::ANY, 50), 0..5),
        ) {
            let schedule = schedule(&faults, ranks, LinkModel::CAMPUS);
            prop_assert_eq!(schedule.len(), 2 * faults.len());
            for (at, change) in schedule {
                prop_assert!(!at.is_zero() && at <= 50 * STEP);
                prop_assert_eq!(change.check(World::new(ranks).unwrap()), Ok(()));
                prop_assert_eq!(change.to_string().parse(), Ok(change));
            }
        }
    }

    #[test]
    fn a_partition_has_two_sides() {
        let words = |mask, ranks| partition(mask, ranks).to_string();
        assert_eq!(words(0b101, 4), "partition 0,2 | 1,3");
        assert_eq!(words(0b1010, 4), "partition 0,2 | 1,3");
        assert_eq!(words(0b1111, 4), "partition 0 | 1,2,3");
        assert_eq!(words(0b10000, 3), "partition 0 | 1,2");
    }
}
