//! Property tests: random scenarios, and what is left of one that fails when everything needless is taken away.
//!
//! [`Scenarios`] says which scenarios there may be: how many ranks, which links, which faults, which traffic. A
//! [`Check`] draws some and runs a test with each. When the test fails, it looks for the simplest scenario with which
//! it still does (fewer ranks, fewer faults, earlier and rounder times, simpler links), and prints that as
//! the TOML that `mvpnet sim` replays.
//!
//! ```
//! use std::time::Duration;
//! use mvpnet_sim::property::{Check, Links, Scenarios, network};
//!
//! let scenarios = Scenarios::of(2..=4).links(Links::LOSSLESS).faults(0..=3);
//! Check::new(20).run(&scenarios.strategy(), |scenario| {
//!     let mut sim = network(scenario)?;
//!     sim.audit();
//!     sim.client(0, async |host| {
//!         // By then faults are over: they have the first half of a scenario's twenty seconds.
//!         host.sleep(Duration::from_secs(10)).await;
//!         host.ping(host.address_of(1), Duration::from_secs(1)).await?;
//!         Ok(())
//!     });
//!     sim.host(1, async |_| Ok(()));
//!     Ok(sim.run_for(scenario.duration)?)
//! });
//! ```
//!
//! The same seed draws the same scenarios; see [`Check`]. Strategies are those of [`mod@proptest`], so that a test may draw
//! anything of its own beside a scenario.

mod check;
mod faults;
mod links;
mod traffic;

use std::ops::RangeInclusive;
use std::time::Duration;

use mvpnet_switch::Instant;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

pub use check::{Check, Counterexample, SEED_VARIABLE};
pub use faults::{Fault, FaultKind, Faults};
pub use links::Links;
pub use proptest;
pub use traffic::TrafficKind;

use crate::scenario::Scenario;
use crate::{ChangeError, Sim};

/// What times of random scenarios are multiples of.
pub const STEP: Duration = Duration::from_millis(100);

/// Which random scenarios there may be.
///
/// Faults begin and end in the first half of a scenario, so that a test can ask at the end whether all is well again.
#[derive(Clone, Debug)]
pub struct Scenarios {
    ranks: RangeInclusive<u32>,
    duration: Duration,
    links: Links,
    faults: RangeInclusive<usize>,
    kinds: Faults,
    traffic: RangeInclusive<usize>,
    traffic_kinds: Vec<TrafficKind>,
}

impl Scenarios {
    /// Those with so many ranks: at least two, since one has nobody to talk to. Else they last twenty seconds, and have
    /// any links, no faults and no traffic.
    pub fn of(ranks: RangeInclusive<u32>) -> Scenarios {
        Scenarios {
            ranks: (*ranks.start()).max(2)..=(*ranks.end()).max(2),
            duration: Duration::from_secs(20),
            links: Links::ANY,
            faults: 0..=0,
            kinds: Faults::ALL,
            traffic: 0..=0,
            traffic_kinds: TrafficKind::ALL.to_vec(),
        }
    }

    /// Those of this length.
    pub fn duration(self, duration: Duration) -> Scenarios {
        Scenarios { duration, ..self }
    }

    /// Those with links like these at the beginning, and whenever a fault changes one.
    pub fn links(self, links: Links) -> Scenarios {
        Scenarios { links, ..self }
    }

    /// Those with so many faults, each of which begins and ends.
    pub fn faults(self, faults: RangeInclusive<usize>) -> Scenarios {
        Scenarios { faults, ..self }
    }

    /// Those with faults of these kinds only.
    pub fn fault_kinds(self, kinds: Faults) -> Scenarios {
        Scenarios { kinds, ..self }
    }

    /// Those with so many lines of traffic.
    pub fn traffic(self, traffic: RangeInclusive<usize>) -> Scenarios {
        Scenarios { traffic, ..self }
    }

    /// Those with traffic of these kinds only.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn traffic_kinds(self, kinds: &[TrafficKind]) -> Scenarios {
        assert!(!kinds.is_empty(), "traffic is of some kind");
        Scenarios { traffic_kinds: kinds.to_vec(), ..self }
    }

    /// The strategy that draws them.
    pub fn strategy(&self) -> BoxedStrategy<Scenario> {
        let half = u32::try_from(self.duration.as_millis() / STEP.as_millis() / 2).unwrap_or(u32::MAX).max(4);
        let faults = prop::collection::vec(self.kinds.strategy(self.links, half), self.faults.clone());
        let kinds = self.traffic_kinds.clone();
        let traffic = prop::collection::vec(traffic::strategy(kinds, half), self.traffic.clone());
        let duration = self.duration;
        // No seed is simpler than another.
        let seed = any::<u16>().no_shrink();
        (seed, self.ranks.clone(), self.links.strategy(), faults, traffic)
            .prop_map(move |(seed, ranks, links, faults, traffic)| {
                let mut scenario = Scenario::new(ranks, duration);
                scenario.seed = Some(seed.into());
                scenario.links = links;
                scenario.changes = faults::schedule(&faults, ranks, links);
                scenario.traffic = traffic.iter().map(|line| line.of(ranks)).collect();
                scenario
            })
            .boxed()
    }
}

/// A simulation with a scenario's seed, ranks, links and changes, but without its traffic: for a test that has
/// guests of its own.
///
/// # Errors
///
/// If the scenario has a change that its world cannot have. One that was drawn has none.
pub fn network(scenario: &Scenario) -> Result<Sim, ChangeError> {
    let seed = scenario.seed.unwrap_or_default();
    let mut sim = Sim::new(seed, scenario.ranks).mtu(scenario.mtu).links(scenario.links);
    for (at, change) in &scenario.changes {
        sim.plan(Instant::ZERO + *at, change.clone())?;
    }
    Ok(sim)
}
