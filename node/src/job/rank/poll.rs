//! Questions of rank 0 that every rank answers for itself: how it is, and whether it has reset its guest.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::Instrument;

use super::RankLife;
use super::faults::Outcome;
use crate::control::{Answer, JobInfo, JobStatus, RankState, RankStatus};
use crate::frame_loop::Command;
use crate::job::guest::{GuestOrder, GuestView};
use crate::job::messages::{CounterList, Message, Phase, Question, Said};
use crate::job::plan::GuestPlan;

/// How long a rank may take to say how it is. One that takes longer is shown as silent.
const STATUS_TIME: Duration = Duration::from_secs(3);

/// How long a rank may take to reset its guest, if the guest is not waited for.
const RESET_TIME: Duration = Duration::from_secs(60);

/// The questions of rank 0 to which not all have answered.
#[derive(Debug, Default)]
pub(super) struct Polls {
    next_id: u64,
    open: BTreeMap<u64, Poll>,
}

#[derive(Debug)]
struct Poll {
    question: Question,
    said: BTreeMap<u32, Said>,
    waiting: BTreeSet<u32>,
    answer: oneshot::Sender<Answer>,
    /// Dropped with this, which ends the wait for its deadline.
    _until: oneshot::Sender<Infallible>,
}

/// What a rank knows of its guest from the beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) host: String,
    pub(super) memory_mib: u32,
    pub(super) cpus: String,
    pub(super) link: String,
}

impl Facts {
    /// Of a rank on this host.
    pub(super) fn of(host: String, guest: Option<&GuestPlan>) -> Self {
        let Some(GuestPlan { machine, link, tap, .. }) = guest else {
            return Self { host, ..Self::default() };
        };
        let link = if tap.is_some() { "tap" } else { link.name() };
        Self { host, memory_mib: machine.memory_mib, cpus: machine.smp.clone(), link: link.to_owned() }
    }
}

impl Polls {
    fn begin(
        &mut self,
        question: Question,
        ranks: u32,
        answer: oneshot::Sender<Answer>,
    ) -> (u64, oneshot::Receiver<Infallible>) {
        self.next_id += 1;
        let (until, over) = oneshot::channel();
        let poll =
            Poll { question, said: BTreeMap::new(), waiting: (0..ranks).collect(), answer, _until: until };
        self.open.insert(self.next_id, poll);
        (self.next_id, over)
    }

    /// A rank has answered; the poll, if it was the last.
    fn said(&mut self, rank: u32, id: u64, said: Said) -> Option<Poll> {
        let poll = self.open.get_mut(&id)?;
        if poll.waiting.remove(&rank) {
            poll.said.insert(rank, said);
        }
        if poll.waiting.is_empty() { self.open.remove(&id) } else { None }
    }
}

impl RankLife {
    /// Rank 0.
    pub(super) fn ask_how_all_are(&mut self, answer: oneshot::Sender<Answer>) {
        self.poll(Question::Status, Some(STATUS_TIME), answer);
    }

    /// Rank 0.
    pub(super) fn ask_for_reset(&mut self, ranks: Vec<u32>, wait: bool, answer: oneshot::Sender<Answer>) {
        let numbers = self.numbers;
        let last = numbers.shown(self.world.size() - 1);
        if let Some(stranger) = ranks.iter().find(|rank| !(numbers.first()..=last).contains(rank)) {
            let first = numbers.first();
            let why =
                format!("there is no rank {stranger} here: the guests of this job are {first} to {last}");
            return drop(answer.send(Answer::Refused(why)));
        }
        // A guest may take its time to boot.
        let time = if wait { None } else { Some(RESET_TIME) };
        self.poll(Question::Reset { ranks, wait }, time, answer);
    }

    fn poll(&mut self, question: Question, time: Option<Duration>, answer: oneshot::Sender<Answer>) {
        let Some(chief) = &mut self.chief else { return };
        let (id, over) = chief.polls.begin(question.clone(), self.world.size(), answer);
        if let Some(time) = time {
            let outcomes = self.outcomes.sender();
            let in_time = async move {
                if timeout(time, over).await.is_err() {
                    // The job may be over by then.
                    let _ = outcomes.send(Outcome::PollOver(id));
                }
            };
            tokio::spawn(in_time.in_current_span());
        }
        for rank in self.world.ranks().filter(|rank| *rank != self.me) {
            self.tell(rank, Message::Poll { id, question: question.clone() });
        }
        self.on_poll(id, question);
    }

