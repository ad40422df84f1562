//! UDP for programs.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use smoltcp::socket::udp;

use super::Host;
use super::held::Held;

/// Datagrams that may wait in each direction.
const DATAGRAMS: usize = 64;
/// Bytes that may wait in each direction.
const BUFFER_LEN: usize = 64 << 10;

/// A UDP socket; see [`Host::bind_udp`]. What it was given is sent even if it is dropped then.
#[derive(Debug)]
pub struct UdpSocket(Held<udp::Socket<'static>>);

impl UdpSocket {
    /// Sends a datagram. It waits while the socket's queue is full.
    ///
    /// # Errors
    ///
    /// If it is larger than the queue, or the address cannot be sent to.
    pub async fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<()> {
        self.0.host.find(peer.ip()).await;
        poll_fn(|context| self.poll_send(context, bytes, peer)).await?;
        self.0.nudge();
        Ok(())
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8], peer: SocketAddr) -> Poll<io::Result<()>> {
        self.0.with(|socket| {
            if bytes.len() > BUFFER_LEN {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            match socket.send_slice(bytes, (peer.ip(), peer.port())) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(udp::SendError::BufferFull) => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::AddrNotAvailable, error))),
            }
        })?
    }

    /// The next datagram, cut off at the buffer's end, and who sent it.
    ///
    /// # Errors
    ///
    /// If the host has crashed.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|context| {
            self.0.with(|socket| match socket.recv() {
                Ok((bytes, meta)) => {
                    let len = bytes.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&bytes[..len]);
                    let peer = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
                    Poll::Ready(Ok((len, peer)))
                }
                Err(_) => {
                    socket.register_recv_waker(context.waker());
                    Poll::Pending
                }
            })?
        })
        .await
    }
}

impl Host {
    /// Binds a UDP socket to a port of all addresses; 0 takes one that is free.
    ///
    /// # Errors
    ///
    /// None so far; a socket may yet be refused.
    pub fn bind_udp(&self, port: u16) -> io::Result<UdpSocket> {
        let mut inner = self.0.inner.borrow_mut();
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; DATAGRAMS], vec![0; BUFFER_LEN]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        let port = if port == 0 { inner.take_port() } else { port };
        socket.bind(port).map_err(|error| io::Error::new(io::ErrorKind::AddrInUse, error))?;
        Ok(UdpSocket(Held::new(self, &mut inner, socket)))
    }
}
