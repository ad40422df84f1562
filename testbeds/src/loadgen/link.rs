//! The generator's end of qemu's stream, dgram or vhost-user netdev, never blocking: bursts out, frames in.

mod dgram;
mod stream;
mod vhost_user;

use std::{
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, Instant},
};

use mvpnet_qemu_driver::links::vhost_user::front::FrontError;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, bind, connect, shutdown, socket},
        time::TimeSpec,
    },
};
use thiserror::Error;

use self::{dgram::DgramLink, stream::StreamLink, vhost_user::VhostUserLink};
use super::{argv::Attachment, burst::Burst, inherited, stop::Stop};

/// How long to try to reach the other end of a link that is named by paths.
const CONNECT: Duration = Duration::from_secs(10);

/// Control frames that may wait for room; what comes on top is not sent.
const WAITING: usize = 1 << 20;

/// Why a link ended.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum LinkError {
    #[error("the other end closed the link")]
    Closed,
    #[error("the other end sent a frame of {0} bytes on the stream, over the limit of 69632")]
    BadLength(u32),
    #[error("the link failed: {0}")]
    Failed(#[from] Errno),
    #[error("cannot open the link: {0}")]
    Open(#[from] io::Error),
    #[error("cannot open the link: {0}")]
    Front(#[from] FrontError),
    #[error("a link of kind {0} carries no packets that are still to be cut into segments")]
    NoSegments(&'static str),
}

/// Whether something went out whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    All,
    /// There is no room at the moment.
    NoRoom,
}

/// One end of a guest's link.
#[derive(Debug)]
pub enum Link {
    /// A length and a frame, over and over.
    Stream(StreamLink),
    /// One frame per datagram.
    Dgram(DgramLink),
    /// Rings in a memory of our own.
    VhostUser(Box<VhostUserLink>),
}

impl Link {
    /// Opens what the argument list names; what it names by path is waited for.
    pub fn open(attachment: &Attachment) -> Result<Link, LinkError> {
        Ok(match attachment {
            Attachment::StreamFd(number) => Link::stream(inherited::take(*number)?),
            Attachment::DgramFd(number) => Link::dgram(inherited::take(*number)?),
            Attachment::StreamPath(path) => {
                Link::stream(retry(|| UnixStream::connect(path)).map(OwnedFd::from)?)
            }
            Attachment::DgramPaths { local, remote } => Link::dgram(dgram_between(local, remote)?),
            Attachment::VhostUser { path, ring_size } => {
                let control = retry(|| UnixStream::connect(path))?;
                Link::VhostUser(Box::new(VhostUserLink::new(control, *ring_size)?))
            }
        })
    }

    /// Over a connected stream socket.
    pub fn stream(socket: OwnedFd) -> Link {
        Link::Stream(StreamLink::new(socket))
    }

    /// Over a connected datagram socket.
    pub fn dgram(socket: OwnedFd) -> Link {
        Link::Dgram(DgramLink::new(socket))
    }

    /// The kind's name as `--net` has it.
    pub fn name(&self) -> &'static str {
        match self {
            Link::Stream(_) => "stream",
            Link::Dgram(_) => "dgram",
            Link::VhostUser(_) => "vhost-user",
        }
    }

    /// Reads once and hands over every whole frame; how many that were.
    pub fn receive(&mut self, each: impl FnMut(&[u8])) -> Result<usize, LinkError> {
        match self {
            Link::Stream(link) => link.receive(each),
            Link::Dgram(link) => link.receive(each),
            Link::VhostUser(link) => link.receive(each),
        }
    }

    /// Sends as much of the burst as there is room for.
    pub fn push(&mut self, burst: &mut Burst) -> Result<Sent, LinkError> {
        match self {
            Link::Stream(link) => link.push(burst),
            Link::Dgram(link) => link.push(burst),
            Link::VhostUser(link) => link.push(burst),
        }
    }

    /// Lets a frame wait for the next [`Link::flush`].
    pub fn queue(&mut self, frame: &[u8]) {
        match self {
            Link::Stream(link) => link.queue(frame),
            Link::Dgram(link) => link.queue(frame),
            Link::VhostUser(link) => link.queue(frame),
        }
    }

    /// Sends what waits. Not in the middle of a burst.
    pub fn flush(&mut self) -> Result<Sent, LinkError> {
        match self {
            Link::Stream(link) => link.flush(),
            Link::Dgram(link) => link.flush(),
            Link::VhostUser(link) => link.flush(),
        }
    }

    /// Sends these very bytes, unframed on stream, as one frame elsewhere; returns how many went.
    pub fn push_raw(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        match self {
            Link::Stream(link) => link.push_raw(bytes),
            Link::Dgram(link) => link.push_raw(bytes),
            Link::VhostUser(link) => Ok(link.push_raw(bytes)),
        }
    }

    /// Closes the link for good, both ways.
    pub fn close(&mut self) -> Result<(), LinkError> {
        Ok(shutdown(self.socket().as_raw_fd(), Shutdown::Both)?)
    }

    /// Waits until there is something to read, or room to write if that is asked for, or the time is over, or stop
    /// was said.
    pub fn wait(&mut self, stop: &Stop, for_room: bool, at_most: Option<Duration>) -> Result<(), LinkError> {
        if let Link::VhostUser(link) = self {
            return link.wait(stop, for_room, at_most);
        }
        let room = if for_room { PollFlags::POLLOUT } else { PollFlags::empty() };
        wait_on(self.socket(), PollFlags::POLLIN | room, stop, at_most)
    }

    /// Whether packets can be sent that the receiver cuts into segments.
    pub fn takes_segments(&self) -> Result<(), LinkError> {
        if matches!(self, Link::VhostUser(_)) { Ok(()) } else { Err(LinkError::NoSegments(self.name())) }
    }

    /// Waits without looking at the link.
    pub fn rest(&self, stop: &Stop, at_most: Option<Duration>) -> Result<(), LinkError> {
        let mut bell = [PollFd::new(stop.doorbell(), PollFlags::POLLIN)];
        polled(ppoll(&mut bell, at_most.map(TimeSpec::from), None))
    }

    fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Link::Stream(link) => link.socket(),
            Link::Dgram(link) => link.socket(),
            Link::VhostUser(link) => link.control(),
        }
    }
}

fn wait_on(
    socket: BorrowedFd<'_>,
    flags: PollFlags,
    stop: &Stop,
    at_most: Option<Duration>,
) -> Result<(), LinkError> {
    let mut fds = [PollFd::new(socket, flags), PollFd::new(stop.doorbell(), PollFlags::POLLIN)];
    polled(ppoll(&mut fds, at_most.map(TimeSpec::from), None))
}

fn polled(result: nix::Result<i32>) -> Result<(), LinkError> {
    match result {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn dgram_between(local: &Path, remote: &Path) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // qemu removes what it finds at its own path as well.
    let _ = std::fs::remove_file(local);
    bind(socket.as_raw_fd(), &UnixAddr::new(local)?)?;
    let remote = UnixAddr::new(remote)?;
    retry(|| Ok(connect(socket.as_raw_fd(), &remote)?))?;
    Ok(socket)
}

/// Until the other end is there.
#[allow(clippy::disallowed_methods, reason = "a generator is a program of its own, with a wall clock")]
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < CONNECT => std::thread::sleep(Duration::from_millis(20)),
            result => return result,
        }
    }
}
