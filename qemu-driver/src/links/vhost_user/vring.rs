//! One of the device's rings as the front end sets it up: piece by piece, in any order, until it runs.
//!
//! A ring is started by SET_VRING_KICK and stopped by GET_VRING_BASE; whether it is enabled is independent of that
//! (vhost-user.rst, "Ring states"). What is started runs as soon as size, addresses and memory are known.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::write;

use super::features::Negotiated;
use super::memory::GuestMemory;
use super::messages::RingAddresses;
use super::ring::{BadIndex, MAX_SIZE, Ring};
use super::wake::Wake;

/// What became of a ring when what is known of it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It runs, or not, as before.
    AsBefore,
    /// It runs now.
    Started,
    /// It is nowhere in the guest's memory.
    Lost,
}

/// What the front end has said of a ring, and the ring while it runs.
#[derive(Debug)]
pub(super) struct Vring {
    /// The ring's number.
    number: usize,
    size: u16,
    addresses: Option<RingAddresses>,
    /// Where it is taken up when it starts.
    base: u16,
    is_started: bool,
    pub(super) is_enabled: bool,
    kick: Option<OwnedFd>,
    call: Option<OwnedFd>,
    err: Option<OwnedFd>,
    pub(super) ring: Option<Ring>,
}

impl Vring {
    pub(super) fn new(number: usize) -> Vring {
        Vring {
            number,
            size: 0,
            addresses: None,
            base: 0,
            is_started: false,
            is_enabled: false,
            kick: None,
            call: None,
            err: None,
            ring: None,
        }
    }

    /// The number of descriptors: a power of two (VIRTIO 1.2 §2.7). False if it is not, or if the ring runs.
    pub(super) fn resize(&mut self, size: u32) -> bool {
        let Some(size) = u16::try_from(size).ok().filter(|size| size.is_power_of_two() && *size <= MAX_SIZE)
        else {
            return false;
        };
        if self.ring.is_some() {
            return false;
        }
        self.size = size;
        true
    }

    /// Where to begin. False if it is no index, or if the ring runs.
    pub(super) fn rebase(&mut self, base: u32) -> bool {
        match u16::try_from(base) {
            Ok(base) if self.ring.is_none() => self.base = base,
            _ => return false,
        }
        true
    }

    /// Starts the ring, to be polled if there is no descriptor.
    pub(super) fn start(&mut self, kick: Option<OwnedFd>, wake: &Wake) -> Result<(), Errno> {
        if let Some(kick) = &kick {
            wake.watch_ring(self.number, kick)?;
        }
        self.forget_kick(wake);
        self.kick = kick;
        self.is_started = true;
        Ok(())
    }

    /// Says where the ring is; [`settle`](Self::settle) takes it there.
    pub(super) fn place(&mut self, addresses: RingAddresses) {
        self.addresses = Some(addresses);
    }

    /// Lets the ring run if all is known of it. If it runs already and was `moved`, it goes on in its new place.
    pub(super) fn settle(&mut self, memory: &GuestMemory, features: Negotiated, moved: bool) -> Settled {
        let runs = self.ring.is_some();
        let Some(addresses) = self.addresses.as_ref().filter(|_| self.is_started && self.size > 0) else {
            return Settled::AsBefore;
        };
        if runs && !moved {
            return Settled::AsBefore;
        }
        if let Some(ring) = self.ring.take() {
            self.base = ring.base();
        }
        self.ring = Ring::start(memory, addresses, self.size, self.base, features);
        match (runs, self.ring.is_some()) {
            (false, true) => Settled::Started,
            (true, true) => Settled::AsBefore,
            // Said once: a ring that waits for its memory is tried with every change.
            (false, false) if moved => Settled::AsBefore,
            (_, false) => Settled::Lost,
        }
    }

    /// Stops the ring, and says where it is to be taken up again.
    pub(super) fn stop(&mut self, wake: &Wake) -> u16 {
        self.forget_kick(wake);
        self.is_started = false;
        if let Some(ring) = self.ring.take() {
            self.base = ring.base();
        }
        self.base
    }

    /// Stops a ring on which there is nonsense, until the front end starts it again.
    pub(super) fn give_up(&mut self, error: BadIndex, wake: &Wake) {
        tracing::warn!(ring = self.number, "a ring of the guest's network card stops: {error}");
        self.stop(wake);
        if let Some(err) = &self.err {
            let _ = write(err, &1u64.to_ne_bytes());
        }
    }

    pub(super) fn set_call(&mut self, call: Option<OwnedFd>) -> Result<(), Errno> {
        self.call = call.map(non_blocking).transpose()?;
        Ok(())
    }

    pub(super) fn set_err(&mut self, err: Option<OwnedFd>) -> Result<(), Errno> {
        self.err = err.map(non_blocking).transpose()?;
        Ok(())
    }

    /// The ring, if frames pass it.
    #[inline]
    pub(super) fn open(&mut self) -> Option<&mut Ring> {
        self.ring.as_mut().filter(|_| self.is_enabled)
    }

    /// Shows the driver what was given back, and calls it if it wants that. Whether it was called.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        let wants_call = self.ring.as_mut().is_some_and(Ring::publish);
        match &self.call {
            // A counter that is full has called already, and one that is closed has nobody to call.
            Some(call) if wants_call => write(call, &1u64.to_ne_bytes()).is_ok(),
            _ => false,
        }
    }

    fn forget_kick(&mut self, wake: &Wake) {
        if let Some(kick) = self.kick.take() {
            wake.forget(kick);
        }
    }
}

/// A descriptor that can be written to without waiting. The front end could undo it: but it is qemu, which runs as
/// the same user and needs no such means.
fn non_blocking(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(fd)
}
