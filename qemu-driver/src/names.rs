//! Where things are: the sockets of a rank, a directory of its own for them, and programs on `PATH`.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use mvpnet_switch::Rank;
use nix::unistd::{AccessFlags, access};

/// The longest path that a unix socket can have: `sun_path` has 108 bytes, one of which ends it (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// A socket's path is too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "socket {}: its path has {} bytes, more than the {MAX_SOCKET_PATH} that a unix socket can have; \
     choose a shorter socket directory (-s) or job name (-j)",
    path.display(),
    path.as_os_str().len()
)]
pub struct SocketPathError {
    path: PathBuf,
}

/// The path of a rank's socket, `DIR/KIND[.JOB].RANK.sock`.
pub fn socket_path(
    dir: &Path,
    kind: &str,
    job: Option<&str>,
    rank: Rank,
) -> Result<PathBuf, SocketPathError> {
    let name = match job {
        Some(job) => format!("{kind}.{job}.{rank}.sock"),
        None => format!("{kind}.{rank}.sock"),
    };
    let path = dir.join(name);
    if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
        return Err(SocketPathError { path });
    }
    Ok(path)
}

/// The name of a directory for the sockets of this process: in the user's run-time directory if there is
/// one, else in /tmp. Nothing is made: the keeper has to know of it first.
pub fn private_dir_path() -> PathBuf {
    let parent = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
        .unwrap_or_else(|| "/tmp".into());
    parent.join(format!("mvpnet-{}-{}", nix::unistd::geteuid(), std::process::id()))
}

/// Makes a directory that only its owner can enter. One that exists already has to be just that: in /tmp it may be
/// anybody's.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(path)?;
            let private =
                found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o077 == 0;
            if private { Ok(()) } else { Err(error) }
        }
        result => result,
    }
}

/// Finds a program as execvp(3) does: a name with a slash is a path, any other is looked up on `PATH`.
pub fn find_program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = Path::new(name.as_ref());
    let executable = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.as_os_str().as_bytes().contains(&b'/') {
        return executable(name).then(|| name.to_owned());
    }
    if name.as_os_str().is_empty() {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| executable(candidate))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use mvpnet_switch::World;

    use super::*;

    fn rank(index: u32) -> Rank {
        World::new(64).unwrap().rank(index).unwrap()
    }

    #[test]
    fn sockets_are_named_by_kind_job_and_rank() {
        let name = |job| socket_path(Path::new("/s"), "stream", job, rank(12)).unwrap();
        assert_eq!(name(Some("j")), Path::new("/s/stream.j.12.sock"));
        assert_eq!(name(None), Path::new("/s/stream.12.sock"));
    }

    #[test]
    fn the_longest_path_fits_a_socket_and_the_next_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let room = MAX_SOCKET_PATH - dir.path().as_os_str().len() - "/a..1.sock".len();
        let longest = socket_path(dir.path(), "a", Some(&"j".repeat(room)), rank(1)).unwrap();
        std::os::unix::net::UnixListener::bind(&longest).unwrap();
        let error = socket_path(dir.path(), "a", Some(&"j".repeat(room + 1)), rank(1)).unwrap_err();
        assert!(error.to_string().contains("108 bytes, more than the 107"), "{error}");
    }

    #[test]
    fn a_private_directory_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        make_private_dir(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        make_private_dir(&path).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
        for unsafe_path in [&link, &path] {
            assert_eq!(make_private_dir(unsafe_path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert!(private_dir_path().is_absolute());
    }

    #[test]
    fn programs_are_found_on_the_path_or_by_their_path() {
        assert!(find_program("sh").unwrap().is_absolute());
        assert_eq!(find_program("/bin/sh").unwrap(), Path::new("/bin/sh"));
        for absent in ["no-such-program-here", "/etc/passwd", "", "/bin"] {
            assert_eq!(find_program(absent), None, "{absent}");
        }
    }
}
