//! The control socket as a front end uses it: requests out, replies awaited.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::super::messages::{HEADER_LEN, Header, Request};
use super::FrontError;

/// The socket to a back end. Waits for replies.
#[derive(Debug)]
pub(in super::super) struct Session {
    socket: UnixStream,
}

impl Session {
    pub(super) fn new(socket: OwnedFd) -> Session {
        Session { socket: UnixStream::from(socket) }
    }

    /// Tells something.
    pub(in super::super) fn tell(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), FrontError> {
        self.send(request, fds, false)
    }

    /// Tells something and waits until it is done.
    pub(in super::super) fn command(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), FrontError> {
        self.send(request, fds, true)?;
        match self.reply(request)? {
            0 => Ok(()),
            _ => Err(FrontError::Refused(request.code())),
        }
    }

    /// Asks for a number.
    pub(in super::super) fn ask(&mut self, request: &Request) -> Result<u64, FrontError> {
        self.send(request, &[], false)?;
        self.reply(request)
    }

    /// Sends octets as they are.
    pub(in super::super) fn send_raw(
        &self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), FrontError> {
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
        let slices = [io::IoSlice::new(message)];
        let fd = self.socket.as_fd().as_raw_fd();
        let sent = sendmsg::<()>(fd, &slices, rights, MsgFlags::MSG_NOSIGNAL, None);
        match sent.map_err(io::Error::from)? {
            sent if sent == message.len() => Ok(()),
            _ => Err(FrontError::Socket(io::ErrorKind::WriteZero.into())),
        }
    }

    fn send(&self, request: &Request, fds: &[BorrowedFd<'_>], needs_reply: bool) -> Result<(), FrontError> {
        let payload = request.payload();
        let payload_len = u32::try_from(payload.len()).expect("requests are short");
        let header = Header { request: request.code(), is_reply: false, needs_reply, payload_len };
        self.send_raw(&[&header.write(), &payload[..]].concat(), fds)
    }

    /// All replies that are read here have eight octets; the number of a ring's state is in the later half.
    fn reply(&mut self, request: &Request) -> Result<u64, FrontError> {
        let mut bytes = [0; HEADER_LEN + 8];
        self.socket.read_exact(&mut bytes)?;
        let (head, payload) = bytes.split_first_chunk().expect("a header is in front");
        let header = Header::read(head).map_err(|_| FrontError::Reply)?;
        if !header.is_reply || header.request != request.code() || header.payload_len != 8 {
            return Err(FrontError::Reply);
        }
        let number = u64::from_ne_bytes(payload.try_into().expect("eight octets follow"));
        if let Request::VringBase { .. } = request {
            let state = number.to_ne_bytes();
            return Ok(u64::from(u32::from_ne_bytes(state[4..].try_into().expect("four octets"))));
        }
        Ok(number)
    }
}
