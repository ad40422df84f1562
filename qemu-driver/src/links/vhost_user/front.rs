//! A front end with a driver of our own: what qemu and its guest are to a link, without either.
//!
//! It makes a guest's memory and two rings in it, speaks with the back end as qemu does, and then sends and receives
//! frames as the driver of a guest would: batches for one store of an index, kicks only where they are asked for, no
//! allocation per frame. Tests and load generators use it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::TO_GUEST;
use super::features::{Negotiated, PROTOCOL_OFFERS};
use super::memory::{Area, sealed_file};
use super::messages::{RegionEntry, Request, RingAddresses, RingFd};
use super::ring::Descriptor;
use super::wake::Wake;
use crate::links::MAX_GUEST_FRAME_LEN;
use config::Layout;
use queue::Queue;
use session::Session;

mod config;
mod frames;
mod queue;
mod session;

pub use config::FrontConfig;

/// Where the memory begins for the guest, and for this process as far as the back end knows: any numbers do.
pub(super) const GUEST_BASE: u64 = 0x1_0000_0000;
pub(super) const FRONT_BASE: u64 = 0x7f00_0000_0000;

/// What went wrong with a back end.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The socket, or the back end is gone.
    #[error("the control socket: {0}")]
    Socket(#[from] io::Error),
    /// No memory or no descriptors.
    #[error("the guest's memory: {0}")]
    System(#[from] Errno),
    /// The back end has said no.
    #[error("the back end refuses request {0}")]
    Refused(u32),
    /// The back end has said something else.
    #[error("the back end's reply is none to what was asked")]
    Reply,
}

/// A front end and the driver behind it.
#[derive(Debug)]
pub struct Front {
    config: FrontConfig,
    pub(super) session: Session,
    features: Negotiated,
    pub(super) file: OwnedFd,
    pub(super) memory: Area,
    layout: Layout,
    /// As they are numbered: to the guest, from the guest.
    pub(super) queues: [Queue; 2],
    kicks: [EventFd; 2],
    calls: [EventFd; 2],
    wake: Wake,
    /// Buffers to send from that are free; behind each that is not, the next of its frame.
    free: Vec<u16>,
    next: Vec<u16>,
    /// Whether the last frame had to wait for buffers.
    is_short: bool,
    scratch: Vec<u8>,
    counts: FrontCounts,
}

/// What a front end counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontCounts {
    /// Times that the back end was kicked.
    pub kicks: u64,
    /// Times that it has called, as far as it was looked.
    pub calls: u64,
}

impl Front {
    /// Connects to a back end, as qemu does: hands over memory and rings, and fills the receive ring.
    ///
    /// Waits for the back end's replies: it has to run in another thread or process.
    ///
    /// # Errors
    /// The back end is gone or refuses something, or there is no memory.
    pub fn connect(socket: OwnedFd, config: FrontConfig) -> Result<Front, FrontError> {
        let mut session = Session::new(socket);
        let offered = session.ask(&Request::Features)?;
        let protocol = session.ask(&Request::ProtocolFeatures)? & PROTOCOL_OFFERS;
        session.tell(&Request::SetProtocolFeatures(protocol), &[])?;
        session.tell(&Request::SetOwner, &[])?;

        let layout = Layout::new(&config);
        let file = sealed_file(layout.end)?;
        let memory = Area::of_file(&file, layout.end)?;
        let features = Negotiated(offered & config.features());
        let queues = Front::empty_queues(&memory, &layout, &config);
        let event = || EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let (kicks, calls) = ([event()?, event()?], [event()?, event()?]);
        let wake = Wake::new()?;
        for (number, call) in calls.iter().enumerate() {
            wake.watch_ring(number, call)?;
        }
        let mut front = Front {
            config,
            session,
            features,
            file,
            memory,
            layout,
            queues,
            kicks,
            calls,
            wake,
            free: Vec::with_capacity(config.ring_size.into()),
            next: vec![0; config.ring_size.into()],
            is_short: false,
            scratch: vec![0; MAX_GUEST_FRAME_LEN],
            counts: FrontCounts::default(),
        };
        front.start([0, 0])?;
        front.fill();
        Ok(front)
    }

    /// To be called before sleeping on [`fd`](Self::fd): has the back end call when frames have come, or when there is
    /// room for what could not be sent. True where there is already.
    pub fn arm(&mut self, receives: bool, sends: bool) -> bool {
        let [to_guest, from_guest] = &mut self.queues;
        let mut has_work = receives && (to_guest.arm() || to_guest.waiting() > 0);
        has_work |= sends && (from_guest.arm() || from_guest.waiting() > 0 || !self.is_short);
        has_work
    }

