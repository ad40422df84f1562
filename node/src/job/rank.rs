//! One rank's control plane: it reports to rank 0, does what rank 0 orders, and drives its own guest. What rank 0
//! does besides is in `chief.rs`, changes to the running job in `faults.rs`, who asks what of it in `desk.rs` and `poll.rs`.

mod chief;
mod desk;
mod faults;
mod lifeline;
mod poll;

use std::path::{Path, PathBuf};

use mvpnet_qemu_driver::supervise::{Keeper, SuperviseError};
use mvpnet_switch::{Rank, World};
use tokio::sync::{mpsc, oneshot};

use self::chief::{ChiefState, Happening};
use self::desk::Desk;
use self::faults::Outcomes;
use self::lifeline::Lifeline;
use self::poll::Facts;
use super::about::About;
use super::application::ApplicationPlan;
use super::changes::Changes;
use super::guest::{GuestNote, GuestOrder, GuestTask, GuestWays};
use super::messages::{CounterList, Failure, Message, Offloads, Order, Phase, Problem, Report};
use super::numbers::Numbers;
use super::plan::{Briefing, GuestPlan};
use super::signals::EndWish;
use crate::control::Control;
use crate::frame_loop::{Command, Event, LoopHandle};
use crate::session::{Place, Sessions};

/// Something that the user is told, by the process of rank 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A rank's guest got this far.
    Progress {
        /// The rank.
        rank: u32,
        /// How far.
        phase: Phase,
    },
    /// Something keeps the job from starting.
    Problem {
        /// The ranks concerned, in order.
        ranks: Vec<u32>,
        /// What it is.
        problem: Problem,
    },
    /// A guest failed.
    Failure {
        /// The rank.
        rank: u32,
        /// What happened.
        failure: Failure,
    },
    /// The guests are being started; the hosts of all ranks, in their order.
    Hosts(Vec<String>),
    /// All guests are up.
    AllReady,
    /// The job ends.
    Stopping {
        /// Why.
        reason: String,
    },
    /// Every rank's counters, in the order of the ranks.
    Counters(Vec<CounterList>),
}

/// What only rank 0 has.
pub struct Chief {
    /// The program to run on the host when all guests are up.
    pub application: Option<ApplicationPlan>,
    /// Whom to tell what the user should know.
    pub notices: mpsc::UnboundedSender<Notice>,
    /// What all guests' configurations are made from, for [`HostSeed`](super::plan::HostSeed)s that understand it.
    pub briefing: Option<String>,
}

/// Everything that a rank's control plane needs.
pub struct RankSetup {
    /// The rank.
    pub me: Rank,
    /// Its world.
    pub world: World,
    /// How the job's ranks are numbered for people and guests.
    pub numbers: Numbers,
    /// The host's name, by which ranks that share a host are counted.
    pub host: String,
    /// What was found wrong before anything was started.
    pub problem: Option<Problem>,
    /// The guest, unless something is wrong.
    pub guest: Option<GuestPlan>,
    /// The frame loop.
    pub handle: LoopHandle,
    /// What the frame loop tells.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Wishes that the job ends.
    pub wishes: mpsc::UnboundedReceiver<EndWish>,
    /// Whether this rank has the control socket of its process.
    pub answers: bool,
    /// Rank 0's part.
    pub chief: Option<Chief>,
    /// The directory of this process's part of the job, if there is one.
    pub directory: Option<PathBuf>,
    /// What is to be done with rank 0's briefing, besides making guests' configurations from it.
    pub briefed: Option<Briefed>,
    /// Whether ranks have to find out themselves that one is lost, since what started them does not care.
    pub lifeline: bool,
}

/// Hears rank 0's briefing when the guests are to be started, or that there is none. It may not take long.
pub type Briefed = Box<dyn FnOnce(Option<&str>) + Send + Sync>;

impl RankSetup {
    /// The same with a directory that lives as long as this process's part of the job, and children that are told of
    /// this file in it.
    pub fn with_directory(mut self, directory: &Path, ssh_config: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        let application = self.chief.as_mut().and_then(|chief| chief.application.as_mut());
        let guest = self.guest.as_mut().map(|guest| &mut guest.children);
        for children in guest.into_iter().chain(application.map(|application| &mut application.children)) {
            children.ssh_config = Some(ssh_config.to_owned());
        }
        self
    }
}

/// How a rank's part in the job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankEnd {
    /// The job's exit code.
    pub exit_code: i32,
    /// Whether the frame loop failed, so that the transport cannot be closed in an orderly way.
    pub broken: bool,
}

