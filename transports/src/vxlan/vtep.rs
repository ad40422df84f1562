//! A VTEP (RFC 7348 §3): frames out of and into tunnels, over UDP, for one thread and without waiting.
//!
//! Frames are handed on where they lie. A frame that is passed on to one tunnel leaves from the memory that
//! it arrived in, behind a header that is rewritten in place; only its further copies have headers of their
//! own. Many frames travel per system call in both directions.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mvpnet_switch::DropReason;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use quinn_udp::RecvMeta;
use thiserror::Error;

use super::header::{HEADER_LEN, Header};
use super::intake::{Arena, Intake};
use super::outgoing::{Outgoing, Queue};
use super::refusal::Refusals;
use super::socket::{self, BATCH, BindError, Listener};
use super::table::{Collision, Tunnel, TunnelId};
use super::{PORT, RECEIVE_SLOT, RECEIVE_SLOTS, entropy};
use crate::offload::layout::Layout;

mod flush;
mod routes;
mod stats;

pub(super) use flush::WhenFull;
use routes::Routes;
pub use stats::VtepStats;

/// Between the beginnings of two slots: a little more than a slot, so that the same bytes of all slots do not
/// fall into the same lines of the processor's cache.
const SLOT_STRIDE: usize = RECEIVE_SLOT + 320;

/// Bytes that one receive should not exceed by much: what a processor keeps at hand.
const RECEIVE_BUDGET: usize = 1 << 20;
/// Slots that a receive uses however long datagrams are.
const MIN_SLOTS: usize = 16;

/// In the epoll set, the listening socket; senders have their own numbers.
const LISTENER: u64 = u64::MAX;

/// How a [`Vtep`] is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VtepConfig {
    /// The address and port to listen on. An unspecified address is all of them, `[::]` those of IPv4, too.
    pub listen: SocketAddr,
    /// The longest packet inside: TCP segments that a kernel has left longer are cut up to it.
    pub mtu: u32,
    /// Bytes that may wait in the kernel to be received, as far as it allows.
    pub receive_buffer: usize,
    /// Bytes that may wait in the kernel to be sent, per socket, as far as it allows.
    pub send_buffer: usize,
    /// Source ports per peer, over which flows are spread. With one, frames to a peer stay in order
    /// whatever flow they are of.
    pub flows: u8,
    /// Whether the kernel may put datagrams together that arrive in a row (udp(7), UDP_GRO).
    pub gro: bool,
}

impl VtepConfig {
    /// What suits an Ethernet of 1500 bytes: 8 MiB to receive, 4 MiB to send, 8 source ports per peer.
    pub const fn new(listen: SocketAddr) -> VtepConfig {
        VtepConfig { listen, mtu: 1450, receive_buffer: 8 << 20, send_buffer: 4 << 20, flows: 8, gro: true }
    }
}

/// Why a tunnel could not be added.
#[derive(Debug, Error)]
pub enum AddError {
    /// The peer's address has this VNI already.
    #[error("{0} is there already: a peer is known by its address, whatever its port")]
    Taken(Tunnel),
    /// No more than 65536 tunnels can be told apart.
    #[error("{0} would be one tunnel too many")]
    TooMany(Tunnel),
    /// The peer is reached by another version of IP than the one that is listened on.
    #[error("{tunnel} cannot be reached from {listen}: listen on an address of the same version of IP")]
    OtherVersion {
        /// The tunnel.
        tunnel: Tunnel,
        /// What is listened on.
        listen: SocketAddr,
    },
    /// There is no way to the peer, or no room for sockets.
    #[error("no socket for {tunnel}: {source}")]
    NoSocket {
        /// The tunnel.
        tunnel: Tunnel,
        /// What the kernel says.
        source: io::Error,
    },
}

/// One end of tunnels.
#[derive(Debug)]
pub struct Vtep {
    listener: Listener,
    routes: Routes,
    intake: Intake,
    queue: Queue,
    /// [`RECEIVE_SLOTS`] slots for datagrams, or groups of them.
    received: Box<[u8]>,
    /// Slots that the next receive uses: as many as keep what is received in the processor's cache.
    slots: usize,
    /// Frames that did not arrive here, each behind its header.
    copies: Vec<u8>,
    epoll: Epoll,
    stats: VtepStats,
}

impl Vtep {
    /// Opens the VXLAN port.
    pub fn bind(config: &VtepConfig) -> Result<Vtep, BindError> {
        let socket = socket::bind(config.listen, config.receive_buffer, false)?;
        Vtep::over(socket, config).map_err(|source| BindError::new(config.listen, source))
    }

