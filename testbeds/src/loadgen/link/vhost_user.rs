//! Frames on rings in a memory of our own, as the driver of a guest's virtio network card has them.

use std::{
    collections::VecDeque,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use mvpnet_qemu_driver::links::vhost_user::front::{Front, FrontConfig};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::{LinkError, Sent, WAITING, polled};
use crate::loadgen::{burst::Burst, stop::Stop};

/// One end of a vhost-user link.
#[derive(Debug)]
pub struct VhostUserLink {
    front: Front,
    /// The control socket, which shows when the other end is gone.
    control: UnixStream,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Whether the rings had nothing at the last look: then it is time to look whether the other end is there.
    is_idle: bool,
}

impl VhostUserLink {
    pub(super) fn new(control: UnixStream, ring_size: u16) -> Result<VhostUserLink, LinkError> {
        let watched = control.try_clone()?;
        let config = FrontConfig { ring_size, ..FrontConfig::default() };
        let front = Front::connect(OwnedFd::from(control), config)?;
        let waiting = VecDeque::new();
        Ok(VhostUserLink { front, control: watched, waiting, waiting_bytes: 0, is_idle: false })
    }

    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<usize, LinkError> {
        let frames = self.front.receive(|_, frame| each(frame));
        if frames == 0 && std::mem::replace(&mut self.is_idle, true) {
            self.look()?;
        }
        self.is_idle = frames == 0;
        Ok(frames)
    }

    pub(super) fn push(&mut self, burst: &mut Burst) -> Result<Sent, LinkError> {
        let header = burst.header();
        let sent = self.front.send(burst.datagrams_rest().map(|frame| (header, frame)));
        burst.datagrams_sent(sent);
        if sent == 0 && !burst.gone() {
            self.look()?;
        }
        Ok(if burst.gone() { Sent::All } else { Sent::NoRoom })
    }

    pub(super) fn queue(&mut self, frame: &[u8]) {
        if self.waiting_bytes + frame.len() <= WAITING {
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame.to_vec());
        }
    }

    pub(super) fn flush(&mut self) -> Result<Sent, LinkError> {
        if self.waiting.is_empty() {
            return Ok(Sent::All);
        }
        let sent = self.front.send(self.waiting.iter().map(|frame| (None, frame.as_slice())));
        self.waiting_bytes -= self.waiting.drain(..sent).map(|frame| frame.len()).sum::<usize>();
        Ok(if self.waiting.is_empty() { Sent::All } else { Sent::NoRoom })
    }

    pub(super) fn push_raw(&mut self, bytes: &[u8]) -> usize {
        if self.front.send([(None, bytes)]) == 1 { bytes.len() } else { 0 }
    }

    /// Waits as a guest whose driver has asked for interrupts.
    pub(super) fn wait(
        &mut self,
        stop: &Stop,
        for_room: bool,
        at_most: Option<Duration>,
    ) -> Result<(), LinkError> {
        if !self.front.arm(true, for_room) {
            let mut fds = [
                PollFd::new(self.front.fd(), PollFlags::POLLIN),
                PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.doorbell(), PollFlags::POLLIN),
            ];
            polled(ppoll(&mut fds, at_most.map(TimeSpec::from), None))?;
        }
        self.front.disarm();
        Ok(())
    }

    /// Whether the other end is there. It says nothing by itself, so what can be read is its end.
    fn look(&self) -> Result<(), LinkError> {
        let mut control = [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut control, Some(TimeSpec::from(Duration::ZERO)), None) {
            Ok(1..) => Err(LinkError::Closed),
            other => polled(other),
        }
    }
}
