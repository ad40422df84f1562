//! Disk images: what a `-i` argument means for one rank, and making it so.
//!
//! [`ImageSpec::parse`] reads the argument, [`plan`] says what it means for a rank (pure: only names),
//! [`ImagePlan::check`] looks whether that can work, and [`ImagePlan::carry_out`] copies what has to be
//! copied. Removal at exit is the keeper's, which is given [`ImagePlan::leftovers`] before anything is copied.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mvpnet_switch::Rank;
use nix::unistd::{AccessFlags, access};

use crate::spec::Drive;
use crate::supervise::Leftover;

mod copy;
mod shared;
mod spec;

#[cfg(test)]
mod tests;

pub(crate) use shared::release;
pub use shared::{CopyHold, Progress};
pub use spec::{Control, ImageSpec, ImageSpecError};

/// What a plan depends on besides the argument.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// The run directory (`-r`).
    pub run_dir: Option<&'a Path>,
    /// The job's name (`-j`).
    pub job: Option<&'a str>,
    /// The rank.
    pub rank: Rank,
}

/// What one image argument means for one rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// The disk to give to qemu.
    pub drive: Drive,
    /// The image named by the argument; `None` if the argument goes to qemu untouched.
    pub source: Option<PathBuf>,
    /// The copy to be made first.
    pub copy: Option<CopyPlan>,
    /// Whether the source is removed at exit.
    pub delete_source: bool,
    /// Whether qemu will write to the file.
    pub writes: bool,
}

/// A copy in the run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// The copy.
    pub to: PathBuf,
    /// Its lock: held exclusively while copying, shared while a rank uses the copy.
    pub lock: PathBuf,
    /// Whether the last rank that uses the copy removes it. An existing copy that nobody uses is then a
    /// left-over to be replaced; otherwise it was kept on purpose and is used as it is.
    pub delete_at_exit: bool,
    /// Whether the copy is this rank's alone.
    pub own: bool,
}

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
        "image {}: is not writable; open it read-only (mvpctl=p) or as a snapshot (mvpctl=s), or copy it \
         (mvpctl=cjrd with -r)",
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
    /// The run directory is too full.
    #[error("run directory {}: copying {} needs {}, and {} are free", dir.display(), image.display(), Size(*needed), Size(*free))]
    NoRoom {
        /// The run directory.
        dir: PathBuf,
        /// The image.
        image: PathBuf,
        /// Bytes that copying takes.
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
}

