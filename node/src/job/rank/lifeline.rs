//! Whether the other ranks are still there, where no launcher looks. mpirun ends a job that lost a rank; Slurm's srun
//! lets the rest of it go on, and MPI does not tell.
//!
//! Rank 0 and every other rank say at each tick that they are there. Silence is counted in ticks of one's own, so that
//! a job that was stopped as a whole, as by `scontrol suspend`, goes on afterwards.

use std::time::Duration;

use mvpnet_switch::{Rank, World};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Message, Notice, RankLife};

/// How often a rank says that it is there.
const TICK: Duration = Duration::from_secs(4);
/// So many ticks without a word are the end. Together they are less than Slurm's KillWait, within which a job that lost
/// a rank and is cancelled has to be over.
const PATIENCE: u32 = 5;

/// What one rank hears of those that it watches.
pub(super) struct Lifeline {
    ticks: Option<Interval>,
    /// Ticks since anything was heard of each, in the order of the ranks.
    silence: Vec<(Rank, u32)>,
}

impl Lifeline {
    /// Of rank `me`: rank 0 watches all, all watch rank 0. To be made within a runtime.
    pub(super) fn new(is_wanted: bool, me: Rank, world: World) -> Self {
        let watched = world.ranks().filter(|rank| *rank != me && (me.index() == 0 || rank.index() == 0));
        let ticks = is_wanted.then(|| {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks, silence: watched.map(|rank| (rank, 0)).collect() }
    }

    /// The next tick; never, where it is not wanted.
    pub(super) async fn tick(&mut self) {
        match &mut self.ticks {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Something came from that rank.
    pub(super) fn heard(&mut self, from: Rank) {
        if let Ok(place) = self.silence.binary_search_by_key(&from.index(), |(rank, _)| rank.index()) {
            self.silence[place].1 = 0;
        }
    }

    /// One more tick has passed: who has been silent for too long.
    fn lost(&mut self) -> Option<Rank> {
        self.silence.iter_mut().for_each(|(_, silence)| *silence += 1);
        self.silence.iter().find(|(_, silence)| *silence > PATIENCE).map(|(rank, _)| *rank)
    }

    fn watched(&self) -> Vec<Rank> {
        self.silence.iter().map(|(rank, _)| *rank).collect()
    }
}

impl RankLife {
    pub(super) async fn on_tick(&mut self) {
        if self.broken {
            return;
        }
        if let Some(rank) = self.lifeline.lost() {
            let silence = TICK.as_secs() * u64::from(PATIENCE);
            let why = format!("rank {rank} is lost: nothing has been heard of it for {silence} s");
            self.notice(Notice::Stopping { reason: why.clone() });
            return self.on_broken_transport(&why).await;
        }
        for rank in self.lifeline.watched() {
            self.tell(rank, Message::Alive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rank_is_lost_when_it_is_silent_while_others_are_not() {
        let world = World::new(3).unwrap();
        let [zero, one, two] = [0, 1, 2].map(|index| world.rank(index).unwrap());
        let mut lifeline = Lifeline::new(true, zero, world);
        assert_eq!(lifeline.watched(), [one, two]);
        for _ in 0..PATIENCE {
            assert_eq!(lifeline.lost(), None);
            lifeline.heard(one);
        }
        assert_eq!(lifeline.lost(), Some(two));
        assert_eq!(Lifeline::new(true, two, world).watched(), [zero]);
    }
}
