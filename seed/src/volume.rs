//! A guest's NoCloud volume: its files. The image that holds them is made in [`image`].

mod image;

use std::fmt::Write;

use mvpnet_switch::Rank;
use sha2::{Digest, Sha256};

use crate::{Cluster, JobKeys, UserFiles, documents, guest, merge};

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
pub fn volume(cluster: &Cluster, keys: &JobKeys, rank: Rank, own: &UserFiles) -> Result<Volume, SeedError> {
    cluster.check(rank)?;
    let ours = documents::cloud_config(cluster, keys, rank)?;
    let early = documents::early_config()?;
    let own_data = own.parsed_user_data().map_err(|error| SeedError(error.to_string()))?;
    let network = match &own.network_config {
        Some(own) => own.clone(),
        None => documents::network_config(cluster, rank)?,
    };
    let boundary = boundary(keys, rank);
    let user_data = merge::user_data(own_data.as_ref(), &ours, &early, &boundary);
    let mut files =
        vec![("user-data".to_owned(), user_data), ("network-config".to_owned(), network.into_bytes())];
    files.extend(own.vendor_data.iter().map(|data| ("vendor-data".to_owned(), data.clone())));
    for (name, contents) in guest::files(cluster, keys, rank) {
        files.push((format!("{}/{name}", guest::FOLDER), contents.into_bytes()));
    }
    for (path, contents) in &own.others {
        let path = path.to_str().ok_or_else(|| SeedError(format!("{} is not UTF-8", path.display())))?;
        files.push((path.to_owned(), contents.clone()));
    }
    let instance = instance(keys, rank, &files, own);
    let meta_data = documents::meta_data(own.meta_data.as_deref(), &instance, rank)?;
    files.insert(0, ("meta-data".to_owned(), meta_data.into_bytes()));
    Ok(Volume { files })
}

/// Another one for every content of the volume, and the same on every boot with it: cloud-init configures a guest again
/// when, and only when, something has changed.
fn instance(keys: &JobKeys, rank: Rank, files: &[(String, Vec<u8>)], own: &UserFiles) -> String {
    let mut hash = Sha256::new();
    hash.update(keys.fingerprint(rank));
    for (path, contents) in files {
        for field in [path.as_bytes(), contents] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
    }
    hash.update(own.meta_data.as_deref().unwrap_or_default());
    format!("mvpnet-{}-{}", rank.host_name(), hex(&hash.finalize()[..8]))
}

/// A line that no part has: nobody can guess it.
fn boundary(keys: &JobKeys, rank: Rank) -> String {
    format!("==mvpnet-{}==", hex(&keys.fingerprint(rank)[..12]))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").expect("a String takes everything");
        text
    })
}

impl Volume {
    /// What shows on the guest's console when cloud-init has finished.
    pub const READY_TEXT: &str = "mvpnet: cloud-init has finished";

    /// The same behind whatever message the user has chosen.
    pub(crate) const FINAL_MESSAGE: &str = "\nmvpnet: cloud-init has finished";

    /// The label of its file system.
    pub const LABEL: &str = "CIDATA";

    /// The volume as a disk image, its file system labelled CIDATA.
    pub fn image(&self) -> Result<Vec<u8>, SeedError> {
        image::of(&self.files)
    }
}

#[cfg(test)]
mod tests;
