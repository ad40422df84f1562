//! All links of a world as they are set, and the state of those that end at one rank.

use std::collections::BTreeMap;

use mvpnet_switch::{DropReason, Instant, Rank, RankList};

use super::{Chance, Change, Link, LinkModel, Pairs, Passage};

/// How the links of a world are set: one model for all, exceptions, and a partition.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The model of all links, then the exceptions, of which the last that fits counts.
    default: LinkModel,
    exceptions: Vec<(Pairs, LinkModel)>,
    access: Vec<(RankList, LinkModel)>,
    groups: Vec<RankList>,
    /// Counts the changes, so that what was found out from the settings can be kept until the next.
    version: u64,
}

impl Settings {
    /// All links are like this.
    pub fn new(default: LinkModel) -> Settings {
        Settings { default, ..Settings::default() }
    }

    /// Changes links and partitions. What happens to guests is not the links' business and changes nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Link(Pairs::All, model) => {
                self.default = *model;
                self.exceptions.clear();
            }
            Change::Link(pairs, model) => {
                self.exceptions.retain(|(old, _)| old != pairs);
                self.exceptions.push((pairs.clone(), *model));
            }
            Change::Access(ranks, model) => {
                self.access.retain(|(old, _)| old != ranks);
                self.access.push((ranks.clone(), *model));
            }
            Change::Partition(groups) => self.groups.clone_from(groups),
            Change::Heal => self.groups.clear(),
            Change::Crash(_) | Change::Restart(_) | Change::Pause(_) | Change::Resume(_) => return,
        }
        self.version += 1;
    }

    /// The model of one direction.
    pub fn model(&self, from: Rank, to: Rank) -> &LinkModel {
        let exception = self.exceptions.iter().rev().find(|(pairs, _)| pairs.contains(from, to));
        exception.map_or(&self.default, |(_, model)| model)
    }

    /// The model of the access link to one rank's guest.
    pub fn access(&self, rank: Rank) -> &LinkModel {
        const IDEAL: &LinkModel = &LinkModel::IDEAL;
        let found = self.access.iter().rev().find(|(ranks, _)| ranks.contains(rank.index()));
        found.map_or(IDEAL, |(_, model)| model)
    }

    /// Whether all access links are ideal.
    pub fn has_no_access_links(&self) -> bool {
        self.access.is_empty()
    }

    /// Whether a partition is between two ranks.
    pub fn parts(&self, from: Rank, to: Rank) -> bool {
        let group = |rank: Rank| self.groups.iter().position(|group| group.contains(rank.index()));
        match (group(from), group(to)) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        }
    }

    /// Whether frames pass as if there were no links at all.
    pub fn is_ideal(&self) -> bool {
        self.default.is_ideal()
            && self.exceptions.is_empty()
            && self.groups.is_empty()
            && self.access.is_empty()
    }
}

/// The links that end at one rank, one from each of the others, and the access link that they share.
///
/// The receiving end applies them, to what its switch sends to its guest, and asks where a frame comes from, not
/// which ranks passed it on. So a flood meets the link between the rank that it began at and each of those that
/// it is for, whatever its way there, and a partition parts the two.
#[derive(Clone, Debug)]
pub struct Network {
    me: Rank,
    seed: u64,
    links: BTreeMap<Rank, Incoming>,
    access: Link,
}

#[derive(Clone, Debug)]
struct Incoming {
    link: Link,
    version: u64,
    model: LinkModel,
    parted: bool,
}

impl Network {
    /// The links that end at rank `me`. Their chances follow from the seed and their two ends.
    pub fn new(me: Rank, seed: u64) -> Network {
        let access = Link::new_with(Chance::for_part(seed, [me.index(), me.index()]));
        Network { me, seed, links: BTreeMap::new(), access }
    }

    /// Sends a frame of `len` bytes that rank `from`'s guest had sent here at `now`, which must not be earlier
    /// than at the last call.
    pub fn pass(
        &mut self,
        settings: &Settings,
        now: Instant,
        from: Rank,
        len: usize,
    ) -> Result<Passage, DropReason> {
        let (me, seed) = (self.me, self.seed);
        let incoming = self.links.entry(from).or_insert_with(|| Incoming {
            link: Link::new_with(Chance::for_part(seed, [from.index(), me.index()])),
            version: settings.version,
            model: *settings.model(from, me),
            parted: settings.parts(from, me),
        });
        if incoming.version != settings.version {
            incoming.version = settings.version;
            incoming.model = *settings.model(from, me);
            incoming.parted = settings.parts(from, me);
        }
        if incoming.parted {
            return Err(DropReason::Partition);
        }
        incoming.link.pass(&incoming.model, now, len)
    }

    /// Sends a frame that has come by one of the links over the last hop, the access link to the guest.
    pub fn access(&mut self, settings: &Settings, now: Instant, len: usize) -> Result<Passage, DropReason> {
        self.access.pass(settings.access(self.me), now, len)
    }

    /// Whether no frame has ever passed. Then ideal links need no state.
    pub fn is_untouched(&self) -> bool {
        self.links.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mvpnet_switch::World;

    use super::*;

    fn change(settings: &mut Settings, words: &str) {
        settings.apply(&words.parse().unwrap());
    }

    #[test]
    fn the_last_setting_that_fits_counts() {
        let world = World::new(4).unwrap();
        let [zero, one, two] = [0, 1, 2].map(|index| world.rank(index).unwrap());
        let mut settings = Settings::new(LinkModel::CAMPUS);
        change(&mut settings, "link 0 latency=1ms");
        change(&mut settings, "link 0->1 latency=2ms");
        assert_eq!(settings.model(zero, one).latency, Duration::from_millis(2));
        assert_eq!(settings.model(one, zero).latency, Duration::from_millis(1));
        assert_eq!(settings.model(one, two), &LinkModel::CAMPUS);
        change(&mut settings, "link all ideal");
        assert!(settings.is_ideal());
    }

    #[test]
    fn a_partition_parts_groups_until_it_heals() {
        let world = World::new(4).unwrap();
        let [zero, one, two, three] = [0, 1, 2, 3].map(|index| world.rank(index).unwrap());
        let mut settings = Settings::default();
        let mut network = Network::new(zero, 1);
        let mut passes = |settings: &Settings, from| network.pass(settings, Instant::ZERO, from, 100).is_ok();
        change(&mut settings, "partition 0,1 | 2");
        assert!(passes(&settings, one) && !passes(&settings, two));
        assert!(passes(&settings, three), "a rank in no group reaches everyone");
        change(&mut settings, "heal");
        assert!(passes(&settings, two));
    }
}
