//! The image: a FAT file system, which every guest that boots by UEFI reads anyhow. The same files make the same bytes.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use super::{SeedError, Volume};

const SECTOR: usize = 512;
const CLUSTER: usize = 4 * SECTOR;
/// What the files may be in all: the image is made in memory, for every guest of a host.
const MAX_CONTENTS: usize = 256 << 20;

/// A volume with these files.
pub(super) fn of(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, SeedError> {
    refuse_what_fat_cannot_hold(files)?;
    let mut image = Cursor::new(vec![0; size_for(files)]);
    let io = |error: std::io::Error| SeedError(format!("the volume cannot be made: {error}"));
    let mut label = [b' '; 11];
    label[..Volume::LABEL.len()].copy_from_slice(Volume::LABEL.as_bytes());
    let format = FormatVolumeOptions::new()
        .bytes_per_cluster(CLUSTER as u32)
        .volume_label(label)
        .volume_id(0x6d76_706e);
    fatfs::format_volume(&mut image, format).map_err(io)?;
    {
        let options = FsOptions::new().time_provider(&FIXED_TIME).update_accessed_date(false);
        let volume = FileSystem::new(&mut image, options).map_err(io)?;
        for (path, contents) in files {
            let mut directory = volume.root_dir();
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                if names.peek().is_some() {
                    directory = directory.create_dir(name).map_err(io)?;
                } else {
                    let mut file = directory.create_file(name).map_err(io)?;
                    file.write_all(contents).map_err(io)?;
                    file.flush().map_err(io)?;
                }
            }
        }
        volume.unmount().map_err(io)?;
    }
    Ok(image.into_inner())
}

/// Room for the clusters of all files and directories, with some to spare.
fn size_for(files: &[(String, Vec<u8>)]) -> usize {
    let clusters: usize = files.iter().map(|(_, contents)| contents.len().div_ceil(CLUSTER)).sum();
    // Each name takes an entry of 32 bytes per 13 characters, and a directory of its own perhaps.
    let names: usize =
        files.iter().map(|(path, _)| path.split('/').count() + path.len().div_ceil(CLUSTER / 64)).sum();
    let data = (clusters + names + 16) * CLUSTER;
    // Two tables of at most four bytes a cluster; and no file system of less than 1 MiB, which some tools dislike.
    (data + data / CLUSTER * 8 + 128 * SECTOR).max(1 << 20).next_multiple_of(CLUSTER)
}

/// FAT forgets the case of names when it compares them, and has no word for some characters.
fn refuse_what_fat_cannot_hold(files: &[(String, Vec<u8>)]) -> Result<(), SeedError> {
    let size: usize = files.iter().map(|(_, contents)| contents.len()).sum();
    if size > MAX_CONTENTS {
        return Err(SeedError(format!(
            "the files of the seed are {} MiB, at most {} MiB fit",
            size >> 20,
            MAX_CONTENTS >> 20
        )));
    }
    let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
    for (path, _) in files {
        for name in path.split('/') {
            let bad = name.chars().find(|c| "\"*:<>?\\|".contains(*c) || c.is_control());
            if let Some(bad) = bad {
                return Err(SeedError(format!("{path}: a name on the seed cannot have {bad:?} in it")));
            }
            if name.is_empty() || name.ends_with(['.', ' ']) || name.starts_with(' ') {
                return Err(SeedError(format!(
                    "{path}: a name on the seed cannot begin or end with a blank or end with a dot"
                )));
            }
            if name.encode_utf16().count() > 255 {
                return Err(SeedError(format!("{path}: a name on the seed has at most 255 characters")));
            }
        }
        let ends = path.match_indices('/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            let part = &path[..end];
            if let Some(other) = spellings.insert(part.to_lowercase(), part)
                && (other != part || end == path.len())
            {
                return Err(SeedError(format!("{other} and {path} are the same name on the seed")));
            }
        }
    }
    Ok(())
}

/// The first day that FAT knows.
#[derive(Debug)]
struct FixedTime;

static FIXED_TIME: FixedTime = FixedTime;

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}
