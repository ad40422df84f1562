//! The suite that every transport passes.
//!
//! Every rank runs it over its own end, in a thread or a process of its own, at the same time: the checks
//! speak to each other through the transport. A check that fails says so at the rank that noticed; the others
//! then run into the deadline.
//!
//! ```
//! use mvpnet_switch::World;
//! use mvpnet_transports::conformance::{self, Expectations, Rings};
//! use mvpnet_transports::{FlowLimits, mem};
//!
//! let fabric = mem::fabric(World::new(1)?)?;
//! for mut end in fabric {
//!     conformance::run(&mut end, &Expectations::new(FlowLimits::BUFFERS, Rings::Surely), |name| println!("{name}"))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use thiserror::Error;

use crate::{FlowLimits, Transport};

mod delivery;
mod flow;
mod frames;
mod party;
mod waking;

use party::Party;

/// What a transport promises beyond the trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// Its bounds per peer.
    pub limits: FlowLimits,
    /// How far a sleeper can rely on being rung.
    pub rings: Rings,
    /// How long one check may take.
    pub deadline: Duration,
    /// What carries frames, if it is not as reliable as the trait says.
    pub medium: Medium,
}

/// What carries frames between the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Something that loses nothing and has credits: all checks apply.
    Reliable,
    /// Datagrams of a network: they carry frames and nothing beside them, and nobody holds a sender back.
    /// Checks that ask for more do not apply; in the others the suite itself has this many bytes at most on
    /// the way from one rank to another.
    Datagrams {
        /// Bytes that a receiver surely has room for, from each sender.
        window: usize,
    },
}

/// How far a sleeper can rely on being rung, and so how the suite sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rings {
    /// No ring is lost: the suite sleeps without the backstop, and a lost ring ends in the deadline.
    Surely,
    /// A ring may now and then come before what it is for can be seen: the suite sleeps for half a second
    /// instead of the backstop, and a few sleeps that nobody ended although there was work are allowed.
    Mostly,
    /// Rings may not come at all: the suite sleeps no longer than the transport says.
    Perhaps,
}

impl Expectations {
    /// What a transport with these bounds and rings has to fulfil.
    pub const fn new(limits: FlowLimits, rings: Rings) -> Self {
        Expectations { limits, rings, deadline: Duration::from_secs(120), medium: Medium::Reliable }
    }

    /// What a transport over datagrams has to fulfil.
    pub const fn datagrams(window: usize) -> Self {
        let medium = Medium::Datagrams { window };
        // Datagrams need no rings: they wait in a descriptor.
        Expectations { medium, ..Expectations::new(FlowLimits::MESSAGES, Rings::Perhaps) }
    }

    /// Why a check does not apply, if it does not.
    fn waives(&self, needs: Needs) -> Option<&'static str> {
        match (self.medium, needs) {
            (Medium::Reliable, _) | (_, Needs::Frames) => None,
            (Medium::Datagrams { .. }, Needs::Credits) => {
                Some("does not apply: datagrams have no credits, so nothing stops a sender but the network")
            }
            (Medium::Datagrams { .. }, Needs::Offloads) => Some(
                "does not apply: datagrams carry finished frames, and have no place for what is left to be done",
            ),
        }
    }
}

/// What a check needs of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// That it carries frames.
    Frames,
    /// That a receiver can hold its senders back.
    Credits,
    /// That it carries the headers of unfinished frames.
    Offloads,
}

/// A check that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("rank {rank}: {check}: {what}")]
pub struct Failure {
    /// The rank that noticed.
    pub rank: u32,
    /// The name of the check.
    pub check: &'static str,
    /// What was wrong.
    pub what: String,
}

type Check = fn(&mut Party<'_>) -> Result<(), String>;

/// All checks, in the order in which every rank runs them.
const CHECKS: &[(&str, Needs, Check)] = &[
    ("frames arrive once, whole and in order, between all pairs", Needs::Frames, delivery::all_pairs),
    ("frames of every length arrive, also longer than a batch", Needs::Frames, delivery::every_length),
    ("runs arrive as the records they are made of", Needs::Frames, delivery::runs),
    ("unfinished frames arrive with what is left to be done", Needs::Offloads, delivery::unfinished),
    ("floods keep their root", Needs::Frames, delivery::floods),
    ("control records arrive whole and in order", Needs::Frames, delivery::control),
    ("what is too long or for nobody is refused", Needs::Frames, delivery::refusals),
    ("a rank reaches itself", Needs::Frames, delivery::oneself),
    ("many to one: everybody's frames arrive", Needs::Frames, flow::many_to_one),
    (
        "a receiver that does not consume stops its sender at the bounds, and control gets through",
        Needs::Credits,
        flow::back_pressure,
    ),
    ("a slow receiver does not hold up traffic to others", Needs::Credits, flow::slow_receiver),
    ("a blocked sender sleeps until credit comes", Needs::Credits, flow::credit_wakes),
    ("a rank that only makes progress hands everything over", Needs::Credits, flow::drains_unread),
    ("a warm path allocates no buffers", Needs::Frames, flow::warm_path),
    ("a token goes round while all others sleep", Needs::Frames, waking::token),
    ("no ring is lost when sender and sleeper race", Needs::Frames, waking::races),
    ("a rank that sleeps lets large messages through", Needs::Frames, waking::large_messages_to_sleepers),
];

/// Runs all checks that apply over this rank's end. `starting` hears the name of each, and of those that do
/// not apply why.
pub fn run(
    transport: &mut dyn Transport,
    expectations: &Expectations,
    mut starting: impl FnMut(&str),
) -> Result<(), Failure> {
    let rank = transport.me().index();
    let mut party = Party::new(transport, *expectations);
    for (name, needs, check) in CHECKS {
        if let Some(why) = expectations.waives(*needs) {
            starting(&format!("{name}: {why}"));
            continue;
        }
        starting(name);
        party.start();
        let result = check(&mut party).and_then(|()| party.meet());
        result.map_err(|what| Failure { rank, check: name, what })?;
    }
    let check = "rings are not lost";
    party.check_rings().map_err(|what| Failure { rank, check, what })
}
