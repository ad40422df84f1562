//! `mvpnet lab status`: how every part is, as it says itself.

use mvpnet_lab::plan::LabPlan;
use tokio::task::JoinSet;

use super::call::Caller;
use super::parts::{Part, bridge, servers};
use super::protocol::{Condition, Message, Request, State};
use super::report::Report;
use super::{Stop, down, say};

pub(super) async fn status(plan: &LabPlan, caller: &Caller, json: bool) -> Result<String, Stop> {
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
            Ok(Message::Failed(failure)) => say(&format!("{place}: {}", failure.why)),
            Ok(_) => say(&format!("{place}: the answer does not belong to the question")),
            Err(error) => say(&format!("{place}: {error}")),
        }
        is_well = false;
    }
    let report = Report::new(plan, states);
    let text = if json { report.json() } else { report.text() };
    if is_well {
        return Ok(text);
    }
    // What is not well is no reason to say nothing.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    for (part, state) in &report.states {
        if matches!(state.condition, Condition::Ended | Condition::Silent) && !state.lines.is_empty() {
            say(&format!("{}: the last lines of {}:", part.place, part.title));
            down::say_lines(&state.lines);
        }
    }
    Err(Stop::Failed)
}
