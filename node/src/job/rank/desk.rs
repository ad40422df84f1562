//! The control socket of a rank's process, and who answers what is asked there: rank 0, whom the others ask in turn.

use std::collections::BTreeMap;

use mvpnet_switch::Rank;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::RankLife;
use super::faults::Outcome;
use crate::control::{Answer, Asked, Control, JobInfo, Kind, Request, directories};
use crate::job::about::record;
use crate::job::messages::{Message, Report};

/// Octets of an answer in one message: as JSON in JSON they may double, and a control record has 32 KiB.
const PART: usize = 12 << 10;

/// What a rank has to do with who asks.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// From the moment at which it is known which job this is, in a process that answers.
    pub(super) control: Option<Control>,
    next_id: u64,
    /// Questions that were passed on to rank 0.
    passed_on: BTreeMap<u64, PassedOn>,
}

#[derive(Debug)]
struct PassedOn {
    /// What has come of the answer.
    text: String,
    answer: oneshot::Sender<Answer>,
}

impl Desk {
    fn pass_on(&mut self, answer: oneshot::Sender<Answer>) -> u64 {
        // Who has gone away is not answered.
        self.passed_on.retain(|_, waiting| !waiting.answer.is_closed());
        self.next_id += 1;
        self.passed_on.insert(self.next_id, PassedOn { text: String::new(), answer });
        self.next_id
    }

    /// Rank 0 has answered, or a part of it.
    pub(super) fn answered(&mut self, id: u64, part: &str, is_last: bool) {
        let Some(waiting) = self.passed_on.get_mut(&id) else { return };
        waiting.text.push_str(part);
        if is_last && let Some(PassedOn { text, answer }) = self.passed_on.remove(&id) {
            match serde_json::from_str(&text) {
                // Who asked may have given up.
                Ok(said) => drop(answer.send(said)),
                Err(error) => tracing::warn!("rank 0 gave an answer that is none: {error}"),
            }
        }
    }
}

impl RankLife {
    /// Every rank learns which job it is of: it can be asked from now on, and notes down what it is.
    pub(super) async fn join(&mut self, job: JobInfo) {
        if self.answers {
            let kind = if self.chief.is_some() { Kind::Job } else { Kind::Rank };
            self.desk.control = Some(Control::open_as(kind));
        }
        let Some((plan, keeper)) = &self.plan else { return };
        let record = record(&job, self.number, plan);
        let mut outcome = Err(std::io::ErrorKind::NotFound.into());
        for directory in directories() {
            if let Err(error) = keeper.guard(record.guarded_in(&directory)).await {
                return tracing::warn!("{error}");
            }
            outcome = record.write_to(&directory);
            if outcome.is_ok() {
                break;
            }
        }
        if let Err(error) = outcome {
            tracing::warn!("this rank is not noted down for `mvpnet ps` and `mvpnet gc`: {error}");
        }
    }

    /// Somebody on this host asks.
    pub(super) async fn on_asked(&mut self, asked: Asked) {
        let Asked { request, answer, stream } = asked;
        if let Request::Session(request) = request {
            // Whatever rank it is with, it begins here.
            return self.sessions.attach(request, answer, stream);
        }
        if self.chief.is_some() {
            return self.answer(request, answer).await;
        }
        let id = self.desk.pass_on(answer);
        match self.world.rank(0) {
            Ok(to) => self.tell(to, Message::Ask { id, request }),
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// Rank 0: somebody on another host asks, by a rank there.
    pub(super) async fn on_asked_by(&mut self, rank: Rank, id: u64, request: Request) {
        if self.chief.is_none() {
            return tracing::warn!("rank {rank} asks rank {}, which is not rank 0", self.me);
        }
        let (answer, answered) = oneshot::channel();
        let outcomes = self.outcomes.sender();
        let passing_back = async move {
            // A job that is over answers nothing.
            if let Ok(answer) = answered.await {
                let _ = outcomes.send(Outcome::Answered { rank, id, answer });
            }
        };
        tokio::spawn(passing_back.in_current_span());
        self.answer(request, answer).await;
    }

    /// Rank 0: gives an answer to a rank that asked for somebody.
    pub(super) fn pass_back(&self, rank: Rank, id: u64, answer: &Answer) {
        let text = serde_json::to_string(answer).expect("answers hold only what JSON can say");
        let mut parts = parts(&text).peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            self.tell(rank, Message::Answered { id, part: part.to_owned(), is_last });
        }
    }

    /// Rank 0: answers, or sees to it that it is answered later.
    async fn answer(&mut self, request: Request, answer: oneshot::Sender<Answer>) {
        let Some(chief) = &mut self.chief else { return };
        // Who asked may have given up; what was asked for happens all the same.
        match request {
            Request::Info => drop(answer.send(Answer::Info(chief.changes.info()))),
            Request::Change(words) => self.ask_for_changes(words, answer).await,
            Request::Status => self.ask_how_all_are(answer),
            Request::Reset { ranks, wait } => self.ask_for_reset(ranks, wait, answer),
            // Those of this host do not come here, and a rank passes on none.
            Request::Session(_) => {
                drop(answer.send(Answer::Refused("a session begins on its own host".into())))
            }
            Request::Down { hurry } => {
                let _ = answer.send(Answer::Done(chief.changes.info()));
                let by = if hurry { "mvpnet down --force" } else { "mvpnet down" };
                self.report(Report::ShutdownWanted { by: by.into(), hurry }).await;
            }
        }
    }
}

/// A text in pieces that are not too long, at least one.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, more) = text.split_at(text.floor_char_boundary(PART));
        rest = Some(more).filter(|more| !more.is_empty());
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use mvpnet_transports::MAX_CONTROL_LEN;

    use super::*;

    #[test]
    fn long_answers_come_in_parts_that_fit() {
        let text = "\\\"ü".repeat(10_000);
        let answer = serde_json::to_string(&Answer::Refused(text)).unwrap();
        let parts: Vec<&str> = parts(&answer).collect();
        assert!(parts.len() > 2);
        for part in &parts {
            let message = Message::Answered { id: u64::MAX, part: (*part).to_owned(), is_last: false };
            assert!(message.encode().len() <= MAX_CONTROL_LEN);
        }
        let (mut desk, (sender, mut receiver)) = (Desk::default(), oneshot::channel());
        let id = desk.pass_on(sender);
        for (place, part) in parts.iter().enumerate() {
            assert!(receiver.try_recv().is_err());
            desk.answered(id, part, place + 1 == parts.len());
        }
        assert_eq!(serde_json::to_string(&receiver.try_recv().unwrap()).unwrap(), answer);
    }

    #[test]
    fn who_has_gone_away_is_forgotten() {
        let mut desk = Desk::default();
        let (sender, receiver) = oneshot::channel();
        let id = desk.pass_on(sender);
        drop(receiver);
        desk.pass_on(oneshot::channel().0);
        assert_eq!(desk.passed_on.len(), 1);
        desk.answered(id, "", true);
    }
}
