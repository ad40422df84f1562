//! Making the two ends of a guest link: an inherited socket pair, or sockets on paths.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};

use super::{LinkKind, vhost_user};

/// Socket buffer asked for on both ends, in octets; the kernel caps it at `net.core.wmem_max`.
const SOCKET_BUFFER_LEN: usize = 1024 * 1024;

/// A link's ends could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EndsError {
    /// No socket pair to be had.
    #[error("no socket pair for the guest's link: {0}")]
    Pair(Errno),
    /// The path cannot carry a socket.
    #[error("no socket at {path}: {source}")]
    Path {
        /// The path asked for.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A connected pair `(ours, guest)`; both close on exec, so whoever starts qemu must pass the guest's on.
///
/// # Errors
/// No descriptors left.
pub fn pair(kind: LinkKind) -> Result<(OwnedFd, OwnedFd), EndsError> {
    let socket_type = match kind {
        LinkKind::Stream => SockType::Stream,
        LinkKind::Dgram => SockType::Datagram,
        LinkKind::VhostUser(_) => return vhost_user::pair(),
    };
    let ends = socketpair(AddressFamily::Unix, socket_type, None, SockFlag::SOCK_CLOEXEC)
        .map_err(EndsError::Pair)?;
    widen(&ends.0);
    widen(&ends.1);
    Ok(ends)
}

/// Listens at `path` for the one connection of qemu's `-netdev stream,server=off`.
///
/// # Errors
/// The path is taken, too long for a socket (107 octets), or its directory is not writable.
pub fn listen_stream(path: &Path) -> Result<UnixListener, EndsError> {
    UnixListener::bind(path).map_err(|source| EndsError::Path { path: path.into(), source })
}

/// Binds the rank's end of a datagram link at `path`.
///
/// # Errors
/// As [`listen_stream`].
pub fn bind_dgram(path: &Path) -> Result<OwnedFd, EndsError> {
    let socket = UnixDatagram::bind(path).map_err(|source| EndsError::Path { path: path.into(), source })?;
    let socket = OwnedFd::from(socket);
    widen(&socket);
    Ok(socket)
}

pub(super) fn make_non_blocking(socket: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Larger buffers mean fewer wake-ups; a refusal only costs speed.
fn widen(socket: &OwnedFd) {
    let _ = setsockopt(socket, sockopt::SndBuf, &SOCKET_BUFFER_LEN);
    let _ = setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER_LEN);
}
