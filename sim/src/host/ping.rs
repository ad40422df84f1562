//! ICMP echo for programs, over IPv4 and IPv6.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};

use super::held::Held;
use super::{Elapsed, Host};

/// Why a ping came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// There was no answer in time.
    #[error("no answer to a ping of {to} within {limit:?}")]
    NoAnswer {
        /// Who was asked.
        to: IpAddr,
        /// How long was waited.
        limit: Duration,
    },
    /// The host has no address from which it could be sent.
    #[error("{0} cannot be pinged from here")]
    Unaddressable(IpAddr),
}

/// What is sent along, as long as what ping(8) sends.
const PAYLOAD: &[u8] = &[0x2a; 56];

/// The types of echo replies (RFC 792, RFC 4443 §4.2).
const ECHO_REPLIES: [u8; 2] = [0, 129];

/// An ICMP socket with an identifier of its own.
struct Socket {
    held: Held<icmp::Socket<'static>>,
    ident: u16,
}

impl Host {
    /// Sends one ICMP echo request and waits for its answer. Returns the round-trip time.
    ///
    /// # Errors
    ///
    /// If there is no answer within `limit`.
    pub async fn ping(&self, to: IpAddr, limit: Duration) -> Result<Duration, PingError> {
        let socket = self.ping_socket();
        self.find(to).await;
        let sent = self.now();
        socket.send(to).map_err(|_| PingError::Unaddressable(to))?;
        self.nudge();
        match self.timeout(limit, poll_fn(|context| socket.poll_answer(context))).await {
            Ok(()) => Ok(self.now().saturating_since(sent)),
            Err(Elapsed(limit)) => Err(PingError::NoAnswer { to, limit }),
        }
    }

    fn ping_socket(&self) -> Socket {
        let mut inner = self.0.inner.borrow_mut();
        let ident = inner.next_ping;
        inner.next_ping = inner.next_ping.wrapping_add(1).max(1);
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 2], vec![0; 256]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        let bound = socket.bind(icmp::Endpoint::Ident(ident));
        debug_assert!(bound.is_ok(), "the identifier is not zero and the socket is new");
        Socket { held: Held::new(self, &mut inner, socket), ident }
    }
}

impl Socket {
    fn send(&self, to: IpAddr) -> Result<(), icmp::SendError> {
        let sent = self.held.with_stack(|stack, handle| {
            let source = stack.interface.get_source_address(&IpAddress::from(to));
            let source = source.ok_or(icmp::SendError::Unaddressable)?;
            self.emit(stack.sockets.get_mut(handle), source, to.into())
        });
        sent.map_err(|_| icmp::SendError::Unaddressable)?
    }

    fn emit(
        &self,
        socket: &mut icmp::Socket<'static>,
        source: IpAddress,
        target: IpAddress,
    ) -> Result<(), icmp::SendError> {
        let checksums = ChecksumCapabilities::default();
        let (ident, seq_no, data) = (self.ident, 1, PAYLOAD);
        match (source, target) {
            (IpAddress::Ipv6(source), IpAddress::Ipv6(to)) => {
                let request = Icmpv6Repr::EchoRequest { ident, seq_no, data };
                let bytes = socket.send(request.buffer_len(), target)?;
                request.emit(&source, &to, &mut Icmpv6Packet::new_unchecked(bytes), &checksums);
            }
            _ => {
                let request = Icmpv4Repr::EchoRequest { ident, seq_no, data };
                let bytes = socket.send(request.buffer_len(), target)?;
                request.emit(&mut Icmpv4Packet::new_unchecked(bytes), &checksums);
            }
        }
        Ok(())
    }

    /// What comes with this socket's identifier is the answer, unless it is another host's question.
    fn poll_answer(&self, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.held.with(|socket| {
            while let Ok((packet, _)) = socket.recv() {
                if packet.first().is_some_and(|kind| ECHO_REPLIES.contains(kind)) {
                    return Poll::Ready(());
                }
            }
            socket.register_recv_waker(context.waker());
            Poll::Pending
        });
        // When the host has crashed, the program goes with it.
        polled.unwrap_or(Poll::Pending)
    }
}
