//! The image: ISO 9660 with Rock Ridge and Joliet, what clouds give their guests too. The same files make the same bytes.

use hadris_fs::{Content, NoClock, Node, Permissions, SetAttr, Tree};
use hadris_iso::{IsoId, IsoOptions, Relocation};

use super::{SeedError, Volume};
use crate::guest;

/// What the files may be in all: the image is made in memory, for every guest of a host.
const MAX_CONTENTS: usize = 256 << 20;

/// A volume with these files.
pub(super) fn of(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, SeedError> {
    let size: usize = files.iter().map(|(_, contents)| contents.len()).sum();
    if size > MAX_CONTENTS {
        let (size, limit) = (size >> 20, MAX_CONTENTS >> 20);
        return Err(SeedError(format!("the files of the seed are {size} MiB, at most {limit} MiB fit")));
    }
    let mut tree = Tree::new();
    for (path, contents) in files {
        let error = |why: &dyn std::fmt::Display| SeedError(format!("{path} cannot be on the seed: {why}"));
        let mode = SetAttr::new().with_permissions(Permissions::new(mode_of(path)));
        let node = Node::file(Content::bytes(contents.clone())).with_attrs(mode);
        if tree.get(path).is_some() {
            return Err(error(&"there are two of this name"));
        }
        tree.insert(path, node).map_err(|why| error(&why))?;
    }
    let options = IsoOptions::new()
        .with_id(IsoId::Volume, Volume::LABEL)
        .with_id(IsoId::Application, "MVPNET")
        .with_rock_ridge()
        .with_joliet()
        .with_relocation(Relocation::RrMoved)
        .with_time(NoClock::TIME);
    let mut image = Vec::with_capacity(size + (1 << 20));
    hadris_iso::sync::write(&mut image, &tree, &options)
        .map_err(|error| SeedError(format!("the volume cannot be made: {error}")))?;
    Ok(image)
}

/// What has keys in it is root's, should somebody in the guest mount the volume for all.
fn mode_of(path: &str) -> u32 {
    let ours = path.split_once('/').is_some_and(|(folder, _)| folder == guest::FOLDER);
    if ours || path == "user-data" { 0o400 } else { 0o555 }
}
