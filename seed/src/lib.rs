//! What a guest is told by cloud-init: a NoCloud volume per rank, made of what the job says of its guests and of
//! what the user's own configuration says besides.
//!
//! Pure: no clock, no randomness and no files but those that [`UserFiles::read`] reads. Where a volume is put and which guest
//! gets it is said elsewhere.
//!
//! cloud-init makes the accounts and runs a script early on every boot; the script is on the volume with all that
//! is large, and does the rest.

mod cluster;
mod documents;
mod guest;
mod keys;
mod merge;
mod names;
#[cfg(test)]
mod testing;
mod user_files;
mod volume;
mod yaml;

pub use cluster::{Cluster, MpiUser, Share};
pub use keys::{AuthorizedKey, JobKeys, JobSecret, KeyError, SshHost, known_hosts, ssh_config};
pub use user_files::{UserFiles, UserFilesError};
pub use volume::{SeedError, Volume, volume};
