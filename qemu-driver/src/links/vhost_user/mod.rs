//! The vhost-user link: rings in the guest's own memory, the back end of qemu's `-netdev vhost-user`.
//!
//! qemu's network card leaves its rings to whoever is at the other end of a socket: over that, the *control
//! socket*, it hands over the guest's memory, says where the rings are, and passes an eventfd per direction and ring
//! by which the guest's driver *kicks* us and we *call* it (qemu, docs/interop/vhost-user.rst; VIRTIO 1.2 §2.7 for
//! the rings, §5.1.6 for what is on a network card's). Frames so cost no system call but the call for a batch, and one copy,
//! and a guest may leave checksums and segments to the receiver of its frames.
//!
//! The link belongs to one event loop, never waits and has no thread. While the loop is awake it polls the rings, and
//! the guest does not kick; before it sleeps it [arms](VhostUserLink::arm) the link.
//!
//! Neither the front end nor the guest is believed. What a guest gets wrong is refused chain by chain, or stops the
//! ring until its driver starts anew; what the front end gets wrong is answered with an error or ends the link.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `messages`, `features`, `records` | formats; pure |
//! | `ends`, `control`, `rights`, `wake` | the socket, descriptors that come with messages, waiting |
//! | `device`, `vring` | what requests do |
//! | `memory` | the guest's memory, and all `unsafe` but that of receiving descriptors |
//! | `ring`, `chain` | a virtqueue, and what is on it |
//! | `transmit`, `receive` | frames from and to the guest |
//! | `front` | a front end with a driver of our own, for tests and for measuring |

mod chain;
mod control;
mod device;
mod ends;
mod features;
#[cfg(any(test, feature = "vhost-front"))]
pub mod front;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod memory;
mod messages;
mod receive;
mod records;
mod refusals;
mod rights;
mod ring;
mod stats;
mod transmit;
mod vring;
mod wake;

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};

use mvpnet_switch::{OFFLOAD_LEN, Offload};
use nix::errno::Errno;

pub use ends::{listen, pair};
pub use features::Offers;
pub use stats::Stats;

use super::ends::make_non_blocking;
use super::{MAX_GUEST_FRAME_LEN, PREFIX_LEN, Refusal, Wrote};
use control::{Control, ControlError, Message};
use device::{Answer, Device, FROM_GUEST, RequestError, TO_GUEST};
use messages::{MessageError, Request};
use receive::Receive;
use refusals::Refusals;
use transmit::{Context, Transmit};
use wake::Wake;

/// Octets of the longest record that a link brings: prefix, header and frame.
pub const MAX_RECORD_LEN: usize = PREFIX_LEN + OFFLOAD_LEN + MAX_GUEST_FRAME_LEN;

/// Receives that bring frames between two looks at the control socket. A front end that wants something waits for it,
/// some hundred microseconds at most.
const RECEIVES_PER_LOOK: u32 = 32;
/// Requests that are handled at a time, so that a front end that has ever more does not keep the loop.
const REQUESTS_PER_LOOK: usize = 64;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many octets of the given space are filled with whole records.
    Records(usize),
    /// Nothing is waiting now.
    Nothing,
    /// The guest's end is closed: qemu is gone.
    Closed,
}

/// The rank's end of a `-netdev vhost-user` link.
#[derive(Debug)]
pub struct VhostUserLink {
    control: Control,
    wake: Wake,
    device: Device,
    transmit: Transmit,
    receive: Receive,
    refusals: Refusals,
    is_closed: bool,
    /// Receives until the control socket is looked at, whatever the rings bring.
    until_look: u32,
}

/// Why the link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum End {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("request {request}: {error}")]
    Refused { request: u32, error: RequestError },
    #[error(transparent)]
    Malformed(MessageError),
}

