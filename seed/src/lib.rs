//! What a guest is told by cloud-init: a NoCloud volume per rank, made of what the job says of its guests and of
//! what the user's own configuration says besides.
//!
//! Pure: no clock, no randomness and no files but those that [`UserFiles::read`] reads. Where a volume is put and which guest
//! gets it is said elsewhere.

mod cluster;
mod keys;
mod user_files;
mod volume;

pub use cluster::{Cluster, MpiUser, Share};
pub use keys::{AuthorizedKey, JobKeys, JobSecret, KeyError, SshHost, known_hosts, ssh_config};
pub use user_files::{UserFiles, UserFilesError};
pub use volume::{SeedError, Volume, volume};