    /// A VTEP over a socket that is bound already.
    pub(super) fn over(socket: std::net::UdpSocket, config: &VtepConfig) -> io::Result<Vtep> {
        let listener = Listener::new(socket, config.gro)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Vtep {
            routes: Routes::new(listener.address(), config),
            listener,
            intake: Intake::new(config.mtu),
            queue: Queue::default(),
            received: vec![0; RECEIVE_SLOTS * SLOT_STRIDE].into_boxed_slice(),
            slots: RECEIVE_SLOTS,
            copies: Vec::with_capacity(128 << 10),
            epoll,
            stats: VtepStats::default(),
        })
    }

    /// Where the VTEP listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Opens a tunnel: from now on its peer is listened to.
    pub fn add(&mut self, tunnel: Tunnel) -> Result<TunnelId, AddError> {
        let port = if tunnel.peer.port() == 0 { PORT } else { tunnel.peer.port() };
        let tunnel = Tunnel { peer: SocketAddr::new(tunnel.peer.ip().to_canonical(), port), ..tunnel };
        let listen = self.local_addr();
        if !routes::reaches(listen, tunnel.peer) {
            return Err(AddError::OtherVersion { tunnel, listen });
        }
        let id = self.intake.table.insert(tunnel).map_err(|collision| match collision {
            Collision::Taken => AddError::Taken(tunnel),
            Collision::Full => AddError::TooMany(tunnel),
        })?;
        if let Err(source) = self.routes.open(id, tunnel.peer, &self.epoll) {
            self.intake.table.remove(id);
            return Err(AddError::NoSocket { tunnel, source });
        }
        self.queue.grow(self.routes.senders());
        Ok(id)
    }

    /// Closes a tunnel. To be called when everything is [flushed](Vtep::flush): what still waits leaves now,
    /// and nobody hears of it.
    pub fn remove(&mut self, id: TunnelId) {
        self.flush(|_, _, _| ());
        if self.intake.table.remove(id).is_some() {
            self.intake.frames.retain(|frame| frame.tunnel != id);
            self.routes.close(id, &self.epoll);
        }
    }

    /// The tunnels there are.
    pub fn tunnels(&self) -> impl Iterator<Item = (TunnelId, Tunnel)> + '_ {
        self.intake.table.iter()
    }

    /// The tunnel in this slot.
    pub fn tunnel(&self, id: TunnelId) -> Option<Tunnel> {
        self.intake.table.tunnel(id)
    }

    /// Changes the length up to which unfinished TCP segments are cut.
    pub fn set_mtu(&mut self, mtu: u32) {
        self.intake.mtu = mtu as usize;
    }

    /// Receives what is there, in a few system calls, and returns how many frames were accepted. They stay
    /// until the next call. What is queued and not [flushed](Vtep::flush) leaves before, and nobody hears of
    /// it.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.flush(|_, _, _| ());
        self.receive_more()
    }

    /// [`Vtep::receive`] for those who never [forward](Vtep::forward): copies may wait meanwhile.
    pub(super) fn receive_more(&mut self) -> io::Result<usize> {
        self.intake.begin();
        let (mut slot, mut bytes) = (0, 0);
        while slot < self.slots {
            let most = BATCH.min(self.slots - slot);
            let (got, more) = match self.receive_batch(slot, most) {
                // What came before the error is good.
                Err(_) if slot > 0 => break,
                result => result?,
            };
            (slot, bytes) = (slot + got, bytes + more);
            if got < most {
                break;
            }
        }
        for (to, answer) in &self.intake.answers {
            self.listener.answer(*to, answer);
        }
        if slot == 0 {
            self.routes.hear(&self.epoll, &mut self.stats);
        } else {
            self.slots = (RECEIVE_BUDGET * slot / bytes.max(1)).clamp(MIN_SLOTS, RECEIVE_SLOTS);
        }
        Ok(self.intake.frames.len())
    }

    /// One system call, into up to `most` slots from `first` on: how many were filled, with how many bytes.
    fn receive_batch(&mut self, first: usize, most: usize) -> io::Result<(usize, usize)> {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut slots = self.received[first * SLOT_STRIDE..].chunks_exact_mut(SLOT_STRIDE);
        let mut buffers: [IoSliceMut<'_>; BATCH] = std::array::from_fn(|_| {
            IoSliceMut::new(slots.next().map_or(&mut [], |slot| &mut slot[..RECEIVE_SLOT]))
        });
        let got = self.listener.receive(&mut buffers[..most], &mut meta)?;
        self.stats.receive_calls += 1;
        let mut bytes = 0;
        for (number, meta) in meta[..got].iter().enumerate() {
            let start = (first + number) * SLOT_STRIDE;
            bytes += meta.len;
            self.intake.take(meta.addr, &mut self.received, start..start + meta.len, meta.stride);
        }
        Ok((got, bytes))
    }

    /// Frame `n` of the last [receive](Vtep::receive) and the tunnel that it came by.
    ///
    /// # Panics
    ///
    /// If there were fewer.
    #[inline]
    pub fn frame(&self, n: usize) -> (TunnelId, &[u8]) {
        let frame = &self.intake.frames[n];
        let arena = if frame.arena == Arena::Cut { &self.intake.cut } else { &self.received };
        (frame.tunnel, &arena[frame.bytes()])
    }

    /// Queues frame `n` of the last [receive](Vtep::receive) for a tunnel. It is not copied.
    ///
    /// # Panics
    ///
    /// If there were fewer.
    #[inline]
    pub fn forward(&mut self, n: usize, to: TunnelId) {
        let Some(tunnel) = self.intake.table.tunnel(to) else { return };
        let header = Header { vni: tunnel.vni }.emit();
        let frame = &mut self.intake.frames[n];
        let Some(sender) = self.routes.sender(to, frame.hash) else { return };
        let head = if frame.has_sender {
            Some(header)
        } else {
            frame.has_sender = true;
            let arena = if frame.arena == Arena::Cut { &mut self.intake.cut } else { &mut self.received };
            let start = frame.start as usize;
            arena[start - HEADER_LEN..start].copy_from_slice(&header);
            None
        };
        let (arena, start, len) = (frame.arena, frame.start, frame.len);
        self.queue.push(sender, Outgoing { tunnel: to, arena, start, len, head });
    }

    /// Queues a copy of another frame for a tunnel.
    pub fn send(&mut self, to: TunnelId, frame: &[u8]) {
        let Some(tunnel) = self.intake.table.tunnel(to) else { return };
        let hash = entropy::flow_hash(frame, Layout::of(frame).as_ref());
        let Some(sender) = self.routes.sender(to, hash) else { return };
        self.copies.extend_from_slice(&Header { vni: tunnel.vni }.emit());
        // As long as arenas are, frames fit 32 bits.
        let (start, len) = (self.copies.len() as u32, frame.len() as u32);
        self.copies.extend_from_slice(frame);
        self.queue.push(sender, Outgoing { tunnel: to, arena: Arena::Copies, start, len, head: None });
    }

    /// Sends what is queued, in as few system calls as it takes. `outcome` hears of every copy: its tunnel,
    /// its bytes, and why it was dropped if it was – [`QueueFull`](DropReason::QueueFull),
    /// [`TooLong`](DropReason::TooLong) for the path, or [`PeerGone`](DropReason::PeerGone) where there is no
    /// way to the peer.
    pub fn flush(&mut self, outcome: impl FnMut(TunnelId, &[u8], Result<(), DropReason>)) {
        self.flush_as(WhenFull::Drop, outcome);
    }

    /// A descriptor that is readable when [`receive`](Vtep::receive) has something to do.
    pub fn wait_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// The MTU of the path to a tunnel's peer, outer headers included, as far as it has been learned.
    pub fn path_mtu(&self, tunnel: TunnelId) -> u32 {
        self.routes.path_mtu(tunnel).unwrap_or_default()
    }

    /// What was refused.
    pub fn refusals(&self) -> &Refusals {
        &self.intake.refusals
    }

    /// What has been counted so far. One system call.
    pub fn stats(&self) -> VtepStats {
        self.stats.with(&self.intake.tally, self.listener.drops())
    }

    /// Bytes that the kernel lets wait to be received: what was asked for, as far as it allows.
    pub fn receive_buffer(&self) -> usize {
        self.listener.buffer()
    }
}

/// Whether something is readable in an epoll set, without waiting: its events, as many as fit.
fn ready<'a>(epoll: &Epoll, events: &'a mut [EpollEvent]) -> &'a [EpollEvent] {
    let count = epoll.wait(events, EpollTimeout::ZERO).unwrap_or(0);
    &events[..count]
}
