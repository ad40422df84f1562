//! A rank's own door with its bell, and the bells of others.
//!
//! A bell is a pipe. Threads share its ends; processes of a host open it through `/proc/PID/fd`: no name, no file, no
//! port, and as fast as an eventfd, which cannot be opened so (measured one way: pipe 2.4 µs busy and 5.0 µs after a
//! silence; unix datagram 3.9 and 8.6; UDP 5.3 and 9.5).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, read, write};

use super::door::Sleep;
use super::segment::Segment;

/// A rank's own door with its bell.
#[derive(Debug)]
pub(crate) struct Door {
    segment: Arc<Segment>,
    pipe: OwnedFd,
    /// Kept, because a pipe that nobody can write to counts as readable.
    bell: Arc<Bell>,
    /// Bytes that neighbours have announced by taking the sleep away and that have not been read: they are written a
    /// moment later.
    owed: usize,
}

impl Door {
    /// The door of the segment's owner.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new(segment: Arc<Segment>) -> io::Result<Self> {
        let (pipe, pipe_end) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        Ok(Door { segment, pipe, bell: Arc::new(Bell::new(pipe_end)), owed: 0 })
    }

    /// The bell for a neighbour that is a thread of this process.
    pub fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    /// The segment that the door is in.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The end of the pipe that this rank reads, which processes find as announced.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "threads need not look for each other"))]
    pub fn pipe(&self) -> &OwnedFd {
        &self.pipe
    }

    /// This rank goes to sleep; the caller looks for work afterwards.
    pub fn set(&self, sleep: Sleep) {
        self.segment.door().set(sleep);
    }

    /// This rank is awake. True where it was rung.
    pub fn wake(&mut self) -> bool {
        let rung = self.segment.door().wake();
        self.owed += usize::from(rung);
        let mut bytes = [0; 64];
        // Without the system call where nobody rang.
        while self.owed > 0
            && let Ok(len @ 1..) = read(&self.pipe, &mut bytes)
        {
            self.owed = self.owed.saturating_sub(len);
        }
        rung
    }
}

impl AsFd for Door {
    /// Becomes readable when a neighbour rings.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The far end of a door's pipe.
#[derive(Debug)]
pub(crate) struct Bell {
    pipe: OwnedFd,
}

impl Bell {
    /// The pipe's end for writing, opened without blocking.
    pub fn new(pipe: OwnedFd) -> Self {
        Bell { pipe }
    }

    /// Rings.
    pub fn ring(&self) {
        // A full pipe is readable already, and one whose reader has died needs no ring.
        let _ = write(&self.pipe, &[1]);
    }

    /// Whether nobody can hear it any more: the rank has died.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "threads do not die alone"))]
    pub fn is_unheard(&self) -> bool {
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
        let ready = poll(&mut fds, PollTimeout::ZERO);
        ready.is_ok_and(|ready| ready > 0)
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_whose_door_is_gone_is_unheard() {
        let segment = Segment::create(&[0; 16], 0, 1, 1).expect("a segment").0;
        let door = Door::new(Arc::new(segment)).expect("a pipe");
        let bell = door.bell();
        assert!(!bell.is_unheard());
        drop(door);
        assert!(bell.is_unheard());
        bell.ring();
    }
}