struct RankLife {
    me: Rank,
    world: World,
    numbers: Numbers,
    /// What people call this rank.
    number: Rank,
    handle: LoopHandle,
    /// The guest to start, with the keeper that is ready for it.
    plan: Option<(GuestPlan, Keeper)>,
    guest: Option<GuestTask>,
    chief: Option<ChiefState>,
    /// Set when this rank's part is over.
    end: Option<RankEnd>,
    broken: bool,
    /// The port on this host that leads to the guest, once it is up.
    ssh_port: u16,
    /// How far the guest is.
    phase: Phase,
    facts: Facts,
    answers: bool,
    desk: Desk,
    outcomes: Outcomes,
    sessions: Sessions,
    directory: Option<PathBuf>,
    briefed: Option<Briefed>,
    lifeline: Lifeline,
}

/// Lives one rank's part of the job; returns when it is over and the frame loop was told to stop.
pub async fn live(setup: RankSetup) -> RankEnd {
    let RankSetup { me, world, numbers, host, problem, guest, handle, answers, directory, briefed, .. } =
        setup;
    let (mut events, mut wishes, chief) = (setup.events, setup.wishes, setup.chief);
    let lifeline = Lifeline::new(setup.lifeline, me, world);
    let has_taps = guest.as_ref().is_some_and(|plan| plan.tap.is_some());
    let facts = Facts::of(host.clone(), guest.as_ref());
    let takes = guest.as_ref().map_or(Offloads::ALL, GuestPlan::takes);
    let chief = chief.map(|chief| {
        let about = About::new(world.size(), numbers, guest.as_ref());
        ChiefState::new(chief, Changes::new(world, numbers, about).with_taps(has_taps))
    });
    let (plan, problem) = with_keeper(guest, problem).await;
    let sessions = Sessions::start(Place { me, world, numbers }, handle.clone());
    let mut life = RankLife {
        me,
        world,
        numbers,
        number: numbers.of(me),
        handle,
        plan,
        guest: None,
        chief,
        end: None,
        broken: false,
        ssh_port: 0,
        phase: Phase::Preparing,
        facts,
        answers,
        desk: Desk::default(),
        outcomes: Outcomes::default(),
        sessions,
        directory,
        briefed,
        lifeline,
    };
    life.report(Report::Hello { host, problem, takes }).await;
    while life.end.is_none() {
        tokio::select! {
            Some(event) = events.recv() => life.on_event(event).await,
            Some(wish) = wishes.recv() => life.wish(wish).await,
            note = GuestTask::next(&mut life.guest) => life.on_note(note).await,
            happening = ChiefState::next(&mut life.chief) => match happening {
                Happening::ApplicationEnded(code) => life.on_application_end(code).await,
            },
            asked = Control::next(&mut life.desk.control) => life.on_asked(asked).await,
            outcome = life.outcomes.next() => life.on_outcome(outcome),
            () = life.lifeline.tick() => life.on_tick().await,
        }
    }
    life.sessions.close().await;
    if let Some(control) = life.desk.control.take() {
        control.close().await;
    }
    if let Some((_, keeper)) = life.plan.take() {
        keeper.finish(Vec::new()).await;
    }
    life.handle.send(Command::Stop);
    life.end.unwrap_or(RankEnd { exit_code: 1, broken: true })
}

/// Starts the keeper at once, so that what the transport would leave behind is guarded from the beginning.
async fn with_keeper(
    plan: Option<GuestPlan>,
    problem: Option<Problem>,
) -> (Option<(GuestPlan, Keeper)>, Option<Problem>) {
    let Some(plan) = plan else { return (None, problem) };
    let started = async {
        let keeper = Keeper::spawn(plan.keeper.clone()).await?;
        keeper.guard(plan.leftovers.clone()).await?;
        Ok::<_, SuperviseError>(keeper)
    };
    match started.await {
        Ok(keeper) => (Some((plan, keeper)), problem),
        Err(error) => {
            (None, problem.or(Some(Problem { text: error.to_string(), usage: false, of_job: false })))
        }
    }
}

impl RankLife {
    /// Tells rank 0, which may be this rank.
    async fn report(&mut self, report: Report) {
        if let Some(chief) = &mut self.chief {
            let actions = chief.coordinator.report(self.me.index(), report);
            return self.act(actions).await;
        }
        match self.world.rank(0) {
            Ok(to) => self.tell(to, Message::Report(report)),
            Err(error) => tracing::error!("{error}"),
        }
    }

    fn tell(&self, to: Rank, message: Message) {
        self.handle.send(Command::Message { to, payload: message.encode() });
    }

