//! What a front end's requests do: features, memory and rings, as a state machine without the socket.
//!
//! Requests may come in any order that makes sense, and in some that does not: qemu enables rings before it has set
//! the features, and sets the memory table again while rings run (when memory is plugged, or the firmware moves it).

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::features::{Negotiated, Offers, PROTOCOL_OFFERS, bit};
use super::memory::{GuestMemory, MemoryError};
use super::messages::{RegionEntry, Request, RingFd};
use super::stats::Counts;
use super::vring::{Settled, Vring};
use super::wake::Wake;

/// The numbers of the rings (VIRTIO 1.2 §5.1.2).
pub(super) const TO_GUEST: usize = 0;
pub(super) const FROM_GUEST: usize = 1;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// Other than the two that there are.
    #[error("ring {0}, of two")]
    Ring(u32),
    /// Bits that were not offered.
    #[error("features {0:#x}, which were not offered")]
    Features(u64),
    /// The value cannot be, or not while the ring runs.
    #[error("a ring's size, base or state of {0}")]
    Value(u32),
    /// Larger than was offered.
    #[error("an MTU of {mtu} exceeds {most}")]
    Mtu {
        /// What the front end announces to its guest, in octets.
        mtu: u64,
        /// What was offered.
        most: u16,
    },
    /// Not as many as the request needs.
    #[error("{count} descriptors where {wanted} belong")]
    Fds {
        /// How many came.
        count: usize,
        /// How many belong to the request.
        wanted: usize,
    },
    /// A descriptor that is not of the right kind.
    #[error("a descriptor that cannot be used: {0}")]
    Fd(Errno),
    /// The memory cannot be used.
    #[error(transparent)]
    Memory(MemoryError),
    /// Nothing that is known here.
    #[error("a request that is not known")]
    Unknown,
}

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// That it was done, if the front end wants to know.
    Done,
    /// A number.
    Number(u64),
    /// A number of a ring.
    State { ring: u32, number: u32 },
}

/// The back end of a network card with one pair of rings.
#[derive(Debug)]
pub(super) struct Device {
    offers: Offers,
    pub(super) features: Negotiated,
    pub(super) memory: GuestMemory,
    pub(super) vrings: [Vring; 2],
    pub(super) counts: Counts,
}

impl Device {
    pub(super) fn new(offers: Offers) -> Device {
        Device {
            offers,
            features: Negotiated::default(),
            memory: GuestMemory::default(),
            vrings: [TO_GUEST, FROM_GUEST].map(Vring::new),
            counts: Counts::default(),
        }
    }

    /// Does what a request asks.
    pub(super) fn handle(
        &mut self,
        request: &Request,
        mut fds: Vec<OwnedFd>,
        wake: &Wake,
    ) -> Result<Answer, RequestError> {
        let (count, wanted) = (fds.len(), request.fds());
        if count < wanted || (count > wanted && wanted > 0) {
            return Err(RequestError::Fds { count, wanted });
        }
        if wanted == 0 {
            // Nobody wants them: they are closed.
            fds.clear();
        }
        match request {
            Request::Features => return Ok(Answer::Number(self.offers.features())),
            Request::ProtocolFeatures => return Ok(Answer::Number(PROTOCOL_OFFERS)),
            Request::QueueNum => return Ok(Answer::Number(1)),
            Request::SetOwner => {}
            Request::ResetOwner => self.reset(wake),
            Request::SetFeatures(features) => self.set_features(*features)?,
            Request::SetProtocolFeatures(features) => offered(*features, PROTOCOL_OFFERS)?,
            Request::SetMemTable(entries) => self.remember(entries, &fds)?,
            Request::NetSetMtu(mtu) => {
                let most = self.offers.mtu;
                if *mtu > u64::from(most) {
                    return Err(RequestError::Mtu { mtu: *mtu, most });
                }
            }
            Request::Unknown(_) => return Err(RequestError::Unknown),
            of_a_ring => return self.set_up(of_a_ring, fds.pop(), wake),
        }
        Ok(Answer::Done)
    }

