//! Random links.

use std::time::Duration;

use mvpnet_transports::link::{LinkModel, PRESETS, Probability};
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

/// Which random links there may be. All shrink to an ideal link, one setting after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// How many of the presets, in their order from `ideal` to `lossy-wan`.
    presets: usize,
    /// Percent, at most.
    loss: u32,
    /// Percent, at most.
    duplicate: u32,
    /// Percent, at most.
    reorder: u32,
    /// Percent, at most.
    corrupt: u32,
    /// Milliseconds, at most.
    latency: u32,
}

impl Links {
    /// Ideal links only.
    pub const IDEAL: Links = Links { presets: 1, loss: 0, duplicate: 0, reorder: 0, corrupt: 0, latency: 0 };

    /// Links that delay frames and neither lose, double nor change any: the presets up to `cluster-100g`, with other
    /// latencies.
    pub const LOSSLESS: Links = Links { presets: 4, latency: 50, ..Links::IDEAL };

    /// Any preset, and a few percent of everything that may happen to a frame.
    pub const ANY: Links =
        Links { presets: PRESETS.len(), loss: 5, duplicate: 5, reorder: 5, corrupt: 2, latency: 50 };

    /// These, that lose up to this many percent of the frames beyond what presets lose.
    pub const fn loss(self, percent: u32) -> Links {
        Links { loss: percent, ..self }
    }

    /// These, that double up to this many percent of the frames.
    pub const fn duplicate(self, percent: u32) -> Links {
        Links { duplicate: percent, ..self }
    }

    /// These, that hold back up to this many percent of the frames.
    pub const fn reorder(self, percent: u32) -> Links {
        Links { reorder: percent, ..self }
    }

    /// These, that flip a bit in up to this many percent of the frames.
    pub const fn corrupt(self, percent: u32) -> Links {
        Links { corrupt: percent, ..self }
    }

    /// These, where a preset's latency may be replaced by one of up to this many milliseconds.
    pub const fn latency(self, milliseconds: u32) -> Links {
        Links { latency: milliseconds, ..self }
    }

    /// The strategy that draws them.
    pub fn strategy(self) -> BoxedStrategy<LinkModel> {
        let settings = (
            up_to(self.loss),
            up_to(self.duplicate),
            up_to(self.reorder),
            up_to(self.corrupt),
            up_to(self.latency),
        );
        (0..self.presets, settings)
            .prop_map(|(preset, (loss, duplicate, reorder, corrupt, latency))| {
                let mut model = PRESETS.get(preset).map_or(LinkModel::IDEAL, |(_, model)| *model);
                let percent = |percent: u32| Probability::percent(percent.min(100));
                if loss > 0 {
                    model.loss = percent(loss);
                }
                if latency > 0 {
                    model.latency = Duration::from_millis(latency.into());
                }
                model.duplicate = percent(duplicate);
                model.reorder = percent(reorder);
                model.corrupt = percent(corrupt);
                model
            })
            .boxed()
    }
}

/// Mostly nothing, so that most links have one or two peculiarities.
fn up_to(most: u32) -> BoxedStrategy<u32> {
    if most == 0 { Just(0).boxed() } else { prop_oneof![3 => Just(0), 1 => 0..=most].boxed() }
}
