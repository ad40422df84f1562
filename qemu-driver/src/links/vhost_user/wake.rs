//! What a link is waited for with: one descriptor over the control socket and the rings' kicks.
//!
//! The control socket is watched by level. A kick is watched by edge: it need not be read, only
//! [looked at](Wake::look), which is one system call for all of them.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What is said of the control socket; a ring's is its number.
const CONTROL: u64 = u64::MAX;

/// What has happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Woken {
    /// The front end has sent something, or is gone.
    pub(super) control: bool,
    /// Rings of which the other end has told something.
    pub(super) rings: u64,
}

/// The descriptor that all others are behind.
#[derive(Debug)]
pub(super) struct Wake {
    epoll: Epoll,
}

impl Wake {
    pub(super) fn new() -> Result<Wake, Errno> {
        Ok(Wake { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Watches the control socket.
    pub(super) fn watch_control(&self, control: impl AsFd) -> Result<(), Errno> {
        self.epoll.add(control, EpollEvent::new(EpollFlags::EPOLLIN, CONTROL))
    }

    /// Watches the eventfd by which the other end tells of a ring.
    pub(super) fn watch_ring(&self, ring: usize, event: impl AsFd) -> Result<(), Errno> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll.add(event, EpollEvent::new(flags, ring as u64))
    }

    /// Must be called before a watched descriptor is closed: the front end has it open as well, and so it would
    /// be watched for ever (epoll(7)).
    pub(super) fn forget(&self, watched: impl AsFd) {
        // What cannot be forgotten was not watched.
        let _ = self.epoll.delete(watched);
    }

    /// What has happened. Afterwards nothing of the rings is left over.
    pub(super) fn look(&self) -> Woken {
        let mut events = [EpollEvent::empty(); 4];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let mut woken = Woken::default();
        for event in &events[..count] {
            match event.data() {
                CONTROL => woken.control = true,
                _ => woken.rings += 1,
            }
        }
        woken
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}
