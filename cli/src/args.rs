//! The flags of a job, from words to the values of each rank, and how wrong usage is told. Which subcommand it is, the
//! command line knows.
//!
//! Reading is pure and the same on every rank of a job, so that every rank comes to the same error; what the host
//! has to say comes in through [`HostDefaults`] and [`check`].

pub mod check;
mod flags;
mod guests;
mod host;
mod options;
mod per_rank;
mod slurm;
mod tunnel;
mod usage;
pub(crate) mod values;

pub(crate) use flags::{Flags, Launch, OTHER, Up};
pub use guests::{CloudInit, GuestFlags, GuestOptions, Share, is_login_name, vcpus, waits_for_cloud_init};
pub use host::{HostDefaults, search_domains};
pub(crate) use options::one;
pub use options::{GRACE, GRACE_EMULATED, Options, RankOptions, Shared};
pub use per_rank::PerRank;
pub use slurm::{Portion, SlurmEnv, SlurmFacts, group_limit};
pub use tunnel::{Reach, Span, Tunnel, host};
pub use usage::{USAGE_EXIT_CODE, Usage, report_usage, usage_text};
pub use values::{Capture, JOB_NAME_MAX, MTU, NetKind, ValueError, memory_mib};
