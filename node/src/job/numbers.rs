//! How the ranks of a job are numbered for people and guests.

use mvpnet_switch::{Rank, RankError, World};

/// The numbers of a job's ranks in the guests' network, which may span several jobs: two servers run four guests
/// each, those of the second have the numbers 4 to 7. Ranks call each other by their numbers within the job;
/// addresses, host names, logs and messages have those in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    network: World,
    first: u32,
}

impl Numbers {
    /// Of a job that has its network for itself.
    pub fn whole(network: World) -> Self {
        Self { network, first: 0 }
    }

    /// Of `job`, whose ranks are `first` and those that follow in `network`.
    ///
    /// # Errors
    /// The network has no such ranks.
    pub fn part(job: World, network: World, first: u32) -> Result<Self, RankError> {
        network.rank(first.saturating_add(job.size() - 1))?;
        Ok(Self { network, first })
    }

    /// The network's ranks.
    pub fn network(self) -> World {
        self.network
    }

    /// The number of rank 0 of the job.
    pub fn first(self) -> u32 {
        self.first
    }

    /// The number of a rank of the job.
    pub fn of(self, rank: Rank) -> Rank {
        self.network.rank(self.shown(rank.index())).expect("a part lies within its network")
    }

    /// The number of a rank of the job that is known by its index.
    pub fn shown(self, index: u32) -> u32 {
        self.first + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_within_its_network() {
        let [two, eight] = [2, 8].map(|size| World::new(size).unwrap());
        let numbers = Numbers::part(two, eight, 6).unwrap();
        assert_eq!(two.ranks().map(|rank| numbers.of(rank).index()).collect::<Vec<_>>(), [6, 7]);
        assert!(Numbers::part(two, eight, 7).is_err());
        assert!(Numbers::part(two, eight, u32::MAX).is_err());
        assert_eq!(Numbers::whole(eight).of(eight.rank(3).unwrap()).index(), 3);
    }
}