    /// To be called after sleeping: the back end need not call any more.
    pub fn disarm(&mut self) {
        self.queues.iter_mut().for_each(Queue::disarm);
        self.counts.calls += self.wake.look().rings;
    }

    /// Becomes readable when the back end calls.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    /// What was counted.
    pub fn counts(&self) -> FrontCounts {
        self.counts
    }

    /// Whether all these bits of the device's features (VIRTIO 1.2 §5.1.3) are negotiated.
    pub fn has_features(&self, bits: u64) -> bool {
        self.features.has(bits)
    }

    /// Stops the rings, as when a guest is paused, and says where they are.
    ///
    /// # Errors
    /// The back end is gone.
    pub fn stop(&mut self) -> Result<[u16; 2], FrontError> {
        let mut bases = [0; 2];
        for (ring, base) in (0..).zip(&mut bases) {
            let number = self.session.ask(&Request::VringBase { ring })?;
            *base = u16::try_from(number).map_err(|_| FrontError::Reply)?;
        }
        Ok(bases)
    }

    /// Starts rings that were stopped at these places again, as they are.
    ///
    /// # Errors
    /// The back end is gone or refuses something.
    pub fn resume(&mut self, bases: [u16; 2]) -> Result<(), FrontError> {
        self.start(bases)
    }

    /// Resets the device and takes it up anew, as a guest that boots again does. What was under way is lost.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn restart(&mut self) -> Result<(), FrontError> {
        self.stop()?;
        self.queues = Front::empty_queues(&self.memory, &self.layout, &self.config);
        self.start([0, 0])?;
        self.fill();
        Ok(())
    }

    /// Hands the memory over once more, while the rings run.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub fn remember(&mut self) -> Result<(), FrontError> {
        let len = self.layout.end as u64;
        let entry = RegionEntry { guest_address: GUEST_BASE, len, front_address: FRONT_BASE, file_offset: 0 };
        self.session.command(&Request::SetMemTable(vec![entry]), &[self.file.as_fd()])
    }

    fn start(&mut self, bases: [u16; 2]) -> Result<(), FrontError> {
        // qemu enables rings before it has said anything of them.
        for ring in 0..2 {
            self.session.command(&Request::SetVringEnable { ring, enable: 1 }, &[])?;
        }
        self.session.tell(&Request::SetFeatures(self.features.0), &[])?;
        self.remember()?;
        for (number, base) in (0..2u8).zip(bases) {
            let index = usize::from(number);
            let (queue, ring) = (&self.queues[index], u32::from(number));
            let [descriptors, available, used] = queue.parts.map(|part| FRONT_BASE + part as u64);
            let fd = RingFd { ring: number, has_fd: true };
            let base = u32::from(base);
            self.session.tell(&Request::SetVringNum { ring, size: u32::from(queue.size) }, &[])?;
            self.session.tell(&Request::SetVringBase { ring, base }, &[])?;
            let addresses = RingAddresses { descriptors, used, available };
            self.session.tell(&Request::SetVringAddr { ring, addresses }, &[])?;
            self.session.tell(&Request::SetVringKick(fd), &[self.kicks[index].as_fd()])?;
            self.session.command(&Request::SetVringCall(fd), &[self.calls[index].as_fd()])?;
        }
        Ok(())
    }

    fn empty_queues(memory: &Area, layout: &Layout, config: &FrontConfig) -> [Queue; 2] {
        layout.queues.map(|at| Queue::new(memory.clone(), at, config.ring_size, config.event_idx))
    }

    /// Makes all buffers free, and offers those to receive into.
    fn fill(&mut self) {
        self.free.clear();
        self.free.extend((0..self.config.ring_size).rev());
        for buffer in 0..self.config.ring_size {
            let at = self.layout.receive_buffers + usize::from(buffer) * self.config.receive_buffer_len;
            let len = u32::try_from(self.config.receive_buffer_len).expect("buffers are short");
            let address = GUEST_BASE + at as u64;
            let descriptor = Descriptor { address, len, flags: Descriptor::WRITE, next: 0 };
            self.queues[TO_GUEST].describe(buffer, descriptor);
            self.queues[TO_GUEST].offer(buffer);
        }
        self.publish(TO_GUEST);
    }

    fn header_len(&self) -> usize {
        self.features.header_len()
    }

    fn publish(&mut self, queue: usize) {
        if self.queues[queue].publish() {
            // A counter that is full has kicked already.
            let _ = self.kicks[queue].write(1);
            self.counts.kicks += 1;
        }
    }
}
