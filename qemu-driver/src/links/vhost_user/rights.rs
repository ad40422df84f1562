//! Receiving octets of a stream socket together with the descriptors that come with them (unix(7), SCM_RIGHTS).
#![allow(unsafe_code, reason = "descriptors that arrive are numbers until somebody owns them")]

use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Descriptors that the kernel passes with one message at most (`SCM_MAX_FD`): with room for all of them
/// none is cut off.
const MOST: usize = 253;

/// Room for the descriptors and the header in front, with the alignment of a header.
type Room = [u64; 2 + MOST.div_ceil(2) + 1];

/// Receives without waiting, into `buffer`; descriptors that come are put behind those in `fds`. Returns the
/// number of octets, 0 at the end of the stream.
///
/// # Errors
/// What the system said; `EMFILE` if not all descriptors could be had.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut room: Room = [0; _];
    // SAFETY: a header of zeros is one of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut room).cast();
    message.msg_controllen = size_of::<Room>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the message's parts are as long as it says and live until the end of this function.
    let octets = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let octets = Errno::result(octets)?;
    // SAFETY: the kernel has filled in the control part, of which it says the length.
    let mut part = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !part.is_null() {
        // SAFETY: the pointer is to a header in the control part.
        let header = unsafe { part.read() };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the data follows the header.
            let data = unsafe { libc::CMSG_DATA(part) };
            let len = header.cmsg_len as usize - (data as usize - part as usize);
            for n in 0..len / size_of::<RawFd>() {
                // SAFETY: the number is inside the header's length, and the descriptor is new: nobody else owns it.
                fds.push(unsafe { OwnedFd::from_raw_fd(data.cast::<RawFd>().add(n).read_unaligned()) });
            }
        }
        // SAFETY: both are the kernel's.
        part = unsafe { libc::CMSG_NXTHDR(&raw const message, part) };
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Errno::EMFILE);
    }
    Ok(usize::try_from(octets).expect("a successful call returns no negative number"))
}
