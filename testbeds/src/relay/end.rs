//! The relay's end of a generator's link: bytes in, bytes out, no frame looked at.
//!
//! A stream may be cut anywhere. Datagrams have to stay what they are, so they travel as the records of a dgram link, each
//! behind its length; a vhost-user link has records of its own.

use std::{
    io::{IoSlice, IoSliceMut},
    net::Shutdown,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use anyhow::Context;
use mvpnet_qemu_driver::links::{
    LinkKind, MAX_GUEST_FRAME_LEN, PREFIX_LEN,
    vhost_user::{Received, VhostUserLink},
};
use mvpnet_transports::BATCH_LEN;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recv, recvmmsg, send, sendmmsg},
};

/// Datagrams per system call.
const BURST: usize = 64;
/// The flags of all calls.
const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// What a look at the link brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes.
    Octets(usize),
    /// Nothing is there now.
    Nothing,
    /// The generator is gone.
    Closed,
}

/// The end of a link.
pub(super) enum End {
    Stream(UnixStream),
    Dgram(Box<Datagrams>),
    VhostUser(Box<VhostUserLink>),
}

impl End {
    pub(super) fn new(kind: LinkKind, link: OwnedFd) -> anyhow::Result<End> {
        Ok(match kind {
            LinkKind::Stream => End::Stream(link.into()),
            LinkKind::Dgram => End::Dgram(Box::new(Datagrams::new(link))),
            LinkKind::VhostUser(offers) => End::VhostUser(Box::new(VhostUserLink::new(link, offers)?)),
        })
    }

    /// Reads what is there, one system call at most.
    pub(super) fn fill(&mut self, space: &mut [u8]) -> anyhow::Result<Filled> {
        match self {
            End::Stream(socket) => match recv(socket.as_raw_fd(), batch(space), FLAGS) {
                Ok(0) | Err(Errno::ECONNRESET) => Ok(Filled::Closed),
                Ok(octets) => Ok(Filled::Octets(octets)),
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(Filled::Nothing),
                Err(error) => Err(error).context("cannot read the generator's link"),
            },
            End::Dgram(datagrams) => datagrams.fill(space),
            End::VhostUser(link) => Ok(match link.receive(space)? {
                Received::Records(octets) => Filled::Octets(octets),
                Received::Nothing => Filled::Nothing,
                Received::Closed => Filled::Closed,
            }),
        }
    }

    /// Writes what there is room for: how much that was, nothing at all if the generator is gone.
    pub(super) fn pour(&mut self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let sent = match self {
            End::Stream(socket) => send(socket.as_raw_fd(), bytes, FLAGS),
            End::Dgram(datagrams) => datagrams.pour(bytes),
            End::VhostUser(link) => return Ok(Some(link.write(&[IoSlice::new(bytes)])?.octets)),
        };
        match sent {
            Ok(octets) => Ok(Some(octets)),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(Some(0)),
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => Ok(None),
            Err(error) => Err(error).context("cannot write to the generator's link"),
        }
    }

    /// Takes note that the generator has ended, which datagrams do not tell.
    pub(super) fn note_the_end(&mut self) {
        if let End::Dgram(datagrams) = self {
            datagrams.is_gone = true;
        }
    }

    /// Says that nothing more will come, by the link's end where nothing else says it.
    pub(super) fn shut(self) -> Option<End> {
        let End::Stream(socket) = &self else { return None };
        // A generator that has gone already needs not be told.
        let _ = socket.shutdown(Shutdown::Write);
        Some(self)
    }
}

/// A stream may be cut anywhere, so not more than a batch is taken of it.
fn batch(space: &mut [u8]) -> &mut [u8] {
    let len = space.len().min(BATCH_LEN);
    &mut space[..len]
}

/// Datagrams, many per system call.
pub(super) struct Datagrams {
    socket: OwnedFd,
    slots: Box<[u8]>,
    lens: Vec<usize>,
    /// Those of `lens` that have not gone into a draft.
    next: usize,
    headers: MultiHeaders<()>,
    /// The generator has ended: what is there to read is the last.
    is_gone: bool,
}

impl Datagrams {
    fn new(socket: OwnedFd) -> Datagrams {
        let slots = vec![0; BURST * MAX_GUEST_FRAME_LEN].into_boxed_slice();
        let headers = MultiHeaders::preallocate(BURST, None);
        Datagrams { socket, slots, lens: Vec::with_capacity(BURST), next: 0, headers, is_gone: false }
    }

    fn fill(&mut self, space: &mut [u8]) -> anyhow::Result<Filled> {
        if self.next == self.lens.len() {
            match self.read() {
                Ok(()) => {}
                Err(Errno::EAGAIN) if self.is_gone => return Ok(Filled::Closed),
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Filled::Nothing),
                Err(Errno::ECONNRESET | Errno::ENOTCONN) => {
                    self.is_gone = true;
                    return Ok(Filled::Nothing);
                }
                Err(error) => return Err(error).context("cannot read the generator's link"),
            }
        }
        let mut at = 0;
        while let Some(&len) = self.lens.get(self.next) {
            let Some(record) = space.get_mut(at..at + PREFIX_LEN + len) else { break };
            record[..PREFIX_LEN].copy_from_slice(&(len as u32).to_be_bytes());
            record[PREFIX_LEN..].copy_from_slice(&self.slots[self.next * MAX_GUEST_FRAME_LEN..][..len]);
            at += PREFIX_LEN + len;
            self.next += 1;
        }
        Ok(if at == 0 { Filled::Nothing } else { Filled::Octets(at) })
    }

    fn read(&mut self) -> nix::Result<()> {
        self.lens.clear();
        self.next = 0;
        let mut slots = self.slots.chunks_exact_mut(MAX_GUEST_FRAME_LEN);
        let mut slices: [[IoSliceMut<'_>; 1]; BURST] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let fd = self.socket.as_raw_fd();
        let messages = recvmmsg(fd, &mut self.headers, slices.iter_mut(), FLAGS, None)?;
        self.lens.extend(messages.map(|message| message.bytes));
        if self.lens.is_empty() { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    fn pour(&mut self, bytes: &[u8]) -> nix::Result<usize> {
        let mut frames: [[IoSlice<'_>; 1]; BURST] = std::array::from_fn(|_| [IoSlice::new(&[])]);
        let mut count = 0;
        let mut rest = bytes;
        while let (Some(slot), Some((head, more))) = (frames.get_mut(count), rest.split_first_chunk()) {
            let (frame, behind) = more.split_at(u32::from_be_bytes(*head) as usize);
            *slot = [IoSlice::new(frame)];
            (rest, count) = (behind, count + 1);
        }
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, frames[..count].iter(), [None::<()>; BURST], [], FLAGS);
        self.is_gone |= matches!(sent, Err(Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN));
        let sent = sent?;
        Ok(frames.iter().take(sent.count()).map(|[frame]| PREFIX_LEN + frame.len()).sum())
    }
}
