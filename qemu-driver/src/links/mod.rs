//! The guest's link: the socket between one qemu netdev and its rank.
//!
//! Two kinds, as qemu's `-netdev stream` and `-netdev dgram` (qemu-options, "netdev"). Both hand out and
//! take frames as *records*: a 4-byte big-endian length followed by the frame. That is qemu's own stream
//! format, so on a stream link nothing is rewritten in either direction, and runs of records move as one
//! slice. A link does no switching, keeps no queue, and never blocks: what it cannot take stays with the
//! caller.

mod dgram;
mod ends;
mod stream;

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};

pub use dgram::DgramLink;
pub use ends::{EndsError, bind_dgram, listen_stream, pair};
use nix::errno::Errno;
pub use stream::StreamLink;

/// Octets of the length prefix of a record.
pub const PREFIX_LEN: usize = 4;

/// Longest frame that qemu's socket netdevs carry, in octets (`NET_BUFSIZE`, qemu `include/net/net.h`).
pub const MAX_GUEST_FRAME_LEN: usize = 4096 + 65536;

/// The kinds of guest link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// `-netdev stream`: length-prefixed frames on a byte stream.
    Stream,
    /// `-netdev dgram`: one frame per datagram.
    Dgram,
}

/// What a read of the link brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Octets arrived; take the records with [`GuestLink::next_item`].
    Data,
    /// Nothing is waiting now.
    Nothing,
    /// The guest's end is closed: qemu is gone.
    Closed,
}

/// One thing that the guest sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record (prefix and frame) at this place of [`GuestLink::bytes`].
    Record(Range<usize>),
    /// A length that no frame can have, in octets. On a stream the framing is lost with it: the link is
    /// [broken](GuestLink::is_broken) and must be closed.
    BadLength(usize),
}

/// What became of an offer to [`GuestLink::write`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// Octets of the offered slices that are done with, prefixes included; 0 when the link is full.
    pub octets: usize,
    /// Frames among them that the link could not carry (longer than the socket takes).
    pub unsendable_frames: u64,
}

/// The rank's end of a guest link.
#[derive(Debug)]
pub enum GuestLink {
    /// A byte stream.
    Stream(StreamLink),
    /// Datagrams.
    Dgram(Box<DgramLink>),
}

impl GuestLink {
    /// Takes over the rank's end `socket` of a link of this `kind`.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn new(kind: LinkKind, socket: OwnedFd, guest_path: Option<&std::path::Path>) -> Result<Self, Errno> {
        ends::make_non_blocking(&socket)?;
        Ok(match kind {
            LinkKind::Stream => Self::Stream(StreamLink::new(socket)),
            LinkKind::Dgram => Self::Dgram(Box::new(DgramLink::new(socket, guest_path))),
        })
    }

    /// Reads what is waiting, with one system call. All items of the last read must have been taken.
    ///
    /// # Errors
    /// What the system call said, `EAGAIN` and a closed peer excepted.
    pub fn receive(&mut self) -> Result<Received, Errno> {
        match self {
            Self::Stream(link) => link.receive(),
            Self::Dgram(link) => link.receive(),
        }
    }

    /// The next item of what was read, or `None` when all whole records are taken.
    #[inline]
    pub fn next_item(&mut self) -> Option<Item> {
        match self {
            Self::Stream(link) => link.next_item(),
            Self::Dgram(link) => link.next_item(),
        }
    }

    /// The buffer that [`Item::Record`] ranges point into; valid until the next [`receive`](Self::receive).
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Stream(link) => link.bytes(),
            Self::Dgram(link) => link.bytes(),
        }
    }

    /// Offers slices of whole records to the guest, with one system call. On a stream the first slice may
    /// begin inside a record whose beginning was taken before.
    ///
    /// # Errors
    /// What the system call said, a full socket excepted; `EPIPE` or `ECONNRESET` when qemu is gone.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<Wrote, Errno> {
        match self {
            Self::Stream(link) => link.write(slices),
            Self::Dgram(link) => link.write(slices),
        }
    }

    /// Whether the guest's end can be written to yet: a datagram socket on a path has no peer until qemu
    /// has bound its own.
    pub fn has_peer(&mut self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Dgram(link) => link.has_peer(),
        }
    }

    /// Whether the framing is lost for good.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Stream(link) => link.is_broken(),
            Self::Dgram(_) => false,
        }
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(link) => link.fd(),
            Self::Dgram(link) => link.fd(),
        }
    }
}

/// Length that a record's prefix announces, in octets.
#[inline]
fn prefix(bytes: &[u8]) -> usize {
    let head: [u8; PREFIX_LEN] = bytes[..PREFIX_LEN].try_into().expect("the slice has the prefix's length");
    u32::from_be_bytes(head) as usize
}
