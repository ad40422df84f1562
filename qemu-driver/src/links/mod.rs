//! The guest's link: the socket between one qemu netdev and its rank.
//!
//! Three kinds, as qemu's `-netdev stream`, `-netdev dgram` and `-netdev vhost-user` (qemu-options, "netdev"). All hand out
//! and take frames as *records*: a 4-byte big-endian length followed by the frame. That is qemu's own stream
//! format, so on a stream link nothing is rewritten in either direction, and runs of records move as one
//! slice. A vhost-user link has frames besides of which something is left to be done; the top bit of their length is set,
//! and a virtio-net header is in front of them. A link does no switching, keeps no queue, and never blocks: it reads into
//! the caller's space, and what it cannot take stays with the caller.

mod dgram;
mod ends;
mod filled;
mod stream;
pub mod vhost_user;

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};

pub use dgram::DgramLink;
pub use ends::{EndsError, bind_dgram, listen_stream, pair};
use mvpnet_switch::{DropReason, Offload, Tally};
use nix::errno::Errno;
use nix::poll::PollFlags;
pub use stream::StreamLink;
use vhost_user::{Offers, VhostUserLink};

use filled::Filled;

/// Octets of the length prefix of a record.
pub const PREFIX_LEN: usize = 4;

/// Longest frame that qemu's socket netdevs carry, in octets (`NET_BUFSIZE`, qemu `include/net/net.h`).
pub const MAX_GUEST_FRAME_LEN: usize = 4096 + 65536;

/// The kinds of guest link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// `-netdev stream`: length-prefixed frames on a byte stream.
    Stream,
    /// `-netdev dgram`: one frame per datagram.
    Dgram,
    /// `-netdev vhost-user`: rings in the guest's memory.
    VhostUser(Offers),
}

impl LinkKind {
    /// qemu's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            LinkKind::Stream => "stream",
            LinkKind::Dgram => "dgram",
            LinkKind::VhostUser(_) => "vhost-user",
        }
    }
}

/// What a read of the link brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Octets arrived in the space; take the records with [`GuestLink::next_item`].
    Data,
    /// Nothing is waiting now.
    Nothing,
    /// The guest's end is closed: qemu is gone.
    Closed,
}

/// One thing that the guest sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record (prefix and frame) at this place of the space.
    Record(Range<usize>),
    /// A record whose frame is behind a virtio-net header, [`OFFLOAD_LEN`](mvpnet_switch::OFFLOAD_LEN) octets.
    Unfinished(Range<usize>),
    /// Something that is no frame. After a length that no frame can have, the framing of a stream is lost: the link is
    /// [broken](GuestLink::is_broken) and must be closed.
    Refused(Refusal),
}

/// Something the guest sent that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why it was refused.
    pub reason: DropReason,
    /// Its octets, as far as they are known.
    pub len: usize,
}

impl Refusal {
    /// A length that no frame can have.
    pub(crate) fn bad_length(len: usize) -> Self {
        Refusal { reason: DropReason::BadLength, len }
    }
}

/// What became of an offer to [`GuestLink::write`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// Octets of the offered slices that are done with, prefixes included; 0 when the link is full.
    pub octets: usize,
    /// Frames among them that the link could not carry: longer than the socket or the guest's buffers take.
    pub unsendable: Tally,
}

/// The rank's end of a guest link.
#[derive(Debug)]
pub enum GuestLink {
    /// A byte stream.
    Stream(StreamLink),
    /// Datagrams.
    Dgram(Box<DgramLink>),
    /// The guest's memory.
    VhostUser(Box<VhostUserLink>, Filled),
}

impl GuestLink {
    /// Takes over the rank's end `socket` of a link of this `kind`.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking.
    pub fn new(kind: LinkKind, socket: OwnedFd, guest_path: Option<&std::path::Path>) -> Result<Self, Errno> {
        Ok(match kind {
            LinkKind::VhostUser(offers) => {
                Self::VhostUser(Box::new(VhostUserLink::new(socket, offers)?), Filled::default())
            }
            LinkKind::Stream => Self::Stream(StreamLink::new(non_blocking(socket)?)),
            LinkKind::Dgram => Self::Dgram(Box::new(DgramLink::new(non_blocking(socket)?, guest_path))),
        })
    }

