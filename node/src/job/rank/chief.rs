//! Rank 0's part besides its own: what the [coordinator](crate::job::coordinator) wants done, the application.

use tokio::sync::mpsc;

use super::poll::Polls;
use super::{Chief, Notice, RankLife};
use crate::job::application::{Application, ApplicationPlan};
use crate::job::changes::Changes;
use crate::job::coordinator::{Action, Coordinator};
use crate::job::messages::{Message, Order};

/// What rank 0 knows and does besides.
pub(super) struct ChiefState {
    pub(super) coordinator: Coordinator,
    pub(super) plan: Option<ApplicationPlan>,
    pub(super) application: Option<Application>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
    pub(super) changes: Changes,
    pub(super) polls: Polls,
}

/// Something that only rank 0 hears of.
pub(super) enum Happening {
    ApplicationEnded(i32),
}

impl ChiefState {
    pub(super) fn new(chief: Chief, changes: Changes) -> Self {
        let Chief { application, notices, briefing } = chief;
        Self {
            coordinator: Coordinator::new(changes.ranks(), application.is_some()).with_briefing(briefing),
            plan: application,
            application: None,
            notices,
            changes,
            polls: Polls::default(),
        }
    }

    /// The next thing that only rank 0 hears of; never, at other ranks.
    pub(super) async fn next(chief: &mut Option<Self>) -> Happening {
        let Some(Self { application, .. }) = chief else { return std::future::pending().await };
        match application {
            Some(application) => Happening::ApplicationEnded(application.ended().await),
            None => std::future::pending().await,
        }
    }
}

impl RankLife {
    pub(super) async fn on_application_end(&mut self, code: i32) {
        let Some(chief) = &mut self.chief else { return };
        chief.application = None;
        let actions = chief.coordinator.application_over(code);
        self.act(actions).await;
    }

    pub(super) async fn act(&mut self, actions: Vec<Action>) {
        if let Some(chief) = &mut self.chief {
            chief.changes.note(chief.coordinator.state(), chief.coordinator.hosts());
        }
        for action in actions {
            match action {
                Action::Order(order) => self.give(order).await,
                Action::StartApplication => self.start_application().await,
                Action::StopApplication { hurry } => {
                    if let Some(application) =
                        self.chief.as_mut().and_then(|chief| chief.application.as_mut())
                    {
                        application.stop(hurry);
                    }
                }
                Action::Show { rank, phase } => self.notice(Notice::Progress { rank, phase }),
                Action::Explain { ranks, problem } => self.notice(Notice::Problem { ranks, problem }),
                Action::Lament { rank, failure } => self.notice(Notice::Failure { rank, failure }),
                Action::AnnounceHosts(hosts) => self.notice(Notice::Hosts(hosts)),
                Action::AnnounceReady => self.notice(Notice::AllReady),
                Action::AnnounceShutdown { reason } => self.notice(Notice::Stopping { reason }),
                Action::Summarize(counters) => self.notice(Notice::Counters(counters)),
            }
        }
    }

    /// Gives an order to all ranks, this one last: it may be the last thing that it does.
    async fn give(&mut self, order: Order) {
        if let (Order::Start { .. }, Some(chief)) = (&order, &self.chief) {
            let job = chief.changes.info();
            for rank in self.world.ranks().filter(|rank| *rank != self.me) {
                self.tell(rank, Message::Job(job.clone()));
            }
            self.join(job).await;
        }
        for rank in self.world.ranks().filter(|rank| *rank != self.me) {
            self.tell(rank, Message::Order(order.clone()));
        }
        Box::pin(self.obey(order)).await;
    }

    async fn start_application(&mut self) {
        let Some(chief) = &mut self.chief else { return };
        let Some(plan) = chief.plan.take() else { return };
        match Application::start(plan, self.ssh_port).await {
            Ok(application) => chief.application = Some(application),
            Err(error) => {
                let actions = chief.coordinator.application_failed(&error.to_string());
                Box::pin(self.act(actions)).await;
            }
        }
    }

    pub(super) fn notice(&self, notice: Notice) {
        if let Some(chief) = &self.chief {
            // Nobody listens any more when the process ends.
            let _ = chief.notices.send(notice);
        }
    }
}
