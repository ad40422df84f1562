//! A program's hold on a socket of its host's stack.

use std::io;
use std::marker::PhantomData;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::{AnySocket, icmp, tcp, udp};

use super::stack::Stack;
use super::{Host, Inner};

/// How a kind of socket ends when its program lets it go.
pub(super) trait Kind: AnySocket<'static> {
    fn end(stack: &mut Stack, handle: SocketHandle);
}

impl Kind for tcp::Socket<'static> {
    fn end(stack: &mut Stack, handle: SocketHandle) {
        stack.close(handle);
    }
}

impl Kind for udp::Socket<'static> {
    fn end(stack: &mut Stack, handle: SocketHandle) {
        stack.drain(handle);
    }
}

impl Kind for icmp::Socket<'static> {
    fn end(stack: &mut Stack, handle: SocketHandle) {
        stack.sockets.remove(handle);
    }
}

/// A socket of one life of a host. After a crash it is gone, whoever still holds it.
#[derive(Debug)]
pub(super) struct Held<S: Kind> {
    pub(super) host: Host,
    life: u64,
    handle: SocketHandle,
    kind: PhantomData<S>,
}

impl<S: Kind> Held<S> {
    /// Gives a socket to a host's stack.
    pub(super) fn new(host: &Host, inner: &mut Inner, socket: S) -> Held<S> {
        let handle = inner.stack.sockets.add(socket);
        Held { host: host.clone(), life: inner.life, handle, kind: PhantomData }
    }

    /// Works with the socket.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut S) -> R) -> io::Result<R> {
        self.with_stack(|stack, handle| work(stack.sockets.get_mut(handle)))
    }

    /// Works with the socket's stack.
    pub(super) fn with_stack<R>(&self, work: impl FnOnce(&mut Stack, SocketHandle) -> R) -> io::Result<R> {
        let mut inner = self.host.0.inner.borrow_mut();
        if inner.life != self.life {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the host has crashed"));
        }
        Ok(work(&mut inner.stack, self.handle))
    }

    /// The stack has something to do now.
    pub(super) fn nudge(&self) {
        self.host.nudge();
    }
}

impl<S: Kind> Drop for Held<S> {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.host.0.inner.try_borrow_mut()
            && inner.life == self.life
        {
            S::end(&mut inner.stack, self.handle);
            drop(inner);
            self.nudge();
        }
    }
}
