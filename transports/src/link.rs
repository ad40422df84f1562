//! The link model: what a network between two ranks does to frames, as a pure function.
//!
//! A [`Link`] is one direction between two ranks. It is told the time and the length of a frame and says when
//! which copies arrive, or why none does. It holds no frames, has no clock, and draws its chances from a
//! generator of its own that is seeded by the caller, so that the same frames at the same times meet the same
//! fate. The simulation applies it to virtual time; a running job applies it to its own.
//!
//! [`LinkModel`] is the description, [`Network`] all links that end at one rank, [`Change`] what may happen to
//! them while frames are on the way. Descriptions and changes are written in the same words everywhere: in
//! scenario files, in tests and on the command line.
//!
//! ```
//! use std::time::Duration;
//! use mvpnet_switch::{DropReason, Instant};
//! use mvpnet_transports::link::{Link, LinkModel};
//!
//! let model: LinkModel = "latency=10ms rate=8Mbit/s".parse()?;
//! let mut link = Link::new(1);
//! // 1000 bytes take a millisecond to send at 8 Mbit/s, and ten to travel.
//! let passage = link.pass(&model, Instant::ZERO, 1000).expect("this link loses nothing");
//! assert_eq!(passage.first.at, Instant::ZERO + Duration::from_millis(11));
//! # Ok::<(), mvpnet_transports::link::SettingError>(())
//! ```

mod chance;
mod change;
mod model;
mod network;
mod presets;
mod units;
mod words;

use std::time::Duration;

use mvpnet_switch::{DropReason, Instant};

pub use chance::{Chance, Probability, ProbabilityError};
pub use change::{Change, ChangeError, Pairs};
pub use model::{Burst, Jitter, LinkModel};
pub use network::{Network, Settings};
pub use presets::PRESETS;
pub use units::{BitRate, ByteSize, UnitError, format_duration, parse_duration};
pub use words::{SETTINGS, SettingError};

/// One copy of a frame at the far end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrives.
    pub at: Instant,
    /// The bit that is flipped in it, counted from the frame's first.
    pub corrupt_bit: Option<usize>,
}

/// What arrives of a frame that was not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The frame.
    pub first: Arrival,
    /// A second copy of it.
    pub duplicate: Option<Arrival>,
}

/// The state of one direction between two ranks: what is on its way, and its chances.
///
/// The [`LinkModel`] is an argument of [`pass`](Link::pass), so that it may change at any time. Frames that
/// are on their way then are not touched by the change.
#[derive(Clone, Debug)]
pub struct Link {
    chance: Chance,
    in_burst: bool,
    /// When the last bit that was accepted will have been sent.
    sent_until: Instant,
    /// When the last frame arrives that keeps its place.
    last_arrival: Instant,
}

impl Link {
    /// A link with nothing on it.
    pub fn new(seed: u64) -> Link {
        Link::new_with(Chance::new(seed))
    }

    /// A link with nothing on it, and these chances.
    pub fn new_with(chance: Chance) -> Link {
        Link { chance, in_burst: false, sent_until: Instant::ZERO, last_arrival: Instant::ZERO }
    }

    /// Sends a frame of `len` bytes at `now`, which must not be earlier than at the last call. What is lost is
    /// lost for one of the reasons that begin with `Link`.
    pub fn pass(&mut self, model: &LinkModel, now: Instant, len: usize) -> Result<Passage, DropReason> {
        if model.is_ideal() {
            return Ok(Passage { first: self.in_order(now), duplicate: None });
        }
        if model.mtu.is_some_and(|mtu| len > mtu as usize + ETHERNET_HEADER_LEN) {
            return Err(DropReason::LinkTooLong);
        }
        let sent = self.serialise(model, now, len)?;
        self.lose(model)?;
        let first = self.arrival(model, sent, len);
        let duplicate = self.chance.happens(model.duplicate).then(|| self.arrival(model, sent, len));
        Ok(Passage { first, duplicate })
    }

    /// When the frame's last bit leaves, behind what the queue holds already.
    fn serialise(&mut self, model: &LinkModel, now: Instant, len: usize) -> Result<Instant, DropReason> {
        let Some(rate) = model.rate else { return Ok(now) };
        let starts = self.sent_until.max(now);
        let waiting = rate.bytes_in(starts.saturating_since(now));
        // A frame may always be sent on an idle link, however small its queue.
        if waiting > 0 && waiting + len as u64 > model.queue.bytes() {
            return Err(DropReason::LinkQueueFull);
        }
        self.sent_until = starts + rate.time_for(len);
        Ok(self.sent_until)
    }

    /// Random loss and the two states of Gilbert and Elliott.
    fn lose(&mut self, model: &LinkModel) -> Result<(), DropReason> {
        if let Some(burst) = model.burst {
            let turns = if self.in_burst { burst.end } else { burst.begin };
            self.in_burst ^= self.chance.happens(turns);
            if self.in_burst && self.chance.happens(burst.loss) {
                return Err(DropReason::LinkBurst);
            }
        }
        if self.chance.happens(model.loss) { Err(DropReason::LinkLoss) } else { Ok(()) }
    }

    fn arrival(&mut self, model: &LinkModel, sent: Instant, len: usize) -> Arrival {
        let at = sent + model.latency + self.jitter(model.jitter);
        let mut arrival = if self.chance.happens(model.reorder) {
            // It is held back, and neither waits for its predecessors nor makes its successors wait.
            Arrival { at: at + model.reorder_by, corrupt_bit: None }
        } else {
            self.in_order(at)
        };
        if self.chance.happens(model.corrupt) && len > 0 {
            arrival.corrupt_bit = Some(self.chance.below(len as u64 * 8) as usize);
        }
        arrival
    }

    fn in_order(&mut self, at: Instant) -> Arrival {
        self.last_arrival = self.last_arrival.max(at);
        Arrival { at: self.last_arrival, corrupt_bit: None }
    }

    fn jitter(&mut self, jitter: Jitter) -> Duration {
        match jitter {
            Jitter::None => Duration::ZERO,
            Jitter::Uniform(most) => self.chance.duration_below(most),
            Jitter::Normal(deviation) => self.chance.normal(deviation),
            Jitter::Pareto(scale) => self.chance.pareto(scale),
        }
    }
}

/// Length of an Ethernet header without tags, which the MTU does not count (IEEE 802.3 §3.1).
const ETHERNET_HEADER_LEN: usize = 14;

#[cfg(test)]
mod tests;
