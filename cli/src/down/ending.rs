//! The end of one job: asked for, waited for, and in the end made.

use std::io::Write;
use std::time::{Duration, Instant};

use mvpnet_node::control::{
    Answer, AskError, JobInfo, JobState, Known, Members, RankState, Request, ask_within, clear,
};

use super::DownError;

/// How long a job may take to say that it ends.
const ASK_TIME: Duration = Duration::from_secs(10);

/// How long a job that is not given any time may take to end by itself: a qemu that is told to ends at once.
const HURRY: Duration = Duration::from_secs(8);

/// How long keepers whose ranks were killed may take to stop guests and to tidy up.
const KEEPERS: Duration = Duration::from_secs(15);

/// How long what was killed may take to be gone.
const KILL: Duration = Duration::from_secs(10);

/// After this time people are told what is waited for, and every so often.
const PROGRESS: Duration = Duration::from_secs(2);

/// How long a job that ends may take to say how far it is.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A job that is about to end.
pub(super) struct Ending {
    known: Known,
    members: Members,
    force: bool,
    asked: Result<(), AskError>,
    begun: Instant,
    told: Duration,
}

impl Ending {
    /// Asks the job to end, if it can be asked.
    #[allow(clippy::disallowed_methods, reason = "jobs end in real time")]
    pub(super) fn begin(known: Known, force: bool) -> Self {
        let members = known.members();
        let asked = match known.info.state {
            JobState::Dead => Ok(()),
            // It was asked a moment ago how it is.
            JobState::Silent => Err(AskError::Silent(mvpnet_node::control::Kind::Job)),
            _ => ask(&known.info, force),
        };
        Self { known, members, force, asked, begun: Instant::now(), told: Duration::ZERO }
    }

    /// What people call it.
    pub(super) fn job(&self) -> String {
        self.known.info.to_string()
    }

    /// Waits until nothing of it is left on this host, for so long at most.
    pub(super) fn wait(mut self, timeout: Option<Duration>) -> Result<(), DownError> {
        let asked = std::mem::replace(&mut self.asked, Ok(()));
        match (asked, self.force) {
            (Err(error), false) => return Err(DownError::Ask { job: self.job(), error }),
            (Ok(()), false) => {
                if !self.is_gone_within(timeout) {
                    let after = timeout.unwrap_or(Duration::MAX);
                    return Err(DownError::TimeOver { job: self.job(), after });
                }
            }
            (asked, true) => self.make(asked.is_ok(), timeout)?,
        }
        let left = clear(&self.known);
        if left.is_empty() { Ok(()) } else { Err(DownError::Left { job: self.job(), left }) }
    }

    /// What does not end is killed, the ranks first.
    fn make(&mut self, was_asked: bool, timeout: Option<Duration>) -> Result<(), DownError> {
        let patience = timeout.unwrap_or(HURRY).min(HURRY);
        if was_asked && self.is_gone_within(Some(patience)) {
            return Ok(());
        }
        self.members.kill_ranks();
        if self.is_gone_within(Some(self.begun.elapsed() + KEEPERS)) {
            return Ok(());
        }
        self.members.kill_keepers();
        if self.is_gone_within(Some(self.begun.elapsed() + KILL)) {
            return Ok(());
        }
        let remains = self.members.remains();
        let processes = remains.ranks.iter().chain(&remains.keepers);
        let left = processes.map(|process| format!("process {} was killed and does not end", process.number));
        Err(DownError::Left { job: self.job(), left: left.collect() })
    }

    /// Whether nothing of it lives that long after it was asked.
    fn is_gone_within(&mut self, limit: Option<Duration>) -> bool {
        loop {
            let remains = self.members.remains();
            if remains.is_empty() {
                return true;
            }
            let elapsed = self.begun.elapsed();
            if limit.is_some_and(|limit| elapsed >= limit) {
                return false;
            }
            if elapsed >= self.told + PROGRESS {
                self.told = elapsed;
                let waiting = how_far(&self.known.info).unwrap_or_else(|| match remains.ranks.len() {
                    0 => "its keepers tidy up".to_owned(),
                    1 => "its process ends".to_owned(),
                    count => format!("its {count} processes here end"),
                });
                let seconds = elapsed.as_secs();
                let _ = writeln!(std::io::stderr(), "mvpnet: {}: {waiting}, {seconds} s", self.job());
            }
            pause();
        }
    }
}

fn ask(job: &JobInfo, hurry: bool) -> Result<(), AskError> {
    match ask_within(job.through, &Request::Down { hurry }, Some(ASK_TIME)) {
        // What is over already needs not be asked.
        Ok(_) | Err(AskError::Over(..) | AskError::Ended(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// How far a job is with its end, if it says so.
fn how_far(job: &JobInfo) -> Option<String> {
    let Ok(Answer::Status(status)) = ask_within(job.through, &Request::Status, Some(LOOK)) else {
        return None;
    };
    let off = status.ranks.iter().filter(|rank| rank.state == RankState::Off).count();
    Some(format!("{off} of {} guests are off", status.ranks.len()))
}

#[allow(clippy::disallowed_methods, reason = "jobs end in real time")]
fn pause() {
    std::thread::sleep(PAUSE);
}
