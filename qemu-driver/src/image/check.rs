//! Whether what is planned for an image can work, found out before anything is made.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::{CopyPlan, ImageError, ImagePlan, OverlayPlan, copy, format, overlay, unusable};

/// A new overlay counts for so much: it is small, and what the guest's first boot writes should fit.
const OVERLAY_ROOM: u64 = 64 << 20;

/// What a file that is to be made takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomNeed {
    /// The file; ranks that name the same share it.
    pub file: PathBuf,
    /// Bytes.
    pub bytes: u64,
}

impl RoomNeed {
    /// Where it is made.
    pub fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }
}

impl ImagePlan {
    /// Looks whether the image is there, may be used, and has room to be copied.
    pub fn check(&self) -> Result<(), ImageError> {
        let Some(source) = &self.source else { return Ok(()) };
        let metadata = self.metadata(source)?;
        if !(metadata.is_file() || metadata.file_type().is_block_device()) {
            let what = if metadata.is_dir() { "is a directory" } else { "is not a file" };
            return Err(ImageError::NotAFile { image: source.clone(), what });
        }
        let may = |flags| access(source, flags);
        may(AccessFlags::R_OK).map_err(|errno| unusable(source, "cannot be read", errno.into()))?;
        match &self.copy {
            Some(copy) => check_copy(source, copy, &metadata)?,
            None if self.writes && self.overlay.is_none() => {
                may(AccessFlags::W_OK).map_err(|_| ImageError::NotWritable { image: source.clone() })?;
            }
            None => {}
        }
        if let Some(overlay) = &self.overlay {
            check_overlay(source, overlay)?;
        }
        self.needs()?.iter().try_for_each(|need| check_room(need.dir(), source, need.bytes))
    }

    /// What is going to be made: a copy takes what the image occupies, holes not counted; what is there already takes
    /// nothing.
    pub fn needs(&self) -> Result<Vec<RoomNeed>, ImageError> {
        let Some(source) = &self.source else { return Ok(Vec::new()) };
        let mut needs = Vec::new();
        if let Some(copy) = self.copy.as_ref().filter(|copy| !copy.to.exists()) {
            let metadata = self.metadata(source)?;
            let bytes = if metadata.is_file() {
                metadata.len().min(metadata.blocks() * 512)
            } else {
                copy::length(source).map_err(|error| unusable(source, "cannot be read", error))?
            };
            needs.push(RoomNeed { file: copy.to.clone(), bytes });
        }
        if let Some(overlay) = self.overlay.as_ref().filter(|overlay| !overlay.file.exists()) {
            needs.push(RoomNeed { file: overlay.file.clone(), bytes: OVERLAY_ROOM });
        }
        Ok(needs)
    }

    fn metadata(&self, source: &Path) -> Result<std::fs::Metadata, ImageError> {
        std::fs::metadata(source).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                ImageError::NotAFile { image: source.to_owned(), what: "there is no such file" }
            }
            _ => unusable(source, "cannot be read", error),
        })
    }
}

fn check_copy(source: &Path, copy: &CopyPlan, metadata: &std::fs::Metadata) -> Result<(), ImageError> {
    let same =
        std::fs::metadata(&copy.to).is_ok_and(|to| (to.dev(), to.ino()) == (metadata.dev(), metadata.ino()));
    if same {
        return Err(ImageError::OntoItself { image: source.to_owned() });
    }
    access(copy.dir(), AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| unusable(source, "cannot be copied to the run directory", errno.into()))
}

fn check_overlay(source: &Path, overlay: &OverlayPlan) -> Result<(), ImageError> {
    let Some(qemu_img) = &overlay.qemu_img else {
        return Err(ImageError::NoQemuImg { image: source.to_owned() });
    };
    if overlay.base_format.is_none() {
        let probed = format::probe(source).map_err(|error| unusable(source, "cannot be read", error))?;
        if let Some(other) = probed.refers_to {
            return Err(ImageError::RefersTo { image: source.to_owned(), other });
        }
    }
    if overlay::is_written(source) {
        return Err(ImageError::BaseInUse { image: source.to_owned() });
    }
    if let Some(wanted) = overlay.size {
        let format = overlay.format_of(source)?;
        let has = overlay::virtual_size(qemu_img, source, &format).map_err(|why| overlay.failed(why))?;
        if wanted < has {
            return Err(ImageError::WouldShrink { image: source.to_owned(), has, wanted });
        }
    }
    overlay.check_kept()
}

/// Fails if the file system of `dir`, which need not be there yet, has less than `needed` bytes free. Callers that know
/// of several files in one file system, those of all ranks of a host for instance, give their sum.
pub fn check_room(dir: &Path, image: &Path, needed: u64) -> Result<(), ImageError> {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let stat = nix::sys::statvfs::statvfs(there)
        .map_err(|errno| unusable(image, "the run directory cannot be used", errno.into()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    if free < needed {
        return Err(ImageError::NoRoom { dir: dir.to_owned(), image: image.to_owned(), needed, free });
    }
    Ok(())
}
