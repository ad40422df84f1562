//! What a generator does, one file per role.

mod allping;
mod answer;
mod garbage;
mod pingpong;
mod traffic;

use serde_json::{Value, json};
use thiserror::Error;

use super::{link::LinkError, script::Job, script::Role, station::Station};

/// Why a role could not be played.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RoleError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("ranks {0:?} did not answer within {1:?}")]
    NobodyThere(Vec<u32>, std::time::Duration),
    #[error("no frame came within {0:?}")]
    NothingCame(std::time::Duration),
}

/// Plays a role to its end; `publish` is called with what was measured as soon as it is known, once. With `stay`, a
/// role that measures goes on answering, unless the script says something else.
pub fn play(
    role: &Role,
    station: &mut Station,
    stay: bool,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    let measures = matches!(role.job, Job::Traffic { .. } | Job::PingPong { .. });
    let mut played = match &role.job {
        Job::Answer { seconds } => answer::answer(station, *seconds, publish),
        Job::Deaf { seconds } => answer::stay_deaf(station, *seconds, publish),
        Job::Traffic { send, receive, window } => {
            traffic::run(station, send.as_ref(), *receive, *window, role.patience, publish)
        }
        Job::PingPong { to, size, gap, window } => {
            let ping = pingpong::Ping { to: *to, size: *size, gap: *gap, window: *window };
            pingpong::run(station, ping, role.patience, publish)
        }
        Job::AllPing { size, peers } => allping::run(station, *size, *peers, role.patience, publish),
        Job::Garbage(misdeeds) => garbage::run(station, misdeeds, role.patience, publish),
    };
    if measures && played.is_ok() && role.stay.unwrap_or(stay) {
        played = answer::linger(station, None, |_| ());
    }
    // Who was told to end need not have finished.
    if station.stop.raised() { Ok(()) } else { played }
}

/// The link's end is the natural end of a role that only answers.
fn until_closed(result: Result<(), LinkError>) -> Result<bool, LinkError> {
    match result {
        Ok(()) => Ok(true),
        Err(LinkError::Closed) => Ok(false),
        Err(error) => Err(error),
    }
}

fn strays(station: &Station) -> Value {
    json!(station.strays)
}
