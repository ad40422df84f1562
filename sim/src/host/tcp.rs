//! TCP for programs: streams and listeners.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::socket::tcp;
use smoltcp::wire::IpListenEndpoint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Host;

/// Bytes that a connection buffers in each direction.
const BUFFER_LEN: usize = 64 << 10;

/// How many connections may wait to be accepted.
const BACKLOG: usize = 8;

/// After how long without an answer a connection is given up.
pub const TCP_TIMEOUT: Duration = Duration::from_secs(30);

type Held = super::held::Held<tcp::Socket<'static>>;

fn new_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_LEN]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_timeout(Some(smoltcp::time::Duration::from_micros(TCP_TIMEOUT.as_micros() as u64)));
    socket.set_nagle_enabled(false);
    // As real stacks do; without it a queue that overflows never recovers.
    socket.set_congestion_control(tcp::CongestionControl::Reno);
    socket
}

/// A TCP connection. It implements the traits of `tokio::io`, and closes when it is dropped.
#[derive(Debug)]
pub struct TcpStream {
    held: Held,
    peer: SocketAddr,
}

impl TcpStream {
    /// The other end's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Ends the connection at once, by a reset.
    pub fn abort(&self) {
        if self.held.with(tcp::Socket::abort).is_ok() {
            self.held.nudge();
        }
    }

    fn closed() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionReset, "the connection was reset or timed out")
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = self.held.with(|socket| {
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !socket.can_recv() && socket.may_recv() {
                socket.register_recv_waker(context.waker());
                return Poll::Pending;
            }
            let received = socket.recv(|bytes| {
                let len = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..len]);
                (len, ())
            });
            match received {
                Ok(()) | Err(tcp::RecvError::Finished) => Poll::Ready(Ok(())),
                Err(tcp::RecvError::InvalidState) => Poll::Ready(Err(TcpStream::closed())),
            }
        })?;
        if polled.is_ready() {
            self.held.nudge(); // the window has opened
        }
        polled
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.held.with(|socket| {
            if !socket.can_send() && socket.may_send() {
                socket.register_send_waker(context.waker());
                return Poll::Pending;
            }
            Poll::Ready(socket.send_slice(bytes).map_err(|_| TcpStream::closed()))
        })?;
        if polled.is_ready() {
            self.held.nudge();
        }
        polled
    }

    /// Waits until the other end has acknowledged everything.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.with(|socket| {
            if socket.send_queue() == 0 {
                Poll::Ready(Ok(()))
            } else if socket.state() == tcp::State::Closed {
                Poll::Ready(Err(TcpStream::closed()))
            } else {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
        })?
    }

    /// Sends everything that was written, and that nothing will follow.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.with(tcp::Socket::close)?;
        self.held.nudge();
        Poll::Ready(Ok(()))
    }
}

/// Waits for connections; see [`Host::listen`].
#[derive(Debug)]
pub struct TcpListener {
    host: Host,
    port: u16,
    waiting: Vec<Held>,
}

impl TcpListener {
    /// The next connection.
    pub async fn accept(&mut self) -> io::Result<TcpStream> {
        let place = poll_fn(|context| self.poll_accept(context)).await?;
        let held = std::mem::replace(&mut self.waiting[place], listening(&self.host, self.port)?);
        let peer = held.with(|socket| socket.remote_endpoint())?;
        let peer =
            peer.map(|peer| SocketAddr::new(peer.addr.into(), peer.port)).ok_or_else(TcpStream::closed)?;
        Ok(TcpStream { held, peer })
    }

    /// The place of a socket that is connected.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        for place in 0..self.waiting.len() {
            let state = self.waiting[place].with(|socket| {
                socket.register_recv_waker(context.waker());
                socket.state()
            })?;
            match state {
                tcp::State::Established | tcp::State::CloseWait => return Poll::Ready(Ok(place)),
                tcp::State::Listen | tcp::State::SynReceived => {}
                // It came to nothing before anyone asked for it.
                _ => self.waiting[place] = listening(&self.host, self.port)?,
            }
        }
        Poll::Pending
    }
}

fn listening(host: &Host, port: u16) -> io::Result<Held> {
    let held = Held::new(host, &mut host.0.inner.borrow_mut(), new_socket());
    let listened = held.with(|socket| socket.listen(IpListenEndpoint::from(port)))?;
    listened.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(held)
}

impl Host {
    /// Waits for TCP connections to this port, on all addresses.
    ///
    /// # Errors
    ///
    /// If the port is 0.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let waiting = (0..BACKLOG).map(|_| listening(self, port)).collect::<io::Result<_>>()?;
        Ok(TcpListener { host: self.clone(), port, waiting })
    }

    /// Connects to a port of a rank.
    ///
    /// # Errors
    ///
    /// If it is refused, or there is no answer for [`TCP_TIMEOUT`].
    pub async fn connect(&self, rank: u32, port: u16) -> io::Result<TcpStream> {
        self.connect_to(self.socket_address_of(rank, port)).await
    }

    /// Connects to a port of an address.
    ///
    /// # Errors
    ///
    /// If it is refused, or there is no answer for [`TCP_TIMEOUT`].
    pub async fn connect_to(&self, peer: SocketAddr) -> io::Result<TcpStream> {
        self.find(peer.ip()).await;
        let held = self.begin_connect(peer)?;
        self.nudge();
        poll_fn(|context| {
            held.with(|socket| match socket.state() {
                tcp::State::SynSent | tcp::State::SynReceived => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
                tcp::State::Closed => Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::ConnectionRefused,
                    format!("no connection to {peer}: refused, or no answer"),
                ))),
                _ => Poll::Ready(Ok(())),
            })?
        })
        .await?;
        Ok(TcpStream { held, peer })
    }

    fn begin_connect(&self, peer: SocketAddr) -> io::Result<Held> {
        let (held, local) = {
            let mut inner = self.0.inner.borrow_mut();
            let local = inner.take_port();
            (Held::new(self, &mut inner, new_socket()), local)
        };
        let connected = held.with_stack(|stack, handle| {
            let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
            socket.connect(stack.interface.context(), (peer.ip(), peer.port()), local)
        })?;
        connected.map_err(|error| io::Error::new(io::ErrorKind::AddrNotAvailable, error))?;
        Ok(held)
    }
}
