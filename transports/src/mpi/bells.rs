//! Ringing and being rung: one descriptor that becomes readable, whoever rings.
//!
//! On one host a sender looks at the sleeper's [door](crate::shm) and rings its bell. Between hosts it is a
//! [datagram](super::far).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::card::Card;
use super::far::{FarBell, FarPeer};
use crate::clock;
use crate::shm::{Door, Key, Neighbour, Segment, Sleep};

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
    door: Door,
    far: Option<(FarBell, Epoll)>,
}

/// How to ring one peer.
pub(super) enum PeerBell {
    Near(Neighbour),
    Far(FarPeer),
    None,
}

impl Doorbell {
    /// A doorbell that can be rung in every way.
    pub fn new(bells: Bells, door: Door, key: Key, me: u32) -> io::Result<Self> {
        let far = FarBell::bind(key, me)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&door, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&far, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Doorbell { bells, door, far: Some((far, epoll)) })
    }

    /// The segment that this rank's door is in.
    pub fn segment(&self) -> &Arc<Segment> {
        self.door.segment()
    }

    /// All ranks are on this host: no datagrams.
    pub fn close_far(&mut self) {
        if self.bells == Bells::Auto {
            self.far = None;
        }
    }

    /// The port of the socket, 0 where there is none.
    pub fn udp_port(&self) -> io::Result<u16> {
        self.far.as_ref().map_or(Ok(0), |(far, _)| far.port())
    }

    /// How to ring a peer; the best way that works. `near`: its door, if it can be reached. `polls`: whether it polls for
    /// a while before it sleeps.
    pub fn peer(&self, rank: u32, card: &Card, near: Option<Neighbour>, polls: bool) -> PeerBell {
        match near {
            Some(near) if self.bells == Bells::Auto => PeerBell::Near(near),
            _ if self.far.is_none() || self.bells == Bells::None => PeerBell::None,
            _ => PeerBell::Far(FarPeer::new(rank, &card.addresses, card.places.udp_port, polls)),
        }
    }

    /// A message has been sent to the peer: rings where it sleeps. True where it rang.
    pub fn message_leaves(&self, peer: &mut PeerBell) -> bool {
        match peer {
            PeerBell::Near(near) => near.ring_if(Sleep::is_asleep),
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
            PeerBell::Near(near) => near.ring_if(Sleep::is_asleep),
            PeerBell::Far(peer) => {
                self.far.as_ref().is_some_and(|(far, _)| far.message_pends(peer, clock::now()))
            }
            PeerBell::None => false,
        }
    }

    /// This rank goes to sleep; the caller looks for work afterwards.
    pub fn sleep(&self, sleep: Sleep) {
        self.door.set(sleep);
    }

    /// This rank is awake. True where it was rung; `answered` as in [`FarBell::drain`].
    pub fn wake(&mut self, answered: impl FnMut(u32, usize)) -> bool {
        let rung = self.door.wake();
        rung | self.far.as_ref().is_some_and(|(far, _)| far.drain(answered))
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.far.as_ref().map_or(self.door.as_fd(), |(_, epoll)| epoll.0.as_fd())
    }
}
