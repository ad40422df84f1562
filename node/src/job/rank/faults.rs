//! A rank's part in changes to the running job: rank 0 takes them from the control socket and passes them to all;
//! every rank makes them and says so.

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::Instrument;

use mvpnet_switch::Rank;
use mvpnet_transports::link::Change;

use super::RankLife;
use crate::control::Answer;
use crate::frame_loop::Command;
use crate::job::changes::{CHANGE_TIME, UnderWayUntil};
use crate::job::guest::{GuestFault, GuestOrder};
use crate::job::messages::{ChangeDone, ChangeOrder, GuestCondition, Message, Said};

/// What comes back when something that takes its time is over.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This rank has made a change, or could not.
    Done(ChangeDone),
    /// The time of a change is over.
    TimeOver(u64),
    /// This rank's answer to a question of rank 0.
    Polled(u64, Said),
    /// The time of such a question is over.
    PollOver(u64),
    /// The answer to what somebody asked by another rank.
    Answered {
        /// By which.
        rank: Rank,
        /// What it calls the question.
        id: u64,
        /// It.
        answer: Answer,
    },
}

/// Outcomes on their way to the rank's control plane.
#[derive(Debug)]
pub(super) struct Outcomes {
    sender: mpsc::UnboundedSender<Outcome>,
    receiver: mpsc::UnboundedReceiver<Outcome>,
}

impl Default for Outcomes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }
}

impl Outcomes {
    pub(super) fn sender(&self) -> mpsc::UnboundedSender<Outcome> {
        self.sender.clone()
    }

    pub(super) async fn next(&mut self) -> Outcome {
        match self.receiver.recv().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}

impl RankLife {
    /// Rank 0: somebody asks for changes.
    pub(super) async fn ask_for_changes(&mut self, words: Vec<String>, answer: oneshot::Sender<Answer>) {
        let Some(chief) = &mut self.chief else { return };
        let changes = match chief.changes.check(&words) {
            Ok(changes) => changes,
            Err(error) => {
                let _ = answer.send(Answer::Refused(error));
                return;
            }
        };
        tracing::info!("asked for: {}", words.join("; "));
        let (order, over) = chief.changes.begin(&changes, answer);
        // A guest may take its time to boot, and fails the job when that is too long.
        if !changes.iter().any(|change| matches!(change, Change::Restart(_))) {
            self.give_up_in_time(order.id, over);
        }
        for rank in self.world.ranks().filter(|rank| *rank != self.me) {
            self.tell(rank, Message::Change(order.clone()));
        }
        self.change(order).await;
    }

    fn give_up_in_time(&self, id: u64, over: UnderWayUntil) {
        let outcomes = self.outcomes.sender.clone();
        let in_time = async move {
            if timeout(CHANGE_TIME, over).await.is_err() {
                // The job may be over by then.
                let _ = outcomes.send(Outcome::TimeOver(id));
            }
        };
        tokio::spawn(in_time.in_current_span());
    }

    /// Every rank: makes changes, those to links at once, those to the guest as fast as that goes.
    pub(super) async fn change(&mut self, order: ChangeOrder) {
        let ChangeOrder { id, seed, changes } = order;
        let mut faults = Vec::new();
        let mut trouble = None;
        for words in changes {
            match words.parse::<Change>() {
                Ok(change) => match GuestFault::of(&change, self.number.index()) {
                    Some(fault) => faults.push(fault),
                    None => trouble = trouble.or(self.change_links(change, seed).await.err()),
                },
                Err(error) => trouble = trouble.or(Some(error.to_string())),
            }
        }
        let orders = self.guest.as_ref().map(|guest| guest.orders());
        let outcomes = self.outcomes.sender.clone();
        let making = async move {
            let (condition, failed) = do_to_guest(faults, orders).await;
            let done = ChangeDone { id, trouble: trouble.or(failed), condition };
            // The rank's part may be over.
            let _ = outcomes.send(Outcome::Done(done));
        };
        tokio::spawn(making.in_current_span());
    }

    async fn change_links(&self, change: Change, seed: u64) -> Result<(), String> {
        let (applied, done) = oneshot::channel();
        self.handle.send(Command::Change { change, seed, applied });
        done.await.map_err(|_| "its frame loop has ended".to_owned())
    }

    pub(super) fn on_outcome(&mut self, outcome: Outcome) {
        match (outcome, &mut self.chief) {
            (Outcome::Done(done), Some(chief)) => chief.changes.done(self.me.index(), done),
            (Outcome::Done(done), None) => match self.world.rank(0) {
                Ok(to) => self.tell(to, Message::Changed(done)),
                Err(error) => tracing::error!("{error}"),
            },
            (Outcome::TimeOver(id), Some(chief)) => chief.changes.give_up(id),
            (Outcome::TimeOver(_), None) => {}
            (Outcome::Polled(id, said), Some(_)) => self.on_polled(self.me.index(), id, said),
            (Outcome::Polled(id, said), None) => match self.world.rank(0) {
                Ok(to) => self.tell(to, Message::Polled { id, said }),
                Err(error) => tracing::error!("{error}"),
            },
            (Outcome::PollOver(id), _) => self.on_poll_over(id),
            (Outcome::Answered { rank, id, answer }, _) => self.pass_back(rank, id, &answer),
        }
    }
}

/// Does all this to a guest, in this order, until something cannot be done. What is its condition then?
async fn do_to_guest(
    faults: Vec<GuestFault>,
    orders: Option<mpsc::UnboundedSender<GuestOrder>>,
) -> (Option<GuestCondition>, Option<String>) {
    let mut condition = None;
    for fault in faults {
        let (reply, done) = oneshot::channel();
        let taken =
            orders.as_ref().is_some_and(|orders| orders.send(GuestOrder::Fault { fault, reply }).is_ok());
        let outcome = if taken {
            done.await.unwrap_or(Err("its guest is over".into()))
        } else {
            Err("its guest does not run".into())
        };
        if let Err(trouble) = outcome {
            return (condition, Some(trouble));
        }
        condition = Some(match fault {
            GuestFault::Pause => GuestCondition::Paused,
            GuestFault::Crash => GuestCondition::Crashed,
            GuestFault::Resume | GuestFault::Restart => GuestCondition::Runs,
        });
    }
    (condition, None)
}
