//! Making the two ends of the control socket.
//!
//! qemu passes descriptors only over a socket that it has connected itself, to a path: over one that it inherits it
//! refuses to (`chardev "cluster" does not support FD passing`, chardev/char-socket.c, "TODO SOCKET_ADDRESS_FD"). What
//! it inherits is a descriptor that names the socket that we listen on, and that it connects to by `/proc/self/fd`. So
//! there is no file that could be in somebody's way, or be left.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::mkdtemp;

use crate::links::EndsError;

/// A connected pair `(ours, front end's)` of stream sockets, for a front end that takes one. Both close on exec.
///
/// # Errors
/// No descriptors left.
pub fn pair() -> Result<(OwnedFd, OwnedFd), EndsError> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).map_err(EndsError::Pair)
}

/// A socket to accept qemu's one connection on, and the descriptor by which qemu finds it
/// ([`VhostUserEnd::Inherited`](crate::spec::VhostUserEnd::Inherited)). Both close on exec, so whoever starts qemu must
/// pass the second on.
///
/// # Errors
/// No descriptors left, or the directory for temporary files cannot be written to.
pub fn listen() -> Result<(UnixListener, OwnedFd), EndsError> {
    let template = std::env::temp_dir().join("mvpnet-vhost-XXXXXX");
    let dir = mkdtemp(&template).map_err(|error| path_error(&template, error))?;
    let ends = listen_in(&dir);
    // Nobody needs the name any more: who has the descriptor has the socket.
    let _ = std::fs::remove_dir(&dir);
    ends
}

fn listen_in(dir: &Path) -> Result<(UnixListener, OwnedFd), EndsError> {
    let name = |path: &Path, flags: OFlag| {
        open(path, OFlag::O_PATH | OFlag::O_CLOEXEC | flags, Mode::empty())
            .map_err(|error| path_error(path, error))
    };
    // By the directory's descriptor a socket has a short path, wherever it is (unix(7): at most 107 octets).
    let dir_fd = name(dir, OFlag::O_DIRECTORY)?;
    let path = fd_path(&dir_fd).join("socket");
    let listener =
        UnixListener::bind(&path).map_err(|source| EndsError::Path { path: path.clone(), source })?;
    let socket = name(&path, OFlag::empty());
    let _ = std::fs::remove_file(&path);
    Ok((listener, socket?))
}

fn fd_path(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn path_error(path: &Path, error: nix::errno::Errno) -> EndsError {
    EndsError::Path { path: path.into(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn who_has_the_descriptor_finds_the_socket_and_no_file_is_left() {
        let (listener, named) = listen().unwrap();
        let path = std::fs::read_link(fd_path(&named)).unwrap();
        assert!(!path.exists() && !path.parent().unwrap().exists(), "{}", path.display());
        let mut theirs = UnixStream::connect(fd_path(&named)).unwrap();
        let (mut ours, _) = listener.accept().unwrap();
        ours.write_all(b"octets").unwrap();
        let mut octets = [0; 6];
        theirs.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"octets");
    }

    #[test]
    fn where_nothing_listens_any_more_nothing_is_found() {
        let (listener, named) = listen().unwrap();
        drop(listener);
        assert!(UnixStream::connect(fd_path(&named)).is_err());
    }
}
