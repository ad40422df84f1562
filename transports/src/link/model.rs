//! The description of a link: what it does to frames, without any state.

use std::time::Duration;

use super::{BitRate, ByteSize, Probability};

/// What one direction between two ranks does to frames. [`LinkModel::IDEAL`] does nothing to them.
///
/// The order in which a frame meets these: MTU, queue and rate, losses, latency and jitter, reordering,
/// corruption, duplication. Jitter alone never reorders: a frame waits for those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkModel {
    /// How long a bit travels.
    pub latency: Duration,
    /// What is added to the latency, drawn anew for each frame.
    pub jitter: Jitter,
    /// How fast bits are sent; `None` is at once. A frame's length counts without preamble, FCS and gap.
    pub rate: Option<BitRate>,
    /// How many bytes may wait to be sent when there is a rate. A frame always finds room on an idle link.
    pub queue: ByteSize,
    /// How likely a frame is lost, each for itself.
    pub loss: Probability,
    /// Losses that come in bursts.
    pub burst: Option<Burst>,
    /// How likely a second copy arrives, drawn its own latency.
    pub duplicate: Probability,
    /// How likely a frame is held back for [`reorder_by`](LinkModel::reorder_by), so that others overtake it.
    pub reorder: Probability,
    /// For how long.
    pub reorder_by: Duration,
    /// How likely one bit of a frame, anywhere in it, arrives flipped.
    pub corrupt: Probability,
    /// The longest IP packet that the link carries, in bytes; `None` is any.
    pub mtu: Option<u32>,
}

/// What is added to the latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Nothing.
    #[default]
    None,
    /// Anything up to this, all equally likely.
    Uniform(Duration),
    /// The upper half of a normal distribution with this standard deviation.
    Normal(Duration),
    /// A Pareto distribution of shape 2 with this scale: mostly little, now and then very much.
    Pareto(Duration),
}

/// Losses in bursts, after Gilbert (1960) and Elliott (1963): the link is in a good or in a bad state, may
/// change before each frame, and loses frames in the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// How likely a burst begins before a frame.
    pub begin: Probability,
    /// How likely a burst ends before a frame; a burst lasts 1 / `end` frames on average.
    pub end: Probability,
    /// How likely a frame is lost during a burst.
    pub loss: Probability,
}

impl LinkModel {
    /// Frames arrive when they are sent, all of them.
    pub const IDEAL: LinkModel = LinkModel {
        latency: Duration::ZERO,
        jitter: Jitter::None,
        rate: None,
        queue: ByteSize::new(256 << 10),
        loss: Probability::NEVER,
        burst: None,
        duplicate: Probability::NEVER,
        reorder: Probability::NEVER,
        reorder_by: Duration::from_millis(1),
        corrupt: Probability::NEVER,
        mtu: None,
    };

    /// Whether nothing happens to frames. What only says how (queue, reorder-by) does not count.
    pub fn is_ideal(&self) -> bool {
        let quiet = LinkModel { queue: Self::IDEAL.queue, reorder_by: Self::IDEAL.reorder_by, ..*self };
        quiet == Self::IDEAL
    }

    /// This, with another latency.
    pub const fn latency(self, latency: Duration) -> LinkModel {
        LinkModel { latency, ..self }
    }

    /// This, with another jitter.
    pub const fn jitter(self, jitter: Jitter) -> LinkModel {
        LinkModel { jitter, ..self }
    }

    /// This, with a rate.
    pub const fn rate(self, rate: BitRate) -> LinkModel {
        LinkModel { rate: Some(rate), ..self }
    }

    /// This, with another queue.
    pub const fn queue(self, queue: ByteSize) -> LinkModel {
        LinkModel { queue, ..self }
    }

    /// This, with a loss of single frames.
    pub const fn loss(self, loss: Probability) -> LinkModel {
        LinkModel { loss, ..self }
    }

    /// This, with a loss in bursts.
    pub const fn burst(self, burst: Burst) -> LinkModel {
        LinkModel { burst: Some(burst), ..self }
    }

    /// This, with duplication.
    pub const fn duplicate(self, duplicate: Probability) -> LinkModel {
        LinkModel { duplicate, ..self }
    }

    /// This, with frames held back for this long.
    pub const fn reorder(self, reorder: Probability, reorder_by: Duration) -> LinkModel {
        LinkModel { reorder, reorder_by, ..self }
    }

    /// This, with corruption.
    pub const fn corrupt(self, corrupt: Probability) -> LinkModel {
        LinkModel { corrupt, ..self }
    }

    /// This, with an MTU.
    pub const fn mtu(self, mtu: u32) -> LinkModel {
        LinkModel { mtu: Some(mtu), ..self }
    }
}

impl Default for LinkModel {
    fn default() -> LinkModel {
        LinkModel::IDEAL
    }
}
