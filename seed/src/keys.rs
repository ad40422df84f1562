//! Keys: those of the host's user that guests accept, and those that the job makes for itself.

mod authorized;
mod job;
mod ssh_files;

pub use authorized::AuthorizedKey;
pub use job::{JobKeys, JobSecret};
pub use ssh_files::{SshHost, known_hosts, ssh_config};

pub(crate) use ssh_files::guest_known_hosts;

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub(crate) String);
