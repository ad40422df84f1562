//! Where overlays are that go at the end: `mvpnet-UID/PID.BORN.HOST/` in a directory for large temporary files. The
//! name says whose it is, so that what a crash of the whole machine leaves can be told from what is in use.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access, geteuid, gethostname};

use super::overlay::is_written;
use crate::names::make_private_dir;
use crate::process::Process;
use crate::supervise::Leftover;

/// The process that a directory of overlays belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    process: Process,
    /// The directory may be shared by several.
    host: String,
}

impl Owner {
    /// Of a directory's name; none if it is no directory of overlays.
    fn of(name: &OsStr) -> Option<Self> {
        let mut parts = name.to_str()?.splitn(3, '.');
        let (number, born) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let host = parts.next().filter(|host| !host.is_empty())?.to_owned();
        Some(Self { process: Process { number, born }, host })
    }

    /// This process.
    fn this() -> Self {
        let host = gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        Self { process: Process::this(), host }
    }

    fn name(&self) -> String {
        format!("{}.{}", self.process, self.host)
    }
}

/// The directory of this process's overlays: in the run directory if there is one, else where large files are put.
/// Nothing is made.
pub fn overlay_dir(run_dir: Option<&Path>) -> PathBuf {
    let parent =
        run_dir.map_or_else(large_files, |dir| std::path::absolute(dir).unwrap_or_else(|_| dir.into()));
    parent.join(format!("mvpnet-{}", geteuid())).join(Owner::this().name())
}

/// Directories of overlays, whole, that were left by processes of this host and user that are dead: such as remain when
/// the host loses its power. Those in run directories are not known of here.
pub fn abandoned_overlays() -> Vec<PathBuf> {
    let parents = candidates().into_iter().map(|dir| dir.join(format!("mvpnet-{}", geteuid())));
    parents.flat_map(|parent| abandoned_in(&parent)).collect()
}

fn abandoned_in(parent: &Path) -> Vec<PathBuf> {
    let ours = |dir: &Path| {
        dir.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
    };
    if !ours(parent) {
        return Vec::new();
    }
    let here = Owner::this().host;
    let entries = |dir: &Path| {
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
    };
    let is_left = |dir: &PathBuf| {
        let owner = dir.file_name().and_then(Owner::of);
        let dead = owner.is_some_and(|owner| owner.host == here && !owner.process.lives());
        // Numbers mean nothing in another container of this host; locks do.
        ours(dir) && dead && !entries(dir).any(|overlay| is_written(&overlay))
    };
    let mut left: Vec<PathBuf> = entries(parent).filter(is_left).collect();
    left.sort();
    left
}

fn candidates() -> Vec<PathBuf> {
    let named = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    named.into_iter().chain(["/var/tmp".into(), "/tmp".into()]).collect()
}

/// A directory that can be written to and is not in memory; one in memory if there is no other.
fn large_files() -> PathBuf {
    let usable: Vec<PathBuf> = candidates()
        .into_iter()
        .filter(|dir| dir.is_dir() && access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
        .collect();
    let on_disk = usable.iter().find(|dir| !is_in_memory(dir));
    on_disk.or(usable.first()).cloned().unwrap_or_else(|| "/var/tmp".into())
}

fn is_in_memory(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}

/// Makes the directory and the one above, for the user alone.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().unwrap_or(dir);
    let named = |error: io::Error, dir: &Path| {
        let text = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                "is there and not yours alone; remove it, or name a directory with -r".into()
            }
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("{}: {text}", dir.display()))
    };
    // Another job's end may remove the upper one, empty, before the lower one is in it.
    for _ in 0..100 {
        make_private_dir(parent).map_err(|error| named(error, parent))?;
        match make_private_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map_err(|error| named(error, dir)),
        }
    }
    Err(io::Error::other(format!("{}: disappears", parent.display())))
}

/// Both directories, to be removed when they are empty.
pub(super) fn leftovers(dir: &Path) -> Vec<Leftover> {
    let parent = dir.parent().map(|parent| Leftover::EmptyDir(parent.to_owned()));
    parent.into_iter().chain([Leftover::EmptyDir(dir.to_owned())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_whose_it_is() {
        let dir = overlay_dir(Some(Path::new("/r")));
        let owner = Owner::of(dir.file_name().unwrap()).unwrap();
        assert_eq!((&owner, owner.process), (&Owner::this(), Process::this()));
        assert!(dir.starts_with(format!("/r/mvpnet-{}", geteuid())), "{}", dir.display());
        let of = |name: &str| Owner::of(OsStr::new(name)).map(|owner| owner.host);
        assert_eq!(of("7.8.n1.example.org").as_deref(), Some("n1.example.org"));
        for other in ["7.8", "7.8.", "7", "x.8.n1", "7.x.n1", "", ".", "-7.8.n1"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_dead_process_of_this_host_has_left_is_found_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let this = Owner::this();
        let dead = Owner { process: Process { born: this.process.born + 1, ..this.process }, ..this.clone() };
        let elsewhere = Owner { host: format!("{}x", this.host), ..dead.clone() };
        for name in [this.name(), dead.name(), elsewhere.name(), "something else".into()] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        std::fs::write(home.path().join(dead.name()).join("a.0.qcow2"), "").unwrap();
        assert_eq!(abandoned_in(home.path()), [home.path().join(dead.name())]);
        assert!(abandoned_in(&home.path().join("absent")).is_empty());
    }

    #[test]
    fn directories_are_made_for_the_user_alone_and_go_when_empty() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let dir = overlay_dir(Some(home.path()));
        make(&dir).unwrap();
        make(&dir).unwrap();
        let mode = |dir: &Path| dir.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(dir.parent().unwrap())), (0o700, 0o700));
        for leftover in leftovers(&dir).iter().rev() {
            leftover.remove().unwrap();
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused_with_a_way_out() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let dir = overlay_dir(Some(home.path()));
        std::fs::create_dir(dir.parent().unwrap()).unwrap();
        std::fs::set_permissions(dir.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
        let error = make(&dir).unwrap_err().to_string();
        assert!(error.contains("not yours alone; remove it, or name a directory with -r"), "{error}");
    }

    #[test]
    fn memory_is_told_from_disk() {
        assert!(!is_in_memory(Path::new("/proc")));
        assert!(!is_in_memory(Path::new("/no/such/directory")));
        if std::fs::read_to_string("/proc/mounts").unwrap().contains(" /dev/shm tmpfs ") {
            assert!(is_in_memory(Path::new("/dev/shm")));
        }
    }
}
