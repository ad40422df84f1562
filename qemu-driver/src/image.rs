//! Disk images: what a `-i` argument means for one rank, and making it so.
//!
//! [`ImageSpec::parse`] reads the argument, [`plan`] says what it means for a rank (pure: only names),
//! [`ImagePlan::check`] looks whether that can work, and [`ImagePlan::carry_out`] copies what has to be
//! copied and makes overlays. Removal at exit is the keeper's, which is given [`ImagePlan::leftovers`] before anything
//! is made. [`digest`] compares an image with what it should be.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use mvpnet_switch::Rank;

use crate::spec::Drive;
use crate::supervise::Leftover;

mod check;
mod copy;
pub mod digest;
mod error;
mod format;
mod kept;
mod overlay;
mod place;
mod shared;
mod spec;

#[cfg(test)]
mod tests;

pub use check::{RoomNeed, check_room};
pub use error::{ImageError, Size};
pub use overlay::OverlayPlan;
pub use place::{abandoned_overlays, overlay_dir};
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
    /// Which of the rank's disks it is, from 0 on.
    pub disk: usize,
    /// What there is to know of overlays.
    pub overlays: Overlays<'a>,
}

/// How overlays are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overlays<'a> {
    /// Whether an image whose argument says nothing of it gets one.
    pub by_default: bool,
    /// Where those are that are removed at exit: [`overlay_dir`].
    pub dir: Option<&'a Path>,
    /// Where they are kept for the next job instead (`--persist`).
    pub keep_in: Option<&'a Path>,
    /// The size that the guest is to see, in bytes (`--disk-size`).
    pub size: Option<u64>,
    /// qemu-img, if it is there.
    pub qemu_img: Option<&'a Path>,
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
    /// The overlay to be made on the image or its copy.
    pub overlay: Option<OverlayPlan>,
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

/// Says what `spec` means for a rank. Touches no file.
pub fn plan(spec: &ImageSpec, context: PlanContext<'_>) -> Result<ImagePlan, ImageError> {
    let (path, properties, control) = match spec {
        ImageSpec::Verbatim(value) => {
            return Ok(ImagePlan {
                drive: Drive::Verbatim(value.clone()),
                source: None,
                copy: None,
                overlay: None,
                delete_source: false,
                writes: false,
            });
        }
        ImageSpec::File { path, properties, control, .. } => (path, properties, *control),
    };
    let by_default = context.overlays.by_default && properties_without_writes(properties).is_none();
    let control = control.unwrap_or(Control::default_with(context.run_dir.is_some(), by_default));
    let source = tagged(path, control.job_in_source, control.rank_in_source, context);
    let copy = match (control.copy, context.run_dir) {
        (false, _) => None,
        (true, None) => return Err(ImageError::NoRunDir { image: source }),
        (true, Some(run_dir)) => Some(copy_plan(&source, path, run_dir, control, context)?),
    };
    let image = copy.as_ref().map_or(&source, |copy| &copy.to).clone();
    let mut properties = drive_properties(properties, control);
    let overlay = match control.overlay {
        true => Some(overlay_plan(&source, &image, path, &mut properties, control, context)?),
        false if context.overlays.size.is_some() => return Err(ImageError::NotSizable { image: source }),
        false => None,
    };
    let file = plainly_a_path(overlay.as_ref().map_or(image, |overlay| overlay.file.clone()));
    let writes = properties_without_writes(&properties).is_none();
    let drive = Drive::Image { file, properties };
    Ok(ImagePlan { drive, source: Some(source), copy, overlay, delete_source: control.delete_source, writes })
}

impl ImagePlan {
    /// The file that the guest writes to, if it writes to one of ours; a name to compare with those of others.
    pub fn written(&self) -> Option<PathBuf> {
        let Drive::Image { file, properties } = &self.drive else { return None };
        // Who turns qemu's locks off means it: some file systems are made for several writers.
        let unlocked = ["file.locking", "locking"];
        let shares =
            properties.iter().any(|(name, value)| unlocked.iter().any(|lock| name == lock) && value == "off");
        (self.writes && !shares).then(|| file.canonicalize().unwrap_or_else(|_| file.clone()))
    }

    /// What is to be removed at exit, to be told to the keeper before [`ImagePlan::carry_out`].
    pub fn leftovers(&self) -> Vec<Leftover> {
        let copy = self.copy.iter().map(|copy| Leftover::Copy {
            path: copy.to.clone(),
            lock: copy.lock.clone(),
            delete: copy.delete_at_exit,
        });
        let source = self.source.iter().filter(|_| self.delete_source).cloned().map(Leftover::File);
        // What is removed last comes first: overlays go before the copies that they are based on.
        copy.chain(source).chain(self.overlay.iter().flat_map(OverlayPlan::leftovers)).collect()
    }
}

impl CopyPlan {
    /// The run directory.
    pub fn dir(&self) -> &Path {
        self.to.parent().unwrap_or(Path::new("."))
    }
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

fn overlay_plan(
    source: &Path,
    image: &Path,
    path: &Path,
    properties: &mut Vec<(OsString, OsString)>,
    control: Control,
    context: PlanContext<'_>,
) -> Result<OverlayPlan, ImageError> {
    let image_of_user = || source.to_owned();
    if let Some(with) = properties_without_writes(properties) {
        return Err(ImageError::NothingToOverlay { image: image_of_user(), with });
    }
    let Overlays { dir, keep_in, size, qemu_img, .. } = context.overlays;
    if keep_in.is_some() && control.delete_source {
        return Err(ImageError::BaseGoes { image: image_of_user() });
    }
    let is_format = |name: &OsStr| name == "format" || name == "driver";
    let base_format = properties.iter().find(|(name, _)| is_format(name)).map(|(_, value)| value.clone());
    properties.retain(|(name, _)| !is_format(name));
    properties.push(("format".into(), "qcow2".into()));
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    if let (true, Some(job)) = (keep_in.is_some(), context.job) {
        name.push(format!(".{job}"));
    }
    name.push(format!(".{}", context.rank));
    if context.disk > 0 {
        name.push(format!(".disk{}", context.disk));
    }
    name.push(".qcow2");
    let file = keep_in.or(dir).unwrap_or(Path::new(".")).join(name);
    // The overlay names its base, and must find it wherever it is opened from itself.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(OverlayPlan {
        file: absolute(&file),
        base: absolute(image),
        base_format,
        size,
        kept: keep_in.is_some(),
        qemu_img: qemu_img.map(Path::to_owned),
    })
}

/// The property that keeps the guest from writing to the file, if there is one.
fn properties_without_writes(properties: &[(OsString, OsString)]) -> Option<&'static str> {
    const THEY: [(&str, &str, &str); 6] = [
        ("read-only", "on", "read-only=on"),
        ("readonly", "on", "readonly=on"),
        ("snapshot", "on", "snapshot=on"),
        ("media", "cdrom", "media=cdrom"),
        ("if", "floppy", "if=floppy"),
        ("if", "pflash", "if=pflash"),
    ];
    let given = |name: &str, value: &str| properties.iter().any(|(n, v)| n == name && v == value);
    THEY.into_iter().find(|(name, value, _)| given(name, value)).map(|(_, _, shown)| shown)
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
