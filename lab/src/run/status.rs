//! How every part of a lab is, as it says itself.

use tokio::task::JoinSet;

use super::call::Caller;
use super::parts::{Part, bridge, servers};
use super::protocol::{Condition, Message, Request, State};
use crate::plan::LabPlan;

/// How a lab is.
#[derive(Clone, Debug)]
pub struct Status {
    /// How its parts are, in no order; those that gave no answer are missing.
    pub states: Vec<(Part, State)>,
    /// Whether all parts are up.
    pub is_well: bool,
}

/// Asks every part of the lab how it is.
pub async fn status(plan: &LabPlan, caller: &Caller) -> Status {
    let mut asking = JoinSet::new();
    for part in std::iter::once(bridge(plan)).chain(servers(plan)) {
        let caller = caller.clone();
        asking.spawn(async move {
            let answer = caller.call(&part.target, Request::State(part.unit.clone()), drop).await;
            (part, answer)
        });
    }
    let mut states: Vec<(Part, State)> = Vec::new();
    let mut is_well = true;
    while let Some(asked) = asking.join_next().await {
        let Ok((part, answer)) = asked else { continue };
        let place = &part.place;
        match answer {
            Ok(Message::State(state)) => {
                is_well &= state.condition == Condition::Up;
                states.push((part, state));
                continue;
            }
            Ok(Message::Failed(failure)) => caller.say(&format!("{place}: {}", failure.why)),
            Ok(_) => caller.say(&format!("{place}: the answer does not belong to the question")),
            Err(error) => caller.say(&format!("{place}: {error}")),
        }
        is_well = false;
    }
    Status { states, is_well }
}