impl VhostUserLink {
    /// Takes over `socket`, a connected unix stream socket whose other end is that of qemu's chardev.
    ///
    /// # Errors
    /// The socket cannot be made non-blocking, or there is no descriptor for waiting on it.
    pub fn new(socket: OwnedFd, offers: Offers) -> Result<Self, Errno> {
        make_non_blocking(&socket)?;
        let wake = Wake::new()?;
        wake.watch_control(&socket)?;
        Ok(Self {
            wake,
            control: Control::new(socket),
            device: Device::new(offers),
            transmit: Transmit::default(),
            receive: Receive::default(),
            refusals: Refusals::new(),
            is_closed: false,
            until_look: 0,
        })
    }

    /// Handles what the front end asks, then takes frames from the guest's transmit ring into `space`, as records
    /// back to back, as many as fit. What does not fit stays with the guest, which so is slowed down. A frame whose
    /// record is longer than all of `space` stays for ever: [`MAX_RECORD_LEN`] octets are enough for any.
    ///
    /// # Errors
    /// None at present; what goes wrong ends the link.
    pub fn receive(&mut self, space: &mut [u8]) -> Result<Received, Errno> {
        if self.until_look > 0 {
            self.until_look -= 1;
            let octets = self.take_frames(space);
            if octets > 0 {
                return Ok(Received::Records(octets));
            }
        }
        // Nothing on the ring: then there is time for the front end.
        self.until_look = RECEIVES_PER_LOOK;
        self.serve();
        if self.is_closed {
            return Ok(Received::Closed);
        }
        Ok(match self.take_frames(space) {
            0 => Received::Nothing,
            octets => Received::Records(octets),
        })
    }