    async fn on_event(&mut self, event: Event) {
        if let Event::Message { from, .. } = &event {
            self.lifeline.heard(*from);
        }
        match event {
            Event::Message { from, payload } => match Message::decode(&payload) {
                Ok(Message::Alive) => {}
                Ok(Message::Session(packet)) => self.sessions.packet(from, packet, payload.len()),
                Ok(Message::Report(report)) => self.on_report(from, report).await,
                Ok(Message::Order(order)) if from.index() == 0 => self.obey(order).await,
                Ok(Message::Change(order)) if from.index() == 0 => self.change(order).await,
                Ok(Message::Changed(done)) => match &mut self.chief {
                    Some(chief) => chief.changes.done(from.index(), done),
                    None => tracing::warn!("rank {from} reports to rank {}, which is not rank 0", self.me),
                },
                Ok(Message::Job(job)) if from.index() == 0 => self.join(job).await,
                Ok(Message::Poll { id, question }) if from.index() == 0 => self.on_poll(id, question),
                Ok(Message::Polled { id, said }) => self.on_polled(from.index(), id, said),
                Ok(Message::Ask { id, request }) => self.on_asked_by(from, id, request).await,
                Ok(Message::Answered { id, part, is_last }) if from.index() == 0 => {
                    self.desk.answered(id, &part, is_last);
                }
                Ok(
                    Message::Order(_)
                    | Message::Change(_)
                    | Message::Job(_)
                    | Message::Poll { .. }
                    | Message::Answered { .. },
                ) => tracing::warn!("rank {from} gives orders, but only rank 0 may"),
                Err(error) => tracing::warn!("rank {from} sent what is no message: {error}"),
            },
            Event::PeerGone(rank) => self.sessions.peer_gone(rank),
            Event::ShutdownAddress => {
                let by = format!("the guest of rank {} asked for the shutdown address", self.number);
                self.wish(EndWish { by, hurry: false }).await;
            }
            // Whether that means anything is decided by how qemu ended.
            Event::GuestGone => {}
            Event::TransportFailed(why) => self.on_broken_transport(&why).await,
        }
    }

    async fn on_report(&mut self, from: Rank, report: Report) {
        let Some(chief) = &mut self.chief else {
            return tracing::warn!("rank {from} reports to rank {}, which is not rank 0", self.me);
        };
        let actions = chief.coordinator.report(from.index(), report);
        self.act(actions).await;
    }

    async fn wish(&mut self, wish: EndWish) {
        tracing::info!("shutdown wanted: {}", wish.by);
        if wish.hurry {
            // Rank 0 may be gone already.
            self.stop_guest(true);
        }
        self.report(Report::ShutdownWanted { by: wish.by, hurry: wish.hurry }).await;
    }

    /// Nobody can be reached any more: this rank ends by itself.
    async fn on_broken_transport(&mut self, why: &str) {
        tracing::error!("the connection to the other ranks is lost: {why}");
        self.broken = true;
        if let Some(application) = self.chief.as_mut().and_then(|chief| chief.application.as_mut()) {
            application.stop(true);
        }
        self.stop_guest(true);
        self.end_if_broken();
    }

    fn end_if_broken(&mut self) {
        if self.broken && self.guest.is_none() {
            self.end = Some(RankEnd { exit_code: 1, broken: true });
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start { fullest_host_ranks, briefing, offloads } => {
                if let Some(hear) = self.briefed.take() {
                    hear(briefing.as_deref());
                }
                if let Some((plan, keeper)) = self.plan.take() {
                    let ways = GuestWays { handle: self.handle.clone(), sessions: self.sessions.clone() };
                    let briefing = Briefing {
                        fullest_host_ranks,
                        offloads,
                        text: briefing,
                        directory: self.directory.clone(),
                    };
                    self.guest = Some(GuestTask::start(plan, keeper, ways, briefing));
                }
            }
            Order::Shutdown { reason, hurry } => {
                tracing::info!("the job ends: {reason}");
                if self.guest.is_some() {
                    self.stop_guest(hurry);
                } else {
                    self.done().await;
                }
            }
            Order::Finish { exit_code } => self.end = Some(RankEnd { exit_code, broken: false }),
        }
    }

    fn stop_guest(&mut self, hurry: bool) {
        if let Some(guest) = &self.guest {
            guest.order(GuestOrder::Shutdown { hurry });
        }
    }

    async fn on_note(&mut self, note: GuestNote) {
        match note {
            GuestNote::Phase(phase) => {
                self.phase = phase.clone();
                if let Phase::Ready { ssh_port } = phase {
                    self.ssh_port = ssh_port;
                }
                self.report(Report::Phase(phase)).await;
            }
            GuestNote::Failed(failure) => self.report(Report::Failed(failure)).await,
            GuestNote::Over => {
                self.guest = None;
                self.phase = Phase::Off;
                self.end_if_broken();
                if !self.broken {
                    self.report(Report::Phase(Phase::Off)).await;
                    self.done().await;
                }
            }
        }
    }

    /// Reports the counters: the last thing that this rank has to say.
    async fn done(&mut self) {
        let (reply, counters) = oneshot::channel();
        self.handle.send(Command::Counters(reply));
        let counters = counters.await.unwrap_or_default();
        self.report(Report::Done { counters }).await;
    }
}
