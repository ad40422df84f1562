//! Ringing and being rung: one descriptor that becomes readable, whoever rings.
//!
//! On one host a sender looks into the sleeper's [page](super::page) and writes a byte into its pipe, opened
//! through `/proc/PID/fd`: no name, no file, no port, and as fast as an eventfd (measured one way: pipe 2.4
//! µs busy and 5.0 µs after a silence; unix datagram 3.9 and 8.6; UDP 5.3 and 9.5). Between hosts it is a
//! [datagram](super::far).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::unistd::{pipe2, read, write};

use super::card::Card;
use super::far::{FarBell, FarPeer};
use super::page::{Key, SleepPage, announce, open_of};
use crate::clock;

/// How ranks wake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bells {
    /// Over shared memory and a pipe on one host, by datagram between hosts.
    #[default]
    Auto,
    /// By datagram also on one host.
    Datagram,
    /// Not at all: sleeping ranks find out by themselves.
    None,
}

/// This rank's doorbell.
pub(super) struct Doorbell {
    bells: Bells,
    key: Key,
    page: SleepPage,
    page_fd: OwnedFd,
    pipe: OwnedFd,
    /// Kept, because a pipe that nobody can write to counts as readable.
    _pipe_end: OwnedFd,
    far: Option<(FarBell, Epoll)>,
    /// Bytes that peers have announced by taking the sleep away and that have not been read: they are written
    /// a moment later.
    owed: usize,
}

/// How to ring one peer.
pub(super) enum PeerBell {
    Near { page: SleepPage, pipe: File },
    Far(FarPeer),
    None,
}

/// Where a doorbell is found by peers, see [`Card`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub page: (i32, u64),
    pub pipe: (i32, u64),
    pub udp_port: u16,
}

impl Announced {
    /// Nowhere.
    pub const NOWHERE: Self = Announced { page: (-1, 0), pipe: (-1, 0), udp_port: 0 };
}

impl Doorbell {
    /// A doorbell that can be rung in every way.
    pub fn new(bells: Bells, key: Key, me: u32) -> io::Result<Self> {
        let (page, page_fd) = SleepPage::create(&key, me)?;
        let (pipe, pipe_end) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        let far = FarBell::bind(key, me)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&pipe, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&far, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Doorbell {
            bells,
            key,
            page,
            page_fd,
            pipe,
            _pipe_end: pipe_end,
            far: Some((far, epoll)),
            owed: 0,
        })
    }

    /// All ranks are on this host: no datagrams.
    pub fn close_far(&mut self) {
        if self.bells == Bells::Auto {
            self.far = None;
        }
    }

    /// Where peers find page, pipe and socket.
    pub fn announce(&self) -> io::Result<Announced> {
        let udp_port = self.far.as_ref().map_or(Ok(0), |(far, _)| far.port())?;
        Ok(Announced { page: announce(&self.page_fd)?, pipe: announce(&self.pipe)?, udp_port })
    }

    /// How to ring a peer; the best way that works. `polls`: whether it polls for a while before it sleeps.
    pub fn peer(&self, rank: u32, card: &Card, is_near: bool, polls: bool) -> PeerBell {
        if is_near && self.bells == Bells::Auto {
            match self.near_peer(rank, card) {
                Ok(near) => return near,
                Err(error) => {
                    tracing::debug!(rank, %error, "cannot ring a rank of this host through its page")
                }
            }
        }
        if self.far.is_none() || self.bells == Bells::None {
            return PeerBell::None;
        }
        PeerBell::Far(FarPeer::new(rank, &card.addresses, card.udp_port, polls))
    }

    fn near_peer(&self, rank: u32, card: &Card) -> io::Result<PeerBell> {
        let page = SleepPage::open(card.pid, card.page.0, card.page.1, &self.key, rank)?;
        let mut how = OpenOptions::new();
        how.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let pipe = open_of(card.pid, card.pipe.0, card.pipe.1, &how)?;
        if pipe.metadata()?.file_type().is_fifo() {
            Ok(PeerBell::Near { page, pipe })
        } else {
            Err(io::Error::other("not the peer's pipe"))
        }
    }

    /// A message has been sent to the peer: rings where it sleeps. True where it rang.
    pub fn message_leaves(&self, peer: &mut PeerBell) -> bool {
        match peer {
            PeerBell::Near { page, pipe } => page.take_sleep() && ring(pipe),
            PeerBell::Far(peer) => {
                self.far.as_ref().is_some_and(|(far, _)| far.message_leaves(peer, clock::now()))
            }
            PeerBell::None => false,
        }
    }

    /// A message to the peer is still not complete, perhaps because the peer makes no MPI call. True where it
    /// rang.
    pub fn message_pends(&self, peer: &mut PeerBell) -> bool {
        match peer {
            PeerBell::Near { page, pipe } => page.take_sleep() && ring(pipe),
            PeerBell::Far(peer) => {
                self.far.as_ref().is_some_and(|(far, _)| far.message_pends(peer, clock::now()))
            }
            PeerBell::None => false,
        }
    }

    /// This rank goes to sleep; the caller looks for work afterwards.
    pub fn sleep(&self) {
        self.page.sleep();
    }

    /// This rank is awake. True where it was rung; `answered` as in [`FarBell::drain`].
    pub fn wake(&mut self, answered: impl FnMut(u32, usize)) -> bool {
        let mut rung = self.page.wake();
        self.owed += usize::from(rung);
        let mut bytes = [0; 64];
        // Without the system call where nobody rang.
        while self.owed > 0
            && let Ok(len @ 1..) = read(&self.pipe, &mut bytes)
        {
            self.owed = self.owed.saturating_sub(len);
        }
        if let Some((far, _)) = &self.far {
            rung |= far.drain(answered);
        }
        rung
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.far.as_ref().map_or(self.pipe.as_fd(), |(_, epoll)| epoll.0.as_fd())
    }
}

fn ring(pipe: &File) -> bool {
    // A full pipe is readable already, and one whose reader has died needs no ring.
    let _ = write(pipe, &[1]);
    true
}
