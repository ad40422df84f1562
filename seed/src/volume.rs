//! A guest's NoCloud volume: its files, and the image of the file system that holds them.

use mvpnet_switch::Rank;

use crate::{Cluster, JobKeys, UserFiles};

/// The files of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Path below the root, contents.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Why there is no volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SeedError(pub(crate) String);

/// What the guest of `rank` is told: what follows from the job, with the user's own files laid over it.
pub fn volume(
    _cluster: &Cluster,
    _keys: &JobKeys,
    _rank: Rank,
    _own: &UserFiles,
) -> Result<Volume, SeedError> {
    unimplemented!()
}

impl Volume {
    /// What shows on the guest's console when cloud-init has finished.
    pub const READY_TEXT: &str = "mvpnet: cloud-init has finished";

    /// The volume as a disk image, its file system labelled CIDATA.
    pub fn image(&self) -> Result<Vec<u8>, SeedError> {
        unimplemented!()
    }
}
