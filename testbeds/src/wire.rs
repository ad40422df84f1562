//! Raw Ethernet on one interface: what [`pps`](crate::pps) and [`cable`](crate::cable) send and receive with
//! (packet(7)). Only root has it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind, recvmmsg,
    sendmmsg, setsockopt, socket,
};
use nix::{libc, setsockopt_impl, sockopt_impl};
use thiserror::Error;

sockopt_impl!(
    /// Only what comes in is received, not what others or the socket itself send on the interface.
    IgnoreOutgoing,
    SetOnly,
    libc::SOL_PACKET,
    libc::PACKET_IGNORE_OUTGOING,
    bool
);

/// Frames per system call, at most.
pub const BURST: usize = 64;

/// The longest frame: what 802.1Q and 802.1ad tags add to Ethernet with the largest MTU of a veth interface.
pub const MAX_FRAME: usize = 65_535 + 14 + 8;

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Frames are only sent, and the kernel is spared the copies of what comes in.
    Send,
    /// Frames are sent and received.
    Both,
}

/// Why an interface cannot be used.
#[derive(Debug, Error)]
pub enum WireError {
    /// There is none of this name, or it is no Ethernet.
    #[error("there is no Ethernet interface {0} here")]
    NoInterface(String),
    /// The kernel refuses.
    #[error("cannot open {interface}: {source}")]
    Refused {
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// A socket on one interface.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    address: [u8; 6],
}

impl Wire {
    /// Opens an interface of this network namespace. Nothing blocks.
    pub fn open(interface: &str, used: Use) -> Result<Wire, WireError> {
        let refused =
            |errno: Errno| WireError::Refused { interface: interface.to_owned(), source: errno.into() };
        let mut all = getifaddrs().map_err(refused)?.filter(|found| found.interface_name == interface);
        let place: LinkAddr = all
            .find_map(|found| found.address?.as_link_addr().copied())
            .ok_or_else(|| WireError::NoInterface(interface.to_owned()))?;
        let protocol = (used == Use::Both).then_some(SockProtocol::EthAll);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol).map_err(refused)?;
        if used == Use::Both {
            setsockopt(&socket, IgnoreOutgoing, &true).map_err(refused)?;
            setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(8 << 20)).map_err(refused)?;
        }
        bind(socket.as_raw_fd(), &place).map_err(refused)?;
        Ok(Wire { socket, address: place.addr().unwrap_or_default() })
    }

    /// The interface's own address.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Sends frames, one after the other, until one does not go: how many went. An error is the first frame's.
    pub fn send<'a>(
        &self,
        headers: &'a mut MultiHeaders<()>,
        frames: &'a [[IoSlice<'a>; 1]],
    ) -> io::Result<usize> {
        let nobody = [None; BURST];
        let frames = &frames[..frames.len().min(BURST)];
        let sent = sendmmsg(self.socket.as_raw_fd(), headers, frames, nobody, [], MsgFlags::empty())?;
        Ok(sent.count())
    }

    /// Receives what is there, at most as many frames as there are buffers: their lengths. Frames longer than
    /// their buffer are cut.
    pub fn receive<'a>(
        &self,
        headers: &'a mut MultiHeaders<()>,
        buffers: &'a mut [[IoSliceMut<'a>; 1]],
    ) -> io::Result<Vec<usize>> {
        match recvmmsg(self.socket.as_raw_fd(), headers, buffers, MsgFlags::empty(), None) {
            Ok(received) => Ok(received.map(|frame| frame.bytes).collect()),
            // The interface went down, which is said once; it may come back.
            Err(Errno::EAGAIN | Errno::ENETDOWN) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
