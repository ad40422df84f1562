//! Rules: what a test wants to happen to single frames on their way, beyond what links do by chance.
//!
//! Rules are asked in the order in which they were added, before the link; the first that does not say
//! [`RuleVerdict::Pass`] decides. A closure is a rule.

use std::time::Duration;

use crate::frames::{Frames, Hop};

/// What a rule wants to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleVerdict {
    /// This rule does not care: ask the next, and then the link.
    Pass,
    /// Lose it.
    Drop,
    /// Let the link carry it this much later.
    Delay(Duration),
    /// Let a second copy arrive with it.
    Duplicate,
    /// Flip this bit of it, counted from the frame's first; beyond its end, the last.
    Corrupt(usize),
}

/// Something that decides about frames on their way.
pub trait Rule {
    /// Is shown a frame.
    fn on_frame(&mut self, hop: &Hop<'_>) -> RuleVerdict;
}

impl<F: FnMut(&Hop<'_>) -> RuleVerdict> Rule for F {
    fn on_frame(&mut self, hop: &Hop<'_>) -> RuleVerdict {
        self(hop)
    }
}

/// A rule in the making: which frames, and then what. [`Sim::on`](crate::Sim::on) begins one.
#[derive(Debug)]
#[must_use = "a rule does nothing before it is told what to do: drop_all, drop_nth, delay, …"]
pub struct When<'a, S> {
    pub(crate) sim: &'a mut S,
    pub(crate) frames: Frames,
}

/// Where finished rules go.
pub(crate) trait AddRule {
    fn add_rule(&mut self, rule: Box<dyn Rule>);
}

#[allow(private_bounds, reason = "only simulations take rules")]
impl<S: AddRule> When<'_, S> {
    /// Drops all of them.
    pub fn drop_all(self) {
        self.always(RuleVerdict::Drop);
    }

    /// Drops one of them: the first is number 1.
    pub fn drop_nth(self, nth: u64) {
        self.nth(nth, RuleVerdict::Drop);
    }

    /// Delays all of them.
    pub fn delay(self, by: Duration) {
        self.always(RuleVerdict::Delay(by));
    }

    /// Delays one of them: the first is number 1.
    pub fn delay_nth(self, nth: u64, by: Duration) {
        self.nth(nth, RuleVerdict::Delay(by));
    }

    /// Doubles all of them.
    pub fn duplicate(self) {
        self.always(RuleVerdict::Duplicate);
    }

    /// Flips a bit of one of them: the first is number 1.
    pub fn corrupt_nth(self, nth: u64, bit: usize) {
        self.nth(nth, RuleVerdict::Corrupt(bit));
    }

    fn always(self, verdict: RuleVerdict) {
        let frames = self.frames;
        let rule = move |hop: &Hop<'_>| if frames.matches(hop) { verdict } else { RuleVerdict::Pass };
        self.sim.add_rule(Box::new(rule));
    }

    fn nth(self, nth: u64, verdict: RuleVerdict) {
        let frames = self.frames;
        let mut seen = 0;
        let rule = move |hop: &Hop<'_>| {
            if !frames.matches(hop) {
                return RuleVerdict::Pass;
            }
            seen += 1;
            if seen == nth { verdict } else { RuleVerdict::Pass }
        };
        self.sim.add_rule(Box::new(rule));
    }
}
