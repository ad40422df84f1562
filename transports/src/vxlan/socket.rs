//! The sockets of a VTEP: the one that listens, and those that send.
//!
//! Receiving is quinn-udp's: many datagrams in one call (recvmmsg(2)), each perhaps several that the kernel
//! has put together (udp(7), UDP_GRO). Sending is not: quinn-udp sends from one contiguous buffer, and frames that
//! are passed on lie where they arrived.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{self as sys, sockopt};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, MsgHdr, Protocol, Socket, Type};
use thiserror::Error;

use super::entropy::SOURCE_PORTS;

mod trouble;

pub(super) use trouble::{Rumour, Trouble};

/// Datagrams, or groups of them, that one call receives.
pub(super) const BATCH: usize = quinn_udp::BATCH_SIZE;

/// Source ports that are tried before the search ends.
const MAX_TRIES: u32 = 200;

sockopt_impl!(MtuDiscoverV4, SetOnly, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int);
sockopt_impl!(MtuDiscoverV6, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int);
sockopt_impl!(MtuV6, GetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU, libc::c_int);
sockopt_impl!(AcceptUnsummedV6, SetOnly, libc::SOL_UDP, libc::UDP_NO_CHECK6_RX, bool);
sockopt_impl!(Memory, GetOnly, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; 9]);

/// Where `SO_MEMINFO` has the datagrams that were dropped for want of room (`SK_MEMINFO_DROPS`,
/// `include/uapi/linux/sock_diag.h`).
const DROPS: usize = 8;

/// Why the VXLAN port could not be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody has the port.
    #[error(
        "UDP port {} of {} is taken, by a VXLAN interface of the kernel or by another program: choose another \
         port with `--vxlan-port`, the same at both ends, or another address of this host with `--listen`",
        listen.port(),
        listen.ip()
    )]
    Taken {
        /// What was to be bound.
        listen: SocketAddr,
    },
    /// The address is not one of this host.
    #[error("{} is no address of this host: choose one with `--listen`, or leave it out for all of them", listen.ip())]
    NotHere {
        /// What was to be bound.
        listen: SocketAddr,
    },
    /// Ports below 1024 belong to root.
    #[error("UDP port {} is not for ordinary users: choose one from 1024 on with `--vxlan-port`", listen.port())]
    NotAllowed {
        /// What was to be bound.
        listen: SocketAddr,
    },
    /// Something else failed.
    #[error("cannot listen on UDP {listen}: {source}")]
    Failed {
        /// What was to be bound.
        listen: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn new(listen: SocketAddr, source: io::Error) -> BindError {
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken { listen },
            io::ErrorKind::AddrNotAvailable => BindError::NotHere { listen },
            io::ErrorKind::PermissionDenied => BindError::NotAllowed { listen },
            _ => BindError::Failed { listen, source },
        }
    }
}

/// A socket bound to `listen`, with a receive buffer of as many bytes as it may have, up to `buffer`.
/// `is_shared` lets further sockets of this user bind the same (`SO_REUSEPORT`).
pub(super) fn bind(listen: SocketAddr, buffer: usize, is_shared: bool) -> Result<UdpSocket, BindError> {
    let open = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_ipv6() {
            // All addresses of a host are those of IPv4, too; bindv6only may say otherwise.
            socket.set_only_v6(false)?;
            // RFC 7348 §5: a zero checksum is accepted, over IPv6 as well (RFC 6935 §5).
            sys::setsockopt(&socket, AcceptUnsummedV6, &true)?;
        }
        socket.set_reuse_port(is_shared)?;
        // With the privilege it may exceed net.core.rmem_max, without it ends there.
        if sys::setsockopt(&socket, sockopt::RcvBufForce, &buffer).is_err() {
            sys::setsockopt(&socket, sockopt::RcvBuf, &buffer)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| BindError::new(listen, source))
}

/// The socket on the VXLAN port.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

