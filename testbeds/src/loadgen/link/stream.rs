//! Frames on a stream socket: a 4-byte big-endian length, then the frame, as qemu's `net/stream.c` has it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
};

use super::{LinkError, Sent, WAITING};
use crate::loadgen::{burst::Burst, frame::MAX_FRAME};

/// What one read may bring.
const READ: usize = 256 << 10;

/// One end of a stream.
#[derive(Debug)]
pub struct StreamLink {
    socket: OwnedFd,
    /// What was read; `held` bytes of it are the beginning of a frame.
    read: Vec<u8>,
    held: usize,
    waiting: Vec<u8>,
    gone: usize,
}

impl StreamLink {
    pub(super) fn new(socket: OwnedFd) -> StreamLink {
        StreamLink { socket, read: vec![0; MAX_FRAME + 4 + READ], held: 0, waiting: Vec::new(), gone: 0 }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<usize, LinkError> {
        let room = self.held..self.held + READ;
        let end = match recv(self.socket.as_raw_fd(), &mut self.read[room], MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(LinkError::Closed),
            Ok(count) => self.held + count,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut frames = 0;
        let mut at = 0;
        while let Some(head) = self.read[at..end].first_chunk::<4>() {
            let len = u32::from_be_bytes(*head);
            if len as usize > MAX_FRAME {
                return Err(LinkError::BadLength(len));
            }
            let Some(frame) = self.read[at + 4..end].get(..len as usize) else { break };
            each(frame);
            frames += 1;
            at += 4 + len as usize;
        }
        self.read.copy_within(at..end, 0);
        self.held = end - at;
        Ok(frames)
    }

    pub(super) fn push(&mut self, burst: &mut Burst) -> Result<Sent, LinkError> {
        while !burst.gone() {
            match self.push_raw(burst.stream_rest())? {
                0 => return Ok(Sent::NoRoom),
                count => burst.stream_sent(count),
            }
        }
        Ok(Sent::All)
    }

    pub(super) fn queue(&mut self, frame: &[u8]) {
        if self.waiting.len() + frame.len() <= WAITING {
            self.waiting.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            self.waiting.extend_from_slice(frame);
        }
    }

    pub(super) fn flush(&mut self) -> Result<Sent, LinkError> {
        while self.gone < self.waiting.len() {
            match send_some(self.socket.as_fd(), &self.waiting[self.gone..])? {
                0 => return Ok(Sent::NoRoom),
                count => self.gone += count,
            }
        }
        self.waiting.clear();
        self.gone = 0;
        Ok(Sent::All)
    }

    pub(super) fn push_raw(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        send_some(self.socket.as_fd(), bytes)
    }
}

/// As many bytes as there is room for.
pub(super) fn send_some(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, LinkError> {
    match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(count) => Ok(count),
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(0),
        Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => {
            Err(LinkError::Closed)
        }
        Err(error) => Err(error.into()),
    }
}
