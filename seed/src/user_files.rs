//! The user's own NoCloud directory (`-c DIR`), checked before anything boots.

use std::path::{Path, PathBuf};

/// What is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFiles {
    /// Its `user-data`, whatever kind that is.
    pub user_data: Option<Vec<u8>>,
    /// Its `meta-data`.
    pub meta_data: Option<String>,
    /// Its `network-config`, which takes the place of ours.
    pub network_config: Option<String>,
    /// Its `vendor-data`.
    pub vendor_data: Option<Vec<u8>>,
    /// All other files, by their path below the directory.
    pub others: Vec<(PathBuf, Vec<u8>)>,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct UserFilesError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with the line where there is one.
    pub what: String,
}

impl UserFiles {
    /// Reads and checks a directory.
    pub fn read(_directory: &Path) -> Result<Self, UserFilesError> {
        unimplemented!()
    }
}
