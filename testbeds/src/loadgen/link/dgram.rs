//! Frames as datagrams, many per system call.

use std::{
    collections::VecDeque,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg},
};

use super::{LinkError, Sent, WAITING, stream::send_some};
use crate::loadgen::{
    burst::{Burst, DATAGRAMS},
    frame::MAX_FRAME,
};

/// One end of a datagram link.
#[derive(Debug)]
pub struct DgramLink {
    socket: OwnedFd,
    read: Vec<u8>,
    headers_in: MultiHeaders<()>,
    headers_out: MultiHeaders<()>,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
}

impl DgramLink {
    pub(super) fn new(socket: OwnedFd) -> DgramLink {
        DgramLink {
            socket,
            read: vec![0; DATAGRAMS * MAX_FRAME],
            headers_in: MultiHeaders::preallocate(DATAGRAMS, None),
            headers_out: MultiHeaders::preallocate(DATAGRAMS, None),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<usize, LinkError> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.read.chunks_exact_mut(MAX_FRAME).map(|chunk| [IoSliceMut::new(chunk)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(self.socket.as_raw_fd(), &mut self.headers_in, slices.iter_mut(), flags, None) {
            Ok(received) => {
                let mut frames = 0;
                for datagram in received {
                    // An empty datagram has no slice.
                    each(datagram.iovs().next().unwrap_or_default());
                    frames += 1;
                }
                Ok(frames)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(Errno::ECONNRESET | Errno::ENOTCONN) => Err(LinkError::Closed),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn push(&mut self, burst: &mut Burst) -> Result<Sent, LinkError> {
        while !burst.gone() {
            let slices: Vec<[IoSlice<'_>; 1]> =
                burst.datagrams_rest().take(DATAGRAMS).map(|frame| [IoSlice::new(frame)]).collect();
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let to = [const { None }; DATAGRAMS];
            let fd = self.socket.as_raw_fd();
            let sent = match sendmmsg(fd, &mut self.headers_out, slices.iter(), to, [], flags) {
                Ok(sent) => sent.count(),
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => return Ok(Sent::NoRoom),
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => {
                    return Err(LinkError::Closed);
                }
                Err(error) => return Err(error.into()),
            };
            drop(slices);
            burst.datagrams_sent(sent);
        }
        Ok(Sent::All)
    }

    pub(super) fn queue(&mut self, frame: &[u8]) {
        if self.waiting_bytes + frame.len() <= WAITING {
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame.to_vec());
        }
    }

    pub(super) fn flush(&mut self) -> Result<Sent, LinkError> {
        while let Some(frame) = self.waiting.front() {
            if send_some(self.socket.as_fd(), frame)? == 0 {
                return Ok(Sent::NoRoom);
            }
            self.waiting_bytes -= frame.len();
            self.waiting.pop_front();
        }
        Ok(Sent::All)
    }

    pub(super) fn push_raw(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        send_some(self.socket.as_fd(), bytes)
    }
}
