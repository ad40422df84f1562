//! Messages in parts, and with descriptors that nobody wants.

use std::io::{IoSlice, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, sendmsg};

use super::*;

fn pair() -> (Control, UnixStream) {
    let (ours, theirs) = super::super::pair().unwrap();
    (Control::new(ours), theirs.into())
}

fn message(request: &Request) -> Vec<u8> {
    let payload = request.payload();
    let payload_len = u32::try_from(payload.len()).unwrap();
    let header = Header { request: request.code(), is_reply: false, needs_reply: false, payload_len };
    [&header.write(), &payload[..]].concat()
}

fn send_with(socket: &UnixStream, message: &[u8], fds: &[RawFd]) {
    let rights = [ControlMessage::ScmRights(fds)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], &rights, MsgFlags::empty(), None);
    assert_eq!(sent, Ok(message.len()));
}

/// A pipe of which the other end shows whether all copies of this one are closed.
fn pipe() -> (OwnedFd, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    other.set_nonblocking(true).unwrap();
    (one.into(), other)
}

fn is_closed(other: &UnixStream) -> bool {
    std::io::Read::read(&mut &*other, &mut [0]).is_ok_and(|octets| octets == 0)
}

#[test]
fn a_message_arrives_octet_by_octet() {
    let (mut control, mut socket) = pair();
    let request = Request::SetFeatures(0x1234_5678_9abc);
    for octet in message(&request) {
        assert!(control.receive().unwrap().is_none());
        socket.write_all(&[octet]).unwrap();
    }
    assert_eq!(control.receive().unwrap().unwrap().request, Ok(request));
    assert!(control.receive().unwrap().is_none());
}

#[test]
fn messages_back_to_back_are_told_apart_with_their_descriptors() {
    let (mut control, socket) = pair();
    let ring_fd = |ring| super::super::messages::RingFd { ring, has_fd: true };
    let requests = [Request::SetVringKick(ring_fd(0)), Request::SetOwner, Request::SetVringCall(ring_fd(1))];
    let (one, other) = pipe();
    for request in &requests {
        let fds = [one.as_raw_fd()];
        send_with(&socket, &message(request), &fds[..request.fds()]);
    }
    drop(one);
    for request in requests {
        let message = control.receive().unwrap().unwrap();
        assert_eq!(message.fds.len(), request.fds());
        assert_eq!(message.request, Ok(request));
    }
    assert!(is_closed(&other));
}

#[test]
fn descriptors_of_a_message_that_never_ends_are_closed_with_the_socket() {
    let (mut control, socket) = pair();
    let (one, other) = pipe();
    send_with(&socket, &message(&Request::SetFeatures(1))[..15], &[one.as_raw_fd()]);
    drop((one, socket));
    assert!(matches!(control.receive(), Err(ControlError::Closed)));
    assert!(!is_closed(&other));
    drop(control);
    assert!(is_closed(&other));
}

#[test]
fn more_descriptors_than_any_message_has_end_the_stream() {
    let (mut control, socket) = pair();
    let (one, other) = pipe();
    // As many as the kernel passes at all.
    send_with(&socket, &message(&Request::SetOwner), &[one.as_raw_fd(); 253]);
    drop(one);
    assert!(matches!(control.receive(), Err(ControlError::Fds(253))));
    drop(control);
    assert!(is_closed(&other));
}

#[test]
fn a_front_end_that_does_not_read_its_replies_does_not_stop_us() {
    let (control, socket) = pair();
    let mut replies = 0;
    let end = loop {
        match control.reply(1, &[0; 8]) {
            Ok(()) => replies += 1,
            Err(end) => break end,
        }
        assert!(replies < 1_000_000);
    };
    assert_eq!(end, ControlError::Deaf);
    assert!(replies > 10);
    drop(socket);
    assert_eq!(control.reply(1, &[0; 8]), Err(ControlError::Closed));
}
