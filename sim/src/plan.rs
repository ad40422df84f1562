//! What is to happen at a time that is known in advance.

use std::time::Duration;

use mvpnet_switch::{Instant, RankList};
use mvpnet_transports::link::{Change, ChangeError, LinkModel, Pairs};

use crate::Sim;

/// Plans for one time, begun by [`Sim::at`]. Each call adds to the plan, in the order of the calls.
pub struct At<'a> {
    pub(crate) sim: &'a mut Sim,
    pub(crate) at: Instant,
}

/// Plans end in a panic if the world cannot have the change: a test that partitions ranks that it does not have is
/// wrong. Who gets changes from outside uses [`At::change`].
impl At<'_> {
    /// Parts groups of ranks: no frame passes from one to another.
    pub fn partition<const N: usize>(self, groups: [&[u32]; N]) -> Self {
        let groups = groups.into_iter().map(|group| RankList::of(group.iter().copied())).collect();
        self.planned(Change::Partition(groups))
    }

    /// Ends the partition.
    pub fn heal(self) -> Self {
        self.planned(Change::Heal)
    }

    /// Makes the links between two ranks so, both ways.
    pub fn link(self, one: u32, other: u32, model: LinkModel) -> Self {
        self.planned(Change::Link(Pairs::BothWays(RankList::of([one]), RankList::of([other])), model))
    }

    /// Makes the link from one rank to another so.
    pub fn link_one_way(self, from: u32, to: u32, model: LinkModel) -> Self {
        self.planned(Change::Link(Pairs::OneWay(RankList::of([from]), RankList::of([to])), model))
    }

    /// Makes all links so.
    pub fn links(self, model: LinkModel) -> Self {
        self.planned(Change::Link(Pairs::All, model))
    }

    /// Makes the last hop to a guest so, which all that is sent to it shares.
    pub fn access(self, rank: u32, model: LinkModel) -> Self {
        self.planned(Change::Access(RankList::of([rank]), model))
    }

    /// Crashes a guest.
    pub fn crash(self, rank: u32) -> Self {
        self.planned(Change::Crash(RankList::of([rank])))
    }

    /// Starts a guest anew.
    pub fn restart(self, rank: u32) -> Self {
        self.planned(Change::Restart(RankList::of([rank])))
    }

    /// Lets a guest stand still.
    pub fn pause(self, rank: u32) -> Self {
        self.planned(Change::Pause(RankList::of([rank])))
    }

    /// Lets it go on.
    pub fn resume(self, rank: u32) -> Self {
        self.planned(Change::Resume(RankList::of([rank])))
    }

    /// Plans what words say, as in a scenario file: `partition 0,1 | 2,3`.
    pub fn change(self, change: Change) -> Result<Self, ChangeError> {
        self.sim.plan(self.at, change)?;
        Ok(self)
    }

    /// Plans something of the test's own.
    pub fn call(self, call: impl FnOnce(&mut Sim) + 'static) -> Self {
        self.sim.plan_call(self.at, Box::new(call));
        self
    }

    /// Goes on with what is to happen so much later.
    pub fn then_after(self, delay: Duration) -> Self {
        At { at: self.at + delay, ..self }
    }

    fn planned(self, change: Change) -> Self {
        self.change(change).unwrap_or_else(|error| panic!("{error}"))
    }
}