/// Says what `spec` means for a rank. Touches no file.
pub fn plan(spec: &ImageSpec, context: PlanContext<'_>) -> Result<ImagePlan, ImageError> {
    let (path, properties, control) = match spec {
        ImageSpec::Verbatim(value) => {
            return Ok(ImagePlan {
                drive: Drive::Verbatim(value.clone()),
                source: None,
                copy: None,
                delete_source: false,
                writes: false,
            });
        }
        ImageSpec::File { path, properties, control } => (path, properties, *control),
    };
    let control = control.unwrap_or(Control::default_with(context.run_dir.is_some()));
    let source = tagged(path, control.job_in_source, control.rank_in_source, context);
    let copy = match (control.copy, context.run_dir) {
        (false, _) => None,
        (true, None) => return Err(ImageError::NoRunDir { image: source }),
        (true, Some(run_dir)) => Some(copy_plan(&source, path, run_dir, control, context)?),
    };
    let file = copy.as_ref().map_or(&source, |copy| &copy.to).clone();
    let drive =
        Drive::Image { file: plainly_a_path(file), properties: drive_properties(properties, control) };
    let reads_only = |name: &str| match &drive {
        Drive::Image { properties, .. } => properties.iter().any(|(n, value)| n == name && value == "on"),
        Drive::Verbatim(_) => false,
    };
    let writes = !(reads_only("read-only") || reads_only("readonly") || reads_only("snapshot"));
    Ok(ImagePlan { drive, source: Some(source), copy, delete_source: control.delete_source, writes })
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
            None if self.writes => {
                may(AccessFlags::W_OK).map_err(|_| ImageError::NotWritable { image: source.clone() })
            }
            None => Ok(()),
            Some(copy) => {
                let same = std::fs::metadata(&copy.to)
                    .is_ok_and(|to| (to.dev(), to.ino()) == (metadata.dev(), metadata.ino()));
                if same {
                    return Err(ImageError::OntoItself { image: source.clone() });
                }
                access(copy.dir(), AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
                    unusable(source, "cannot be copied to the run directory", errno.into())
                })?;
                check_room(copy.dir(), source, self.room_needed()?)
            }
        }
    }

    /// How many bytes of the run directory copying takes: what the image occupies, holes not counted;
    /// nothing if the copy is there already.
    pub fn room_needed(&self) -> Result<u64, ImageError> {
        match (&self.source, &self.copy) {
            (Some(source), Some(copy)) if !copy.to.exists() => {
                let metadata = self.metadata(source)?;
                Ok(if metadata.is_file() {
                    metadata.len().min(metadata.blocks() * 512)
                } else {
                    copy::length(source).map_err(|error| unusable(source, "cannot be read", error))?
                })
            }
            _ => Ok(0),
        }
    }

    /// What is to be removed at exit, to be told to the keeper before [`ImagePlan::carry_out`].
    pub fn leftovers(&self) -> Vec<Leftover> {
        let copy = self.copy.iter().map(|copy| Leftover::Copy {
            path: copy.to.clone(),
            lock: copy.lock.clone(),
            delete: copy.delete_at_exit,
        });
        let source = self.source.iter().filter(|_| self.delete_source).cloned().map(Leftover::File);
        copy.chain(source).collect()
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

impl CopyPlan {
    /// The run directory.
    pub fn dir(&self) -> &Path {
        self.to.parent().unwrap_or(Path::new("."))
    }
}

/// Fails if `dir` has less than `needed` bytes free. Callers that know of several copies into one directory,
/// those of all ranks of a host for instance, give their sum.
pub fn check_room(dir: &Path, image: &Path, needed: u64) -> Result<(), ImageError> {
    let stat = nix::sys::statvfs::statvfs(dir)
        .map_err(|errno| unusable(image, "the run directory cannot be used", errno.into()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    if free < needed {
        return Err(ImageError::NoRoom { dir: dir.to_owned(), image: image.to_owned(), needed, free });
    }
    Ok(())
}

fn copy_plan(
    source: &Path,
    path: &Path,
    run_dir: &Path,
    control: Control,
    context: PlanContext<'_>,
) -> Result<CopyPlan, ImageError> {
    let Some(name) = path.file_name() else {
        return Err(ImageError::NotAFile { image: source.to_owned(), what: "is a directory" });
    };
    let to = tagged(&run_dir.join(name), control.job_in_copy, control.rank_in_copy, context);
    let mut lock = to.clone().into_os_string();
    lock.push(".lock");
    Ok(CopyPlan { to, lock: lock.into(), delete_at_exit: control.delete_copy, own: control.rank_in_copy })
}

/// `dir/stem.JOB.RANK.extension`
fn tagged(path: &Path, with_job: bool, with_rank: bool, context: PlanContext<'_>) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    if let (true, Some(job)) = (with_job, context.job) {
        name.push(format!(".{job}"));
    }
    if with_rank {
        name.push(format!(".{}", context.rank));
    }
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    if name.is_empty() { path.to_owned() } else { path.with_file_name(name) }
}

/// qemu takes what stands before a colon in the first part of a path for a protocol, unless it begins with a
/// slash or a dot.
fn plainly_a_path(path: PathBuf) -> PathBuf {
    let first = path.components().next();
    let colon = first.is_some_and(|first| first.as_os_str().as_encoded_bytes().contains(&b':'));
    if colon { Path::new(".").join(path) } else { path }
}

fn drive_properties(given: &[(OsString, OsString)], control: Control) -> Vec<(OsString, OsString)> {
    let mut properties = given.to_vec();
    let mut default = |name: &str, value: &str| {
        if !properties.iter().any(|(given, _)| given == name) {
            properties.push((name.into(), value.into()));
        }
    };
    default("media", "disk");
    default("if", "virtio");
    if control.read_only {
        default("read-only", "on");
    }
    if control.snapshot {
        default("snapshot", "on");
    }
    properties
}

fn unusable(image: &Path, what: &'static str, error: io::Error) -> ImageError {
    ImageError::Unusable { image: image.to_owned(), what, error }
}

/// A number of bytes for people.
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
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