impl Listener {
    /// `gro` says whether the kernel may put datagrams together.
    pub fn new(socket: UdpSocket, gro: bool) -> io::Result<Listener> {
        let state = UdpSocketState::new((&socket).into())?;
        if !gro {
            sys::setsockopt(&socket, sockopt::UdpGroSegment, &false)?;
        }
        let address = socket.local_addr()?;
        // quinn-udp asks with every datagram for what a VTEP has no use for.
        sys::setsockopt(&socket, sockopt::ReceiveTimestampns, &false)?;
        if address.is_ipv4() {
            sys::setsockopt(&socket, sockopt::Ipv4PacketInfo, &false)?;
            sys::setsockopt(&socket, sockopt::IpRecvTos, &false)?;
        } else {
            sys::setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &false)?;
            sys::setsockopt(&socket, sockopt::Ipv6RecvTClass, &false)?;
        }
        Ok(Listener { socket, state, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives into `buffers` what is there. Nothing there is zero.
    pub fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        match self.state.recv((&self.socket).into(), buffers, meta) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// Answers somebody who need not be a peer. What the kernel does not take is lost.
    pub fn answer(&self, to: SocketAddr, bytes: &[u8]) {
        let to = match (self.address, to.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        let _ = self.socket.send_to(bytes, to);
    }

    /// Datagrams that the kernel dropped for want of room in the receive buffer.
    pub fn drops(&self) -> u32 {
        sys::getsockopt(&self.socket, Memory).map_or(0, |memory| memory[DROPS])
    }

    /// Bytes that the receive buffer takes, the kernel's own bookkeeping included.
    pub fn buffer(&self) -> usize {
        sys::getsockopt(&self.socket, sockopt::RcvBuf).unwrap_or(0)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A connected socket with a source port of its own, for a share of the flows to one peer.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Socket,
    is_v4: bool,
}

impl Sender {
    /// A socket from `from` to `peer`. `seed` says where the search for a free source port begins.
    pub fn connect(from: IpAddr, peer: SocketAddr, buffer: usize, seed: u32) -> io::Result<Sender> {
        let is_v4 = peer.is_ipv4();
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if is_v4 {
            // Sets DF, and lets the kernel learn the path MTU (ip(7)).
            sys::setsockopt(&socket, MtuDiscoverV4, &libc::IP_PMTUDISC_DO)?;
            sys::setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            sys::setsockopt(&socket, MtuDiscoverV6, &libc::IPV6_PMTUDISC_DO)?;
            sys::setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        if sys::setsockopt(&socket, sockopt::SndBufForce, &buffer).is_err() {
            sys::setsockopt(&socket, sockopt::SndBuf, &buffer)?;
        }
        bind_source(&socket, local_for(from, is_v4), seed)?;
        socket.connect(&peer.into())?;
        Ok(Sender { socket, is_v4 })
    }

    /// Sends `slices` as one datagram, or as datagrams of `segment` bytes each, the last perhaps shorter.
    pub fn send(&self, slices: &[IoSlice<'_>], segment: Option<u16>) -> Result<(), Trouble> {
        let control = segment.map(trouble::segment_control);
        let mut message = MsgHdr::new().with_buffers(slices);
        if let Some(control) = &control {
            message = message.with_control(control);
        }
        trouble::patiently(|| self.socket.sendmsg(&message, 0).map(|_| ()))
    }

    /// From now on datagrams leave that are longer than what is known of the path, as long as the first link
    /// takes them: for those who want to know it better (ip(7), IP_PMTUDISC_PROBE).
    pub fn ignore_path_mtu(&self) -> io::Result<()> {
        if self.is_v4 {
            sys::setsockopt(&self.socket, MtuDiscoverV4, &libc::IP_PMTUDISC_PROBE)?;
        } else {
            sys::setsockopt(&self.socket, MtuDiscoverV6, &libc::IPV6_PMTUDISC_PROBE)?;
        }
        Ok(())
    }

    /// Receives what the peer sends to this socket's own port.
    pub fn receive(&self, bytes: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(bytes)
    }

    /// The MTU of the path to the peer, as far as the kernel knows it.
    pub fn path_mtu(&self) -> Option<u32> {
        let mtu = if self.is_v4 {
            sys::getsockopt(&self.socket, sockopt::IpMtu)
        } else {
            sys::getsockopt(&self.socket, MtuV6)
        };
        mtu.ok().and_then(|mtu| u32::try_from(mtu).ok())
    }

    /// What routers and the peer have said about what was sent: takes one thing at a time.
    pub fn hear(&self) -> Option<Rumour> {
        trouble::hear(&self.socket)
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address that a socket to a peer of this kind sends from: the one that is listened on, or the route's.
fn local_for(from: IpAddr, is_v4: bool) -> IpAddr {
    match (from.to_canonical(), is_v4) {
        (from @ IpAddr::V4(_), true) | (from @ IpAddr::V6(_), false) => from,
        (_, true) => Ipv4Addr::UNSPECIFIED.into(),
        (_, false) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Binds to a free port of those that RFC 7348 §5 recommends; where none is found, to any.
fn bind_source(socket: &Socket, from: IpAddr, seed: u32) -> io::Result<()> {
    let ports = u32::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
    for step in 0..MAX_TRIES {
        let port = SOURCE_PORTS.start() + ((seed.wrapping_add(step.wrapping_mul(7919))) % ports) as u16;
        match socket.bind(&SocketAddr::new(from, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    socket.bind(&SocketAddr::new(from, 0).into())
}
