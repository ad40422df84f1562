//! Where control sockets are.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mvpnet_qemu_driver::names::make_private_dir;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{AccessFlags, Pid, access, geteuid};

/// What has a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A job, by its rank 0.
    Job,
    /// A job, by another process of it.
    Rank,
    /// A bridge of tunnels.
    Bridge,
}

impl Kind {
    /// What follows the process id in a socket's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Job => ".sock",
            Self::Rank => ".rank.sock",
            Self::Bridge => ".bridge.sock",
        }
    }

    /// The command that needs the socket.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Job | Self::Rank => "mvpnet ps",
            Self::Bridge => "mvpnet bridge status",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job | Self::Rank => "job",
            Self::Bridge => "bridge",
        })
    }
}

/// Where sockets may be, the preferred place first. The environment of a job and that of who looks for it can
/// differ, above all under mpirun and systemd.
pub(crate) fn directories() -> Vec<PathBuf> {
    let run_time = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
        .map(|dir| dir.join("mvpnet"));
    run_time.into_iter().chain([PathBuf::from(format!("/tmp/mvpnet-{}", geteuid()))]).collect()
}

/// The socket of what this process is.
pub(super) fn socket_in(directory: &Path, kind: Kind, process: u32) -> PathBuf {
    directory.join(format!("{process}{}", kind.suffix()))
}

/// The directory of a process's part of its job.
pub(super) fn directory_in(directory: &Path, process: u32) -> PathBuf {
    directory.join(format!("{process}.job"))
}

/// Makes the directory, which has to be the user's own.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    make_private_dir(directory).map_err(|error| {
        let kind = error.kind();
        io::Error::new(kind, format!("{}: {error}; it has to be yours alone", directory.display()))
    })
}

/// Whether nobody else can have put anything there.
pub(super) fn is_ours(directory: &Path) -> bool {
    std::fs::symlink_metadata(directory)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0)
}

/// Whether a process of this number lives.
pub(super) fn lives(process: u32) -> bool {
    // EPERM: somebody else's, which lives too.
    i32::try_from(process).is_ok_and(|process| kill(Pid::from_raw(process), None) != Err(Errno::ESRCH))
}

/// All sockets of a kind in a directory, with the processes that they are named by, in the order of these.
pub(super) fn sockets_in(directory: &Path, kind: Kind) -> Vec<(u32, PathBuf)> {
    if !is_ours(directory) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let named = entries.filter_map(|entry| {
        let process = entry.file_name().to_str()?.strip_suffix(kind.suffix())?.parse().ok()?;
        Some((process, entry.path()))
    });
    let mut sockets: Vec<(u32, PathBuf)> = named.collect();
    sockets.sort_unstable();
    sockets
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn permit(directory: &Path, mode: u32) {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn sockets_are_named_by_their_process() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["30.sock", "7.sock", "7.lock", "x.sock", "8.bridge.sock", "9.rank.sock"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        permit(directory.path(), 0o700);
        let found = |kind| -> Vec<u32> {
            sockets_in(directory.path(), kind).into_iter().map(|(process, _)| process).collect()
        };
        assert_eq!(found(Kind::Job), [7, 30]);
        assert_eq!(found(Kind::Bridge), [8]);
        assert_eq!(found(Kind::Rank), [9]);
        permit(directory.path(), 0o777);
        assert_eq!(found(Kind::Job), [0; 0], "anybody may have put them there");
        assert_eq!(sockets_in(Path::new("/no/such/directory"), Kind::Job), []);
    }

    #[test]
    fn this_process_lives_and_one_that_was_waited_for_does_not() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(lives(std::process::id()) && !lives(child.id()));
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("mvpnet");
        prepare(&directory).unwrap();
        prepare(&directory).unwrap();
        permit(&directory, 0o755);
        let error = prepare(&directory).unwrap_err().to_string();
        assert!(error.contains("it has to be yours alone"), "{error}");
    }
}
