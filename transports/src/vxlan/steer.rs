//! One UDP port for several ranks: each has a socket on it, and the kernel picks the socket by the VNI.
//!
//! Without a program the kernel would pick by a hash of addresses and ports (socket(7), SO_REUSEPORT). The
//! program reads a datagram's VNI and subtracts the first rank's: the number of the socket, in the order in
//! which they were bound. What has no such number goes to any of them, and is refused there.
//!
//! The kernel picks once for datagrams that it has put together (udp(7), UDP_GRO), although each has a VNI of
//! its own; so these sockets have it put nothing together.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use mvpnet_switch::Vni;
use nix::sys::socket::{setsockopt, sockopt};

use super::socket::{self, BindError};

/// Where the word with the VNI is in a datagram, and how far up it is there (RFC 7348 §5).
const VNI_WORD: u32 = 4;
const VNI_SHIFT: u32 = 8;

/// Binds a socket per VNI, from `first` on, to `listen`.
pub(super) fn bind(
    listen: SocketAddr,
    first: Vni,
    count: usize,
    buffer: usize,
) -> Result<Vec<UdpSocket>, BindError> {
    // A port that is shared can be shared by another job of this user, too, whose datagrams would come here.
    // So it is had alone first.
    drop(socket::bind(listen, buffer, false)?);
    let sockets = (0..count).map(|_| socket::bind(listen, buffer, true)).collect::<Result<Vec<_>, _>>()?;
    if let Some(socket) = sockets.first() {
        by_vni(socket, first).map_err(|source| BindError::new(listen, source))?;
    }
    Ok(sockets)
}

/// Gives the program to the group that the socket is of (socket(7), SO_ATTACH_REUSEPORT_CBPF).
fn by_vni(socket: &impl AsFd, first: Vni) -> io::Result<()> {
    let instruction = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // A datagram too short for the first instruction ends the program with 0.
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, VNI_WORD),
        instruction(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, VNI_SHIFT),
        instruction(libc::BPF_ALU | libc::BPF_SUB | libc::BPF_K, first.value()),
        instruction(libc::BPF_RET | BPF_A, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &program).map_err(io::Error::from)
}

/// Return the accumulator (`include/uapi/linux/filter.h`).
const BPF_A: u32 = 0x10;
