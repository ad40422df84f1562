//! Overlays: a qcow2 image of a rank's own that takes what the guest writes, on an image that is only read.
//!
//! qemu-img makes them. An overlay names its base and the base's format, so that qemu guesses nothing (qcow2
//! specification, header extension "backing file format name").

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::{ImageError, format, place, unusable};
use crate::supervise::Leftover;

/// An overlay to be made, or one that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayPlan {
    /// The overlay.
    pub file: PathBuf,
    /// What it is based on: the image, or its copy.
    pub base: PathBuf,
    /// The base's format, if the argument says it.
    pub base_format: Option<OsString>,
    /// The size that the guest is to see, if not the base's.
    pub size: Option<u64>,
    /// Whether it is kept at exit, and used again if it is there.
    pub kept: bool,
    /// What makes it.
    pub qemu_img: Option<PathBuf>,
}

impl OverlayPlan {
    /// Makes it, or sees that a kept one can be used. The lock of a kept one says that it is in use as long as it is
    /// held.
    pub(super) fn make(&self) -> Result<Option<File>, ImageError> {
        if self.kept {
            return self.make_kept().map(Some);
        }
        let dir = self.file.parent().unwrap_or(Path::new("."));
        place::make(dir).map_err(|error| self.failed(error.to_string()))?;
        self.create(&self.file, self.size)?;
        Ok(None)
    }

    /// What goes at exit.
    pub(super) fn leftovers(&self) -> Vec<Leftover> {
        if self.kept {
            return self.leftovers_of_kept();
        }
        let mut leftovers = place::leftovers(self.file.parent().unwrap_or(Path::new(".")));
        leftovers.push(Leftover::File(self.file.clone()));
        leftovers
    }

    /// Makes an empty overlay at `file`.
    pub(super) fn create(&self, file: &Path, size: Option<u64>) -> Result<(), ImageError> {
        let format = self.format_of(&self.base)?;
        let base = self.base.canonicalize().map_err(|error| unusable(&self.base, "cannot be read", error))?;
        // Made first, so that qemu-img keeps the mode: what guests write is nobody else's business.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)
            .and_then(|made| made.set_permissions(Permissions::from_mode(0o600)))
            .map_err(|error| self.failed(error.to_string()))?;
        let size = size.map(|size| size.to_string());
        let words: Vec<&OsStr> =
            [OsStr::new("create"), "-q".as_ref(), "-f".as_ref(), "qcow2".as_ref(), "-F".as_ref()]
                .into_iter()
                .chain([format.as_os_str(), "-b".as_ref(), base.as_os_str(), file.as_os_str()])
                .chain(size.iter().map(OsStr::new))
                .collect();
        self.qemu_img(&words)
    }

    /// Gives a kept overlay the size that it should have; it is never cut.
    pub(super) fn grow(&self) -> Result<(), ImageError> {
        let (Some(wanted), Some(qemu_img)) = (self.size, &self.qemu_img) else { return Ok(()) };
        let has = virtual_size(qemu_img, &self.file, OsStr::new("qcow2")).map_err(|why| self.failed(why))?;
        match has {
            has if has == wanted => Ok(()),
            has if has > wanted => Err(ImageError::WouldShrink { image: self.file.clone(), has, wanted }),
            _ => {
                let size = wanted.to_string();
                let words = ["resize", "-q", "-f", "qcow2"].map(OsStr::new).into_iter();
                self.qemu_img(&words.chain([self.file.as_os_str(), size.as_ref()]).collect::<Vec<_>>())
            }
        }
    }

    /// The base's format: what the argument says, else what `file`, the base or its source, begins with.
    pub(super) fn format_of(&self, file: &Path) -> Result<OsString, ImageError> {
        match &self.base_format {
            Some(format) => Ok(format.clone()),
            None => format::probe(file)
                .map(|probed| probed.format.into())
                .map_err(|error| unusable(file, "cannot be read", error)),
        }
    }

    fn qemu_img(&self, words: &[&OsStr]) -> Result<(), ImageError> {
        let Some(program) = &self.qemu_img else {
            return Err(ImageError::NoQemuImg { image: self.base.clone() });
        };
        run(program, words).map(drop).map_err(|why| self.failed(why))
    }

    pub(super) fn failed(&self, why: String) -> ImageError {
        ImageError::Overlay { image: self.base.clone(), overlay: self.file.clone(), why }
    }
}

/// The size that a guest sees.
pub(super) fn virtual_size(qemu_img: &Path, image: &Path, format: &OsStr) -> Result<u64, String> {
    let words = ["info", "--force-share", "--output=json", "-f"].map(OsStr::new);
    let image = std::path::absolute(image).map_err(|error| error.to_string())?;
    let said = run(qemu_img, &words.into_iter().chain([format, image.as_os_str()]).collect::<Vec<_>>())?;
    let said: serde_json::Value = serde_json::from_slice(&said).map_err(|error| error.to_string())?;
    said["virtual-size"].as_u64().ok_or_else(|| "qemu-img info says no virtual-size".into())
}

/// Whether a qemu has a file open to write to it: qemu then holds a lock on its byte 101 (qemu, docs/system/images,
/// "Disk image file locking"; byte 100 + the permission to write). Where files cannot be locked nobody can tell.
pub(super) fn is_written(image: &Path) -> bool {
    let Ok(file) = File::open(image) else { return false };
    let mut lock = libc::flock {
        // A lock for reading conflicts with one for writing only, and qemu's are for reading.
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 101,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short
}

/// Runs qemu-img; what it prints, or what it complains of.
fn run(program: &Path, words: &[&OsStr]) -> Result<Vec<u8>, String> {
    let output = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(if said.is_empty() { format!("qemu-img: {}", output.status) } else { said })
}