    /// Every rank: answers, as soon as that goes.
    pub(super) fn on_poll(&mut self, id: u64, question: Question) {
        let outcomes = self.outcomes.sender();
        match question {
            Question::Status => {
                let mut status = self.status();
                let (reply, counters) = oneshot::channel();
                self.handle.send(Command::Counters(reply));
                let answering = async move {
                    count(&mut status, &counters.await.unwrap_or_default());
                    let _ = outcomes.send(Outcome::Polled(id, Said::Status(Box::new(status))));
                };
                tokio::spawn(answering.in_current_span());
            }
            Question::Reset { ranks, wait } => {
                let mine = ranks.contains(&self.number.index());
                let (reply, done) = oneshot::channel();
                let orders = self.guest.as_ref().filter(|_| mine).map(|guest| guest.orders());
                let given =
                    orders.is_some_and(|orders| orders.send(GuestOrder::Reset { wait, reply }).is_ok());
                let answering = async move {
                    let said = match (mine, given) {
                        (false, _) => Ok(()),
                        (true, true) => done.await.unwrap_or(Err("its guest is over".into())),
                        (true, false) => Err("its guest does not run".into()),
                    };
                    // The rank's part may be over.
                    let _ = outcomes.send(Outcome::Polled(id, Said::Done(said)));
                };
                tokio::spawn(answering.in_current_span());
            }
        }
    }

    /// A rank has answered a question of rank 0, which this is.
    pub(super) fn on_polled(&mut self, rank: u32, id: u64, said: Said) {
        let Some(chief) = &mut self.chief else {
            return tracing::warn!("rank {rank} answers rank {}, which is not rank 0", self.me);
        };
        if let Some(poll) = chief.polls.said(rank, id, said) {
            self.conclude(poll);
        }
    }

    /// The time of a question is over.
    pub(super) fn on_poll_over(&mut self, id: u64) {
        if let Some(poll) = self.chief.as_mut().and_then(|chief| chief.polls.open.remove(&id)) {
            self.conclude(poll);
        }
    }

    fn conclude(&self, poll: Poll) {
        let Some(chief) = &self.chief else { return };
        let job = chief.changes.info();
        let Poll { question, said, waiting, answer, .. } = poll;
        let concluded = match question {
            Question::Status => {
                let silent = waiting.into_iter().map(|rank| RankStatus {
                    rank: self.numbers.shown(rank),
                    host: chief.coordinator.host(rank).unwrap_or_default().to_owned(),
                    ..RankStatus::default()
                });
                let said = said.into_values().filter_map(|said| match said {
                    Said::Status(status) => Some(*status),
                    Said::Done(_) => None,
                });
                let mut ranks: Vec<RankStatus> = said.chain(silent).collect();
                ranks.sort_by_key(|status| status.rank);
                Answer::Status(JobStatus { job, ranks })
            }
            Question::Reset { .. } => done(job, |rank| self.numbers.shown(rank), &said, &waiting),
        };
        // Who asked may have given up.
        let _ = answer.send(concluded);
    }

    /// How this rank is, but for its counters.
    fn status(&self) -> RankStatus {
        let Facts { host, memory_mib, cpus, link } = self.facts.clone();
        let view = self.guest.as_ref().map(|guest| guest.view()).unwrap_or_default();
        RankStatus {
            rank: self.number.index(),
            host,
            state: state(&self.phase, &view),
            process: Some(std::process::id()),
            ssh_port: (self.ssh_port != 0).then_some(self.ssh_port),
            qemu: view.qemu,
            keeper: view.keeper,
            memory_mib,
            cpus,
            uptime: view.uptime().map(|time| time.as_secs_f64()),
            boot: view.boot.map(|time| time.as_secs_f64()),
            restarts: view.restarts,
            link,
            agent: view.agent(),
            console: view.last_line(),
            ..RankStatus::default()
        }
    }
}

