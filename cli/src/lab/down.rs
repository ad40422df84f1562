//! `mvpnet lab down`: the guests of all servers at once, then the bridge. What cannot be reached keeps nobody else up.

use mvpnet_lab::plan::LabPlan;
use serde_json::json;
use tokio::task::JoinSet;

use super::call::Caller;
use super::parts::{Part, bridge, servers};
use super::protocol::{Failure, Message, Request};
use super::{Stop, say};

pub(super) async fn down(plan: &LabPlan, caller: &Caller, force: bool, json: bool) -> Result<String, Stop> {
    let mut ended = stop_all(servers(plan), caller, force).await;
    ended.extend(stop_all(vec![bridge(plan)], caller, force).await);
    if ended.iter().any(|(_, ended)| ended.is_none()) {
        return Err(Stop::Failed);
    }
    let ended: Vec<&str> = ended
        .iter()
        .filter(|(_, ended)| *ended == Some(true))
        .map(|(part, _)| part.unit.name.as_str())
        .collect();
    Ok(match (json, ended.is_empty()) {
        (true, _) => format!("{}\n", json!({ "lab": plan.name, "ended": ended })),
        (false, true) => format!("{}: nothing of it was there\n", plan.name),
        (false, false) => format!("{}: nothing of it is left\n", plan.name),
    })
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
                say(&format!("{place}: cannot end {}: {why}", part.title));
                say_lines(&lines);
                None
            }
            Ok(_) => {
                say(&format!(
                    "{place}: cannot end {}: the answer does not belong to the question",
                    part.title
                ));
                None
            }
            Err(error) => {
                say(&format!("{place}: cannot end {}: {error}", part.title));
                None
            }
        };
        if there_was == Some(true) {
            say(&format!("{place}: {} {} gone", part.title, part.verb()));
        }
        ended.push((part, there_was));
    }
    ended
}

/// The last lines of a program that failed.
pub(super) fn say_lines(lines: &[String]) {
    for line in lines {
        say(&format!("    | {line}"));
    }
}
