//! Ending a lab: the guests of all servers at once, then the bridge. What cannot be reached keeps nobody else up.

use tokio::task::JoinSet;

use super::Failed;
use super::call::Caller;
use super::parts::{Part, bridge, servers};
use super::protocol::{Failure, Message, Request};
use crate::plan::LabPlan;

/// Ends all parts of the lab, by force or after guests have shut down, and returns those of which there was anything.
///
/// # Errors
/// Something may be left.
pub async fn down(plan: &LabPlan, caller: &Caller, force: bool) -> Result<Vec<Part>, Failed> {
    let mut ended = stop_all(servers(plan), caller, force).await;
    ended.extend(stop_all(vec![bridge(plan)], caller, force).await);
    if ended.iter().any(|(_, ended)| ended.is_none()) {
        return Err(Failed);
    }
    Ok(ended.into_iter().filter(|(_, ended)| *ended == Some(true)).map(|(part, _)| part).collect())
}

/// Ends these at once, and says what came of each: whether there was anything; none if it cannot be ended.
pub(super) async fn stop_all(parts: Vec<Part>, caller: &Caller, force: bool) -> Vec<(Part, Option<bool>)> {
    let mut stopping = JoinSet::new();
    for part in parts {
        let caller = caller.clone();
        stopping.spawn(async move {
            let request = Request::Stop { unit: part.unit.clone(), force };
            let answer = caller.call(&part.target, request, drop).await;
            (part, answer)
        });
    }
    let mut ended = Vec::new();
    while let Some(stopped) = stopping.join_next().await {
        let Ok((part, answer)) = stopped else { continue };
        let place = &part.place;
        let there_was = match answer {
            Ok(Message::Stopped(there_was)) => Some(there_was),
            Ok(Message::Failed(Failure { why, lines })) => {
                caller.say(&format!("{place}: cannot end {}: {why}", part.title));
                caller.say_lines(&lines);
                None
            }
            Ok(_) => {
                caller.say(&format!(
                    "{place}: cannot end {}: the answer does not belong to the question",
                    part.title
                ));
                None
            }
            Err(error) => {
                caller.say(&format!("{place}: cannot end {}: {error}", part.title));
                None
            }
        };
        if there_was == Some(true) {
            caller.say(&format!("{place}: {} {} gone", part.title, part.verb()));
        }
        ended.push((part, there_was));
    }
    ended
}
