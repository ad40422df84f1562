//! The life of a job: what its control planes say to each other, and what they do.

mod about;
mod application;
mod boot;
mod changes;
mod children;
mod coordinator;
mod guest;
pub(crate) mod messages;
mod numbers;
mod plan;
mod rank;
mod signals;

pub use application::ApplicationPlan;
pub use children::Children;
pub use messages::{CounterList, Failure, Phase, Problem};
pub use numbers::Numbers;
pub use plan::{GuestPlan, HostSeed, HostTap, MakeSeed};
pub use rank::{Briefed, Chief, Notice, RankEnd, RankSetup, live};
pub use signals::{EndWish, Watch, listen};
