//! The life of a job: what its control planes say to each other, and what they do.

mod application;
mod boot;
mod changes;
mod children;
mod coordinator;
mod guest;
mod messages;
mod plan;
mod rank;
mod signals;

pub use application::ApplicationPlan;
pub use children::Children;
pub use messages::{CounterList, Failure, Phase, Problem};
pub use plan::GuestPlan;
pub use rank::{Chief, Notice, RankEnd, RankSetup, live};
pub use signals::{EndWish, Watch, listen};