    /// Reads what is waiting into `space`, with one system call at most. All items of the last read must have been taken. The
    /// space has room for the longest record at least.
    ///
    /// # Errors
    /// What the system call said, `EAGAIN` and a closed peer excepted.
    pub fn receive(&mut self, space: &mut [u8]) -> Result<Received, Errno> {
        match self {
            Self::Stream(link) => link.receive(space),
            Self::Dgram(link) => link.receive(space),
            Self::VhostUser(link, filled) => {
                let received = link.receive(space)?;
                filled.set(0);
                Ok(match received {
                    vhost_user::Received::Records(octets) => {
                        filled.set(octets);
                        Received::Data
                    }
                    vhost_user::Received::Nothing if link.has_refusals() => Received::Data,
                    vhost_user::Received::Nothing => Received::Nothing,
                    vhost_user::Received::Closed => Received::Closed,
                })
            }
        }
    }

    /// The next item of what was read into `space`, or `None` when all whole records are taken; the space is not needed
    /// any more then.
    #[inline]
    pub fn next_item(&mut self, space: &[u8]) -> Option<Item> {
        match self {
            Self::Stream(link) => link.next_item(space),
            Self::Dgram(link) => link.next_item(space),
            Self::VhostUser(link, filled) => filled.next_item(space).or_else(|| {
                let refusal = link.take_refusal()?;
                Some(Item::Refused(refusal))
            }),
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
            Self::VhostUser(link, _) => link.write(slices),
        }
    }

    /// Whether the guest's end can be written to: a datagram socket on a path has no peer until qemu has bound its own,
    /// a guest's memory no ring unless its driver runs.
    pub fn has_peer(&mut self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Dgram(link) => link.has_peer(),
            Self::VhostUser(link, _) => link.has_peer(),
        }
    }

    /// Whether the guest takes a frame of which this is left to be done.
    pub fn takes(&self, offload: &Offload) -> bool {
        match self {
            Self::Stream(_) | Self::Dgram(_) => false,
            Self::VhostUser(link, _) => link.takes(offload),
        }
    }

    /// To be called before sleeping on [`fd`](Self::fd): says what is waited for, something to receive or room to write.
    /// True where there is already.
    pub fn arm(&mut self, receives: bool, writes: bool) -> bool {
        match self {
            Self::Stream(_) | Self::Dgram(_) => false,
            Self::VhostUser(link, _) => link.arm(receives, writes),
        }
    }

    /// To be called after sleeping.
    pub fn disarm(&mut self) {
        if let Self::VhostUser(link, _) = self {
            link.disarm();
        }
    }

    /// The events on [`fd`](Self::fd) by which what is waited for shows.
    pub fn interest(&self, receives: bool, writes: bool) -> PollFlags {
        let mut interest = PollFlags::empty();
        match self {
            Self::Stream(_) | Self::Dgram(_) => {
                interest.set(PollFlags::POLLIN, receives);
                interest.set(PollFlags::POLLOUT, writes);
            }
            // What the guest says depends on what it was armed for; qemu may have something to say at any time.
            Self::VhostUser(..) => interest = PollFlags::POLLIN,
        }
        interest
    }

    /// What was counted besides frames, which other kinds of links have no like of. Names and values, in a fixed order.
    pub fn stats(&self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Stream(_) | Self::Dgram(_) => Vec::new(),
            Self::VhostUser(link, _) => link.stats().to_vec(),
        }
    }

    /// Whether the framing is lost for good.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Stream(link) => link.is_broken(),
            Self::Dgram(_) | Self::VhostUser(..) => false,
        }
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(link) => link.fd(),
            Self::Dgram(link) => link.fd(),
            Self::VhostUser(link, _) => link.fd(),
        }
    }
}

fn non_blocking(socket: OwnedFd) -> Result<OwnedFd, Errno> {
    ends::make_non_blocking(&socket)?;
    Ok(socket)
}
