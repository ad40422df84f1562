//! The control socket: whole messages with their descriptors in, replies out. Never waits.
//!
//! A message may arrive in parts; what has come of it stays here until the rest does. Descriptors are owned from
//! the moment at which they arrive, so that those that nobody wants are closed.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use super::messages::{HEADER_LEN, Header, MAX_PAYLOAD_LEN, MAX_REGIONS, MessageError, Request};
use super::rights;

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ControlError {
    /// The other end is closed.
    #[error("the front end is gone")]
    Closed,
    /// The framing is lost.
    #[error(transparent)]
    Framing(MessageError),
    /// More than any message has.
    #[error("{0} descriptors with one message")]
    Fds(usize),
    /// The front end asks and does not listen.
    #[error("the front end does not read its replies")]
    Deaf,
    /// The system said so.
    #[error("the control socket: {0}")]
    System(Errno),
}

/// A message, its payload not looked at yet.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: Header,
    pub(super) request: Result<Request, MessageError>,
    pub(super) fds: Vec<OwnedFd>,
}

/// Our end of the socket.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
    /// What has come of a message.
    buffer: Box<[u8]>,
    len: usize,
    fds: Vec<OwnedFd>,
}

impl Control {
    pub(super) fn new(socket: OwnedFd) -> Control {
        let buffer = vec![0; HEADER_LEN + MAX_PAYLOAD_LEN].into_boxed_slice();
        Control { socket, buffer, len: 0, fds: Vec::new() }
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The next message, if all of it has come.
    pub(super) fn receive(&mut self) -> Result<Option<Message>, ControlError> {
        loop {
            let header = match self.buffer[..self.len].first_chunk() {
                Some(header) => Some(Header::read(header).map_err(ControlError::Framing)?),
                None => None,
            };
            let wanted = HEADER_LEN + header.map_or(0, |header| header.payload_len as usize);
            if let Some(header) = header
                && self.len == wanted
            {
                self.len = 0;
                let request = Request::read(header.request, &self.buffer[HEADER_LEN..wanted]);
                return Ok(Some(Message { header, request, fds: std::mem::take(&mut self.fds) }));
            }
            match rights::receive(&self.socket, &mut self.buffer[self.len..wanted], &mut self.fds) {
                Ok(0) | Err(Errno::ECONNRESET) => return Err(ControlError::Closed),
                Ok(octets) => self.len += octets,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(error) => return Err(ControlError::System(error)),
            }
            if self.fds.len() > MAX_REGIONS {
                return Err(ControlError::Fds(self.fds.len()));
            }
        }
    }

    /// Answers a request.
    pub(super) fn reply(&self, request: u32, payload: &[u8]) -> Result<(), ControlError> {
        let payload_len = u32::try_from(payload.len()).expect("replies are short");
        let header = Header { request, is_reply: true, needs_reply: false, payload_len };
        let message = [&header.write(), payload].concat();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.socket.as_raw_fd(), &message, flags) {
            Ok(sent) if sent == message.len() => Ok(()),
            // The socket has room for hundreds, and who asks waits for the answer.
            Ok(_) | Err(Errno::EAGAIN) => Err(ControlError::Deaf),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(ControlError::Closed),
            Err(error) => Err(ControlError::System(error)),
        }
    }
}

#[cfg(test)]
mod tests;
