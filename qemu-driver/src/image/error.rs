//! Why an image cannot be used, in words for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::digest::Digest;

/// Why an image cannot be used. Each is one message for the user.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// `c` without a run directory.
    #[error("image {}: mvpctl=c copies to the run directory, but there is none (-r)", image.display())]
    NoRunDir {
        /// The image.
        image: PathBuf,
    },
    /// The path names no file, a directory for instance.
    #[error("image {}: {what}", image.display())]
    NotAFile {
        /// The image.
        image: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The file cannot be used as it has to be.
    #[error("image {}: {what}: {error}", image.display())]
    Unusable {
        /// The image.
        image: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// The guest would write to a file that its user may not write.
    #[error(
        "image {}: is not writable; have writes go to an overlay (mvpctl=o) or a snapshot (mvpctl=s), open it \
         read-only (mvpctl=p), or copy it (mvpctl=cjrd with -r)",
        image.display()
    )]
    NotWritable {
        /// The image.
        image: PathBuf,
    },
    /// The copy would replace the image itself.
    #[error("image {}: would be copied onto itself; put the job or the rank into the copy's name (mvpctl=cjrd)", image.display())]
    OntoItself {
        /// The image.
        image: PathBuf,
    },
    /// The directory for copies or overlays is too full.
    #[error("directory {}: {} needs {}, and {} are free", dir.display(), image.display(), Size(*needed), Size(*free))]
    NoRoom {
        /// The directory.
        dir: PathBuf,
        /// An image whose copies or overlays are made there.
        image: PathBuf,
        /// Bytes that they take.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Copying failed.
    #[error("copying image {} to {}: {error}", image.display(), to.display())]
    Copy {
        /// The image.
        image: PathBuf,
        /// The copy.
        to: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// Ranks share a copy where files cannot be locked.
    #[error(
        "run directory {}: its file system cannot lock files ({error}), so ranks cannot share a copy: \
         put the rank into its name (mvpctl=cr…)",
        dir.display()
    )]
    NoLocks {
        /// The run directory.
        dir: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// The job ended meanwhile.
    #[error("copying image {}: cancelled", image.display())]
    Cancelled {
        /// The image.
        image: PathBuf,
    },
    /// An overlay that would have nothing in it.
    #[error("image {}: an overlay (mvpctl=o) is for what the guest writes, and with {with} nothing gets there: leave one of them out", image.display())]
    NothingToOverlay {
        /// The image.
        image: PathBuf,
        /// What is in the way.
        with: &'static str,
    },
    /// A kept overlay whose base is to be removed.
    #[error("image {}: mvpctl=D deletes what the overlay that is kept (--persist) is based on: leave one of them out", image.display())]
    BaseGoes {
        /// The image.
        image: PathBuf,
    },
    /// A size for what is not ours to size.
    #[error("image {}: --disk-size is for overlays; ask for one with mvpctl=o, or grow the image with qemu-img resize", image.display())]
    NotSizable {
        /// The image.
        image: PathBuf,
    },
    /// A size below what there is.
    #[error("image {}: has {} already, and --disk-size {} would cut off its end", image.display(), Size(*has), Size(*wanted))]
    WouldShrink {
        /// The image or its kept overlay.
        image: PathBuf,
        /// Its size in bytes.
        has: u64,
        /// What it should have.
        wanted: u64,
    },
    /// qemu-img is not there.
    #[error(
        "image {}: its overlay is made by qemu-img, which cannot be found on PATH: install it (Debian: qemu-utils, \
         Fedora: qemu-img), or have writes go to a snapshot of qemu's (mvpctl=s)",
        image.display()
    )]
    NoQemuImg {
        /// The image.
        image: PathBuf,
    },
    /// An image of unknown origin that names other files of the user's.
    #[error(
        "image {}: says that it is based on {}, which a guest would come to read; if that is meant, say what the \
         image is: -i {},format=qcow2",
        image.display(), other.display(), image.display()
    )]
    RefersTo {
        /// The image.
        image: PathBuf,
        /// What it names.
        other: PathBuf,
    },
    /// The image changes under the guests.
    #[error("image {}: a guest writes to it at this moment; an overlay needs an image that stays as it is", image.display())]
    BaseInUse {
        /// The image.
        image: PathBuf,
    },
    /// Making an overlay failed.
    #[error("image {}: no overlay {}: {why}", image.display(), overlay.display())]
    Overlay {
        /// The image.
        image: PathBuf,
        /// The overlay.
        overlay: PathBuf,
        /// Why it failed.
        why: String,
    },
    /// A kept overlay that does not fit.
    #[error("kept disk {}: {why}", overlay.display())]
    Kept {
        /// The overlay.
        overlay: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// Not what it should be.
    #[error(
        "image {}: its {} should be {}, and is {found}: it is another image, or was written to or damaged",
        image.display(), wanted.algorithm, wanted.hex
    )]
    Digest {
        /// The image.
        image: PathBuf,
        /// What it should be.
        wanted: Digest,
        /// What it is.
        found: String,
    },
    /// Written to while its digest was made.
    #[error("image {}: changes while it is read", image.display())]
    Changing {
        /// The image.
        image: PathBuf,
    },
}

/// A number of bytes for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        match self.0 {
            1 => return f.write_str("1 byte"),
            bytes @ ..1024 => return write!(f, "{bytes} bytes"),
            _ => {}
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = UNITS[0];
        for larger in &UNITS[1..] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = larger;
        }
        write!(f, "{value:.1} {unit}")
    }
}
