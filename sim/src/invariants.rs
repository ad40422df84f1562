//! What must hold in every simulation, whatever its faults: checked during a run or after it.
//!
//! | invariant | how it is checked |
//! | --- | --- |
//! | the books of the whole world balance | [`Sim::check`](crate::Sim::check), always |
//! | no frame is invented, doubled or led astray, unless a fault explains it | [`Sim::audit`](crate::Sim::audit) before the run |
//! | a broadcast reaches all connected guests | the same |
//! | TCP streams arrive intact or fail explicitly | [`Streams`], a pair of programs |
//! | delivery resumes after a heal | [`check_delivery`], after the last change |
//!
//! ```
//! use std::time::Duration;
//! use mvpnet_sim::{LinkModel, Sim};
//! use mvpnet_sim::invariants::{Streams, check_delivery};
//!
//! let mut sim = Sim::new(3, 4).links(LinkModel::CAMPUS);
//! sim.audit();
//! let streams = Streams::new();
//! streams.send(&mut sim, 0, 3, 100_000);
//! sim.at(Duration::from_millis(5)).partition([&[0, 1], &[2, 3]]);
//! sim.at(Duration::from_secs(1)).heal();
//! sim.run_for(Duration::from_secs(20))?;
//! streams.check()?;
//! check_delivery(&mut sim, Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod audit;
mod delivery;
mod ledger;
mod streams;
mod violation;

pub(crate) use audit::Audit;
pub use delivery::check_delivery;
pub use streams::{StreamReport, Streams};
pub use violation::{Fate, FrameId, Violation};