    /// Does what is asked of one ring.
    fn set_up(
        &mut self,
        request: &Request,
        fd: Option<OwnedFd>,
        wake: &Wake,
    ) -> Result<Answer, RequestError> {
        let refused = |ok: bool, number: u32| if ok { Ok(()) } else { Err(RequestError::Value(number)) };
        match request {
            Request::SetVringNum { ring, size } => refused(self.vring(*ring)?.resize(*size), *size)?,
            Request::SetVringBase { ring, base } => refused(self.vring(*ring)?.rebase(*base), *base)?,
            Request::SetVringAddr { ring, addresses } => {
                self.vring(*ring)?.place(*addresses);
                self.settle(true);
            }
            Request::VringBase { ring } => {
                let base = self.vring(*ring)?.stop(wake);
                self.counts.ring_stops += 1;
                return Ok(Answer::State { ring: *ring, number: u32::from(base) });
            }
            Request::SetVringKick(RingFd { ring, .. }) => {
                self.vring(u32::from(*ring))?.start(fd, wake).map_err(RequestError::Fd)?;
                self.settle(false);
            }
            Request::SetVringCall(RingFd { ring, .. }) => {
                self.vring(u32::from(*ring))?.set_call(fd).map_err(RequestError::Fd)?;
            }
            Request::SetVringErr(RingFd { ring, .. }) => {
                self.vring(u32::from(*ring))?.set_err(fd).map_err(RequestError::Fd)?;
            }
            Request::SetVringEnable { ring, enable } => {
                let vring = self.vring(*ring)?;
                refused(*enable <= 1, *enable)?;
                vring.is_enabled = *enable == 1;
            }
            _ => return Err(RequestError::Unknown),
        }
        Ok(Answer::Done)
    }

    fn vring(&mut self, ring: u32) -> Result<&mut Vring, RequestError> {
        self.vrings.get_mut(ring as usize).ok_or(RequestError::Ring(ring))
    }

    fn set_features(&mut self, features: u64) -> Result<(), RequestError> {
        offered(features, self.offers.features())?;
        self.features = Negotiated(features);
        // A front end that does not know of enabling has all rings enabled (vhost-user.rst, "Ring states").
        if !self.features.has(bit::PROTOCOL_FEATURES) {
            self.vrings.iter_mut().for_each(|vring| vring.is_enabled = true);
        }
        Ok(())
    }

    /// Takes a new memory table. Rings that run go on in it, or stop if they are not in it.
    fn remember(&mut self, entries: &[RegionEntry], files: &[OwnedFd]) -> Result<(), RequestError> {
        self.memory = GuestMemory::map(entries, files).map_err(RequestError::Memory)?;
        self.counts.memory_tables += 1;
        self.settle(true);
        Ok(())
    }

    /// Stops all rings and disables them, as vhost-user.rst recommends for RESET_OWNER.
    fn reset(&mut self, wake: &Wake) {
        for vring in &mut self.vrings {
            vring.stop(wake);
            vring.is_enabled = false;
        }
    }

    /// Lets those rings run that can; `moved` says that memory or addresses are other ones.
    fn settle(&mut self, moved: bool) {
        for (number, vring) in self.vrings.iter_mut().enumerate() {
            match vring.settle(&self.memory, self.features, moved) {
                Settled::Started => self.counts.ring_starts += 1,
                Settled::Lost => {
                    tracing::warn!(ring = number, "a ring is not in the memory that was handed over");
                    self.counts.rings_broken += 1;
                }
                Settled::AsBefore => {}
            }
        }
    }
}

fn offered(features: u64, offers: u64) -> Result<(), RequestError> {
    let others = features & !offers;
    if others == 0 { Ok(()) } else { Err(RequestError::Features(others)) }
}
