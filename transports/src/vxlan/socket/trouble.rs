//! What goes wrong with a send: at once, or later, when a router or the peer says so.

use std::io;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::Socket;

/// Errors of earlier datagrams that one send can run into: each is told once and then forgotten.
const MAX_OLD_ERRORS: u32 = 8;

/// Why a run was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vxlan) enum Trouble {
    /// The socket's buffer or a queue below has no room now.
    Full,
    /// The path does not take datagrams that long.
    TooLong,
    /// The kernel does not cut runs into datagrams here.
    NoSegments,
    /// There is no way to the peer.
    NoRoute,
}

/// What was heard about earlier datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vxlan) enum Rumour {
    /// A link on the path takes no longer packets than this.
    Mtu(u32),
    /// The peer, or a router, says that nobody is there.
    Unreachable,
}

/// Calls `send` until it does not fail with what became of earlier datagrams: a connected socket tells that
/// with the next call (udp(7)).
pub(super) fn patiently(mut send: impl FnMut() -> io::Result<()>) -> Result<(), Trouble> {
    let mut trouble = Trouble::NoRoute;
    for _ in 0..MAX_OLD_ERRORS {
        let Err(error) = send() else { return Ok(()) };
        trouble = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => return Err(Trouble::Full),
            // A route's MTU may have been lowered by an earlier datagram, or always have been lower.
            Some(Errno::EMSGSIZE) => return Err(Trouble::TooLong),
            // No checksum offload, a transformation, an old kernel (udp_send_skb, net/ipv4/udp.c).
            Some(Errno::EIO | Errno::EINVAL) => return Err(Trouble::NoSegments),
            _ => Trouble::NoRoute,
        };
    }
    Err(trouble)
}

/// The control message that makes datagrams of `segment` bytes out of what is sent: a `cmsghdr` (cmsg(3)) and
/// sixteen bits, padded.
pub(super) fn segment_control(segment: u16) -> [u8; SEGMENT_CONTROL_LEN] {
    let mut control = [0; SEGMENT_CONTROL_LEN];
    let len = size_of::<libc::cmsghdr>() + size_of::<u16>();
    control[..WORD].copy_from_slice(&len.to_ne_bytes());
    control[WORD..WORD + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    control[WORD + 4..WORD + 8].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    control[WORD + 8..WORD + 10].copy_from_slice(&segment.to_ne_bytes());
    control
}

const WORD: usize = size_of::<usize>();
const SEGMENT_CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + WORD;

/// Takes one entry of the socket's error queue (ip(7), IP_RECVERR).
pub(super) fn hear(socket: &Socket) -> Option<Rumour> {
    let mut control = nix::cmsg_space!(libc::sock_extended_err, SockaddrStorage);
    let mut bytes = [0; 64];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags).ok()?;
    let mut heard = Rumour::Unreachable;
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) =
            control
            && error.ee_errno == libc::EMSGSIZE as u32
        {
            heard = Rumour::Mtu(error.ee_info);
        }
    }
    Some(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_earlier_datagrams_does_not_stop_a_send() {
        let mut old = vec![libc::EHOSTUNREACH, libc::ECONNREFUSED, libc::EINTR];
        let sent = patiently(|| old.pop().map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(error))));
        assert_eq!(sent, Ok(()));
        let sent = patiently(|| Err(io::Error::from_raw_os_error(libc::ENETUNREACH)));
        assert_eq!(sent, Err(Trouble::NoRoute));
        let sent = patiently(|| Err(io::Error::from_raw_os_error(libc::EMSGSIZE)));
        assert_eq!(sent, Err(Trouble::TooLong));
    }
}