fn state(phase: &Phase, view: &GuestView) -> RankState {
    match phase {
        _ if view.crashed => RankState::Crashed,
        Phase::Booting | Phase::Ready { .. } if view.paused => RankState::Paused,
        Phase::Preparing => RankState::Preparing,
        Phase::Copying { .. } => RankState::Copying,
        Phase::Booting => RankState::Booting,
        Phase::Ready { .. } => RankState::Ready,
        Phase::Stopping => RankState::Stopping,
        Phase::Off => RankState::Off,
    }
}

/// Enters what the loop has counted: from and to the guest, and all that was dropped.
fn count(status: &mut RankStatus, counters: &CounterList) {
    for (name, value) in counters {
        match name.as_str() {
            "guest-received-frames" => status.frames_in = *value,
            "guest-sent-frames" => status.frames_out = *value,
            name if is_drop(name) => status.drops += value,
            _ => {}
        }
    }
}

/// `ingress-drop-REASON` and `PORT-egress-drop-REASON`.
fn is_drop(name: &str) -> bool {
    let places = ["ingress", "guest-egress", "peers-egress", "tunnel-egress"];
    name.split_once("-drop-").is_some_and(|(place, _)| places.contains(&place))
}

/// What has become of resets.
fn done(
    job: JobInfo,
    shown: impl Fn(u32) -> u32,
    said: &BTreeMap<u32, Said>,
    waiting: &BTreeSet<u32>,
) -> Answer {
    let trouble = said.iter().filter_map(|(rank, said)| match said {
        Said::Done(Err(why)) => Some(format!("rank {}: {why}", shown(*rank))),
        Said::Done(Ok(())) | Said::Status(_) => None,
    });
    let silent = waiting.iter().map(|rank| format!("rank {}: no answer", shown(*rank)));
    let troubles: Vec<String> = trouble.chain(silent).collect();
    if troubles.is_empty() { Answer::Done(job) } else { Answer::Failed(troubles) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_over_when_the_last_rank_has_answered() {
        let mut polls = Polls::default();
        let (id, _over) = polls.begin(Question::Status, 3, oneshot::channel().0);
        let said = || Said::Done(Ok(()));
        assert!(polls.said(2, id, said()).is_none());
        assert!(polls.said(2, id, said()).is_none() && polls.said(0, id + 1, said()).is_none());
        assert!(polls.said(0, id, said()).is_none());
        let poll = polls.said(1, id, said()).unwrap();
        assert_eq!((poll.said.len(), poll.waiting.len(), polls.open.len()), (3, 0, 0));
    }

    #[test]
    fn what_is_dropped_is_counted_once_whatever_the_reason() {
        let counters = [
            ("guest-received-frames", 7),
            ("guest-sent-frames", 5),
            ("guest-received-bytes", 1000),
            ("ingress-drop-runt", 1),
            ("peers-egress-drop-no-room", 2),
            ("faults.drop-x", 100),
        ];
        let counters = counters.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let mut status = RankStatus::default();
        count(&mut status, &counters);
        assert_eq!((status.frames_in, status.frames_out, status.drops), (7, 5, 3));
    }

    #[test]
    fn a_reset_that_one_rank_cannot_do_is_told_with_its_number() {
        let said = BTreeMap::from([(0, Said::Done(Ok(()))), (1, Said::Done(Err("it is off".into())))]);
        let answer = done(JobInfo::default(), |rank| rank + 4, &said, &BTreeSet::from([2]));
        assert_eq!(answer, Answer::Failed(vec!["rank 5: it is off".into(), "rank 6: no answer".into()]));
    }

    #[test]
    fn a_guest_that_stands_still_is_not_said_to_be_up() {
        let paused = GuestView { paused: true, ..GuestView::default() };
        assert_eq!(state(&Phase::Ready { ssh_port: 1 }, &paused), RankState::Paused);
        assert_eq!(state(&Phase::Stopping, &paused), RankState::Stopping);
        let crashed = GuestView { crashed: true, ..GuestView::default() };
        assert_eq!(state(&Phase::Ready { ssh_port: 1 }, &crashed), RankState::Crashed);
    }
}