    /// What was refused since, one at a time. To be asked after each [`receive`](Self::receive): while many wait
    /// nothing more is received.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusals.pop()
    }

    /// Whether there is one.
    pub fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Offers slices of whole records to the guest; takes as many records as the receive ring has buffers for.
    ///
    /// # Errors
    /// None at present; a guest that is gone takes nothing.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<Wrote, Errno> {
        let Self { device, refusals, receive, wake, .. } = self;
        let Device { features, memory, vrings, counts, .. } = device;
        let vring = &mut vrings[TO_GUEST];
        let Some(ring) = vring.open() else { return Ok(Wrote::default()) };
        let mut context = Context { memory, features: *features, refusals, counts };
        match receive.give(ring, &mut context, slices) {
            Ok(wrote) => {
                counts.calls += u64::from(vring.publish());
                Ok(wrote)
            }
            Err(error) => {
                counts.rings_broken += 1;
                vring.give_up(error, wake);
                Ok(Wrote::default())
            }
        }
    }

    /// Whether the guest's driver has its receive ring running.
    pub fn has_peer(&self) -> bool {
        let vring = &self.device.vrings[TO_GUEST];
        vring.ring.is_some() && vring.is_enabled
    }

    /// Whether the guest takes a frame that is unfinished in this way.
    pub fn takes(&self, offload: &Offload) -> bool {
        self.device.features.takes(offload)
    }

    /// To be called before sleeping on [`fd`](Self::fd): has the guest kick when there is something to receive,
    /// or room for what could not be written, as far as the one and the other are waited for. True where
    /// there is already.
    pub fn arm(&mut self, receives: bool, writes: bool) -> bool {
        let [to_guest, from_guest] = &mut self.device.vrings;
        let mut has_work = false;
        if let Some(ring) = from_guest.ring.as_mut().filter(|_| receives) {
            has_work |= ring.arm() || ring.waiting() > 0;
        }
        if let Some(ring) = to_guest.open().filter(|_| writes) {
            // What was too little for the last batch is no room for it now.
            has_work |= ring.arm() || (ring.waiting() > 0 && !self.receive.is_short);
        }
        has_work
    }

    /// To be called after sleeping: the guest need not kick any more, the rings are polled.
    pub fn disarm(&mut self) {
        for ring in self.device.vrings.iter_mut().filter_map(|vring| vring.ring.as_mut()) {
            ring.disarm();
        }
        let woken = self.wake.look();
        self.device.counts.kicks += woken.rings;
        if woken.control {
            self.until_look = 0;
        }
    }

    /// Becomes readable when the front end or, once [armed](Self::arm), the guest wants something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd()
    }

    /// What was counted since the link was made.
    pub fn stats(&self) -> Stats {
        self.device.counts.stats()
    }

    fn take_frames(&mut self, space: &mut [u8]) -> usize {
        let Self { device, refusals, transmit, wake, .. } = self;
        let Device { features, memory, vrings, counts, .. } = device;
        let vring = &mut vrings[FROM_GUEST];
        let is_enabled = vring.is_enabled;
        let Some(ring) = &mut vring.ring else { return 0 };
        let taken = if is_enabled {
            let mut context = Context { memory, features: *features, refusals, counts };
            transmit.take(ring, &mut context, space)
        } else {
            // A ring that is off is emptied, not left to fill (vhost-user.rst, "Ring states").
            transmit::discard(ring).map(|frames| {
                counts.discarded += frames;
                0
            })
        };
        match taken {
            Ok(octets) => {
                counts.calls += u64::from(vring.publish());
                octets
            }
            Err(error) => {
                counts.rings_broken += 1;
                vring.give_up(error, wake);
                0
            }
        }
    }

    /// Does what the front end asks, until it asks nothing more or the link ends.
    fn serve(&mut self) {
        for _ in 0..REQUESTS_PER_LOOK {
            if self.is_closed {
                return;
            }
            match self.control.receive().map_err(End::from) {
                Ok(Some(message)) => {
                    if let Err(end) = self.answer(message) {
                        return self.close(end);
                    }
                }
                Ok(None) => return,
                Err(end) => return self.close(end),
            }
        }
    }

    fn answer(&mut self, message: Message) -> Result<(), End> {
        let Message { header, request, fds } = message;
        if header.is_reply {
            return Err(End::Control(ControlError::Framing(MessageError::Reply(header.request))));
        }
        let outcome = match &request {
            Ok(request) => self
                .device
                .handle(request, fds, &self.wake)
                .map_err(|error| End::Refused { request: header.request, error }),
            Err(error) => Err(End::Malformed(*error)),
        };
        let reply = |payload: &[u8]| Ok(self.control.reply(header.request, payload)?);
        match outcome {
            Ok(Answer::Number(number)) => reply(&number.to_ne_bytes()),
            Ok(Answer::State { ring, number }) => reply(&[ring.to_ne_bytes(), number.to_ne_bytes()].concat()),
            Ok(Answer::Done) if header.needs_reply => reply(&0u64.to_ne_bytes()),
            Ok(Answer::Done) => Ok(()),
            Err(refused) => {
                self.device.counts.requests_refused += 1;
                tracing::debug!("refused a request: {refused}");
                // Who waits for a ring's index cannot be answered otherwise. What is not known here is nothing that
                // we depend on; anything else, and the two ends would mean different things from now on.
                let is_own_reply = matches!(request, Ok(Request::VringBase { .. }));
                let is_unknown = matches!(refused, End::Refused { error: RequestError::Unknown, .. });
                match header.needs_reply {
                    true if !is_own_reply => reply(&1u64.to_ne_bytes()),
                    false if is_unknown => Ok(()),
                    _ => Err(refused),
                }
            }
        }
    }

    /// Lets go of all that is the guest's.
    fn close(&mut self, end: End) {
        match end {
            End::Control(ControlError::Closed) => tracing::debug!("the network card's front end is gone"),
            end => tracing::warn!("the guest's network card is given up: {end}"),
        }
        self.is_closed = true;
        self.wake.forget(self.control.socket());
        for vring in &mut self.device.vrings {
            vring.stop(&self.wake);
        }
        self.device.memory = Default::default();
    }
}

#[cfg(test)]
mod tests;
