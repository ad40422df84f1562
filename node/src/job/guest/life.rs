//! What a guest's task does, from the first life of the guest to the end of the last.

use std::sync::Arc;
use std::time::Duration;

use mvpnet_qemu_driver::Console;
use mvpnet_qemu_driver::agent::{AgentTimes, Agents};
use mvpnet_qemu_driver::readiness::{NotReady, Ready, wait_ready};
use mvpnet_qemu_driver::supervise::{Guest, Keeper, SuperviseError};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::boot::{Boot, BootError};
use super::super::messages::{Failure, Phase};
use super::super::plan::{Briefing, GuestPlan};
use super::reset::until_ready;
use super::steps::{answer, log_of_life, monitor, report_leftovers, stop, until_shutdown, until_urgent};
use super::{GuestFault, GuestNote, GuestOrder, GuestView, GuestWays, Reply};
use crate::frame_loop::Command;
use crate::session::{Commands, Facilities};

/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 20;

pub(super) struct GuestLife {
    plan: Arc<GuestPlan>,
    boot: Boot,
    ways: GuestWays,
    briefing: Briefing,
    orders: mpsc::UnboundedReceiver<GuestOrder>,
    pub(super) notes: mpsc::UnboundedSender<GuestNote>,
    pub(super) view: watch::Sender<GuestView>,
    /// The first guest, once it has crashed: its keeper guards what has to go at the end.
    first: Option<Guest>,
    lives: u32,
    pub(super) paused: bool,
    /// Who waits for the guest to be up again.
    pub(super) awaited: Vec<Reply>,
}

/// Why waiting for something ended.
enum Interrupt {
    Ready(Result<Ready, NotReady>),
    Order(GuestOrder),
    Ended,
}

/// How a life of the guest ended.
enum Death {
    /// For good.
    Off,
    /// On purpose; it may be started anew.
    Crashed,
    /// On purpose, to be started anew.
    Restarted(Reply),
}

impl GuestLife {
    pub(super) fn new(
        plan: GuestPlan,
        keeper: Keeper,
        ways: GuestWays,
        briefing: Briefing,
        orders: mpsc::UnboundedReceiver<GuestOrder>,
        notes: mpsc::UnboundedSender<GuestNote>,
        view: watch::Sender<GuestView>,
    ) -> Self {
        let (plan, boot) = (Arc::new(plan), Boot::new(keeper));
        Self {
            plan,
            boot,
            ways,
            briefing,
            orders,
            notes,
            view,
            first: None,
            lives: 1,
            paused: false,
            awaited: Vec::new(),
        }
    }

    pub(super) async fn live(mut self) {
        while let Some(awaited) = self.live_once().await {
            self.awaited.push(awaited);
            if let Err(error) = self.revive().await {
                self.fail(error.to_string(), None);
                break;
            }
        }
        if let Some(first) = self.first.take() {
            report_leftovers(&first.finish(self.boot.take_holds()).await);
        }
        // The port is free again, and known to be, when the rank says that it is done.
        drop(self.boot);
        let _ = self.notes.send(GuestNote::Over);
    }

    /// One life. Who wants another one waits for it.
    async fn live_once(&mut self) -> Option<Reply> {
        let notes = self.notes.clone();
        let tell = move |phase| drop(notes.send(GuestNote::Phase(phase)));
        let booted = tokio::select! {
            booted = self.boot.start(&self.plan, &self.ways.handle, &self.briefing, tell) => booted,
            // What was begun is undone below.
            () = until_shutdown(&mut self.orders) => Err(BootError::Stopped),
        };
        let guest = match booted {
            Ok(guest) => guest,
            Err(error) => {
                if !matches!(error, BootError::Stopped) {
                    self.fail(error.to_string(), None);
                }
                report_leftovers(&self.boot.undo().await);
                return None;
            }
        };
        let agents = self.start_agents(&guest);
        self.ways.sessions.guest(Some(self.facilities(&guest, agents.clone())));
        self.view.send_modify(|view| view.begin(&guest, agents));
        let death = self.attend(&guest, self.boot.ssh_port()).await;
        self.view.send_modify(|view| view.end(matches!(death, Death::Crashed)));
        self.ways.sessions.guest(None);
        self.detach().await;
        self.bury(guest, matches!(death, Death::Off)).await;
        match death {
            Death::Off => None,
            Death::Crashed => self.lie().await,
            Death::Restarted(reply) => Some(reply),
        }
    }

    /// Serves the guest's channels, for as long as its qemu lives: reboots do not end them.
    fn start_agents(&self, guest: &Guest) -> Option<Agents> {
        let ends = guest.take_channels().filter(|_| !self.plan.no_exec)?;
        let times = AgentTimes::default_for(self.plan.machine.accel);
        Agents::start(ends, times, self.ways.sessions.calls())
            .inspect_err(|error| tracing::warn!("no commands can be run in the guest: {error}"))
            .ok()
    }

    /// The ways into the guest.
    fn facilities(&self, guest: &Guest, agents: Option<Agents>) -> Facilities {
        Facilities {
            console: guest.console().clone(),
            console_input: guest.console_input().cloned(),
            commands: match agents {
                Some(agents) => Commands::Agents(Arc::new(agents)),
                None if self.plan.no_exec => Commands::Forbidden,
                None => Commands::Nobody,
            },
            ssh_port: self.boot.ssh_port(),
        }
    }

    /// Has the frame loop let go of the guest, so that its sockets are closed.
    async fn detach(&self) {
        let (reply, done) = oneshot::channel();
        self.ways.handle.send(Command::Detach);
        // Commands are obeyed in their order; a loop that is gone has let go too.
        self.ways.handle.send(Command::Counters(reply));
        let _ = done.await;
    }

    async fn bury(&mut self, guest: Guest, for_good: bool) {
        if !for_good && self.first.is_none() {
            // It guards the images, which the next life needs.
            self.first = Some(guest);
            return;
        }
        let holds = if self.first.is_none() { self.boot.take_holds() } else { Vec::new() };
        report_leftovers(&guest.finish(holds).await);
    }

    /// After a crash: waits for somebody who wants the guest back, or for the end.
    async fn lie(&mut self) -> Option<Reply> {
        loop {
            match self.orders.recv().await {
                Some(GuestOrder::Fault { fault: GuestFault::Restart, reply }) => return Some(reply),
                Some(GuestOrder::Fault { reply, .. } | GuestOrder::Reset { reply, .. }) => {
                    answer(reply, Err("its guest has crashed".into()));
                }
                Some(GuestOrder::Shutdown { .. }) | None => return None,
            }
        }
    }

    async fn revive(&mut self) -> Result<(), SuperviseError> {
        self.lives += 1;
        self.paused = false;
        let plan = Arc::make_mut(&mut self.plan);
        // Else qemu and the keeper would begin the logs of the life before anew.
        for log in [&mut plan.machine.console_log, &mut plan.keeper.wrap_log].into_iter().flatten() {
            *log = log_of_life(log, self.lives);
        }
        let keeper = Keeper::spawn(plan.keeper.clone()).await?;
        self.boot.again(keeper);
        Ok(())
    }

    /// From the start of qemu to its end.
    async fn attend(&mut self, guest: &Guest, ssh_port: u16) -> Death {
        self.tell(GuestNote::Phase(Phase::Booting));
        let plan = Arc::clone(&self.plan);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], ssh_port));
        let wait = || Box::pin(wait_ready(&plan.ready_when, address, guest.console(), plan.ready_times));
        // None: it is up, or is not waited for.
        let mut waiting = Some(wait());
        let mut was_reset = false;
        loop {
            let interrupt = tokio::select! {
                ready = until_ready(&mut waiting) => Interrupt::Ready(ready),
                order = self.orders.recv() => Interrupt::Order(order.unwrap_or(GuestOrder::Shutdown { hurry: true })),
                _ = guest.ended() => Interrupt::Ended,
            };
            match interrupt {
                Interrupt::Ready(Ok(ready)) => {
                    waiting = None;
                    self.is_ready(ready.elapsed, ssh_port);
                }
                // Who resets a guest may want something else of it than to be up.
                Interrupt::Ready(Err(error)) if was_reset => {
                    waiting = None;
                    self.is_not_up_again(&error.to_string());
                }
                Interrupt::Ready(Err(error)) => {
                    self.fail(error.to_string(), Some(guest));
                    // A guest that did not boot does not hear the power button.
                    stop(guest, plan.ladder.without_powerdown()).await;
                    return Death::Off;
                }
                Interrupt::Order(GuestOrder::Shutdown { hurry }) => {
                    self.shut_down(guest, hurry).await;
                    return Death::Off;
                }
                Interrupt::Order(GuestOrder::Fault { fault, reply }) => {
                    if let Some(death) = self.suffer(guest, fault, reply).await {
                        return death;
                    }
                }
                Interrupt::Order(GuestOrder::Reset { wait: waits, reply }) => {
                    if self.reset(guest, waits, reply).await {
                        (waiting, was_reset) = (Some(wait()), true);
                    }
                }
                Interrupt::Ended => {
                    self.on_end(guest).await;
                    return Death::Off;
                }
            }
        }
    }

    fn is_ready(&mut self, elapsed: Duration, ssh_port: u16) {
        tracing::info!("the guest is ready after {:.1} s", elapsed.as_secs_f64());
        self.tell(GuestNote::Phase(Phase::Ready { ssh_port }));
        self.view.send_modify(|view| view.boot = Some(elapsed));
        self.awaited.drain(..).for_each(|awaited| answer(awaited, Ok(())));
    }

    async fn on_end(&self, guest: &Guest) {
        let end = guest.ended().await;
        if end.powered_off() {
            tracing::info!("{end}");
        } else {
            self.fail(end.to_string(), Some(guest));
        }
    }

    /// Does something to the guest on purpose. Some of it ends this life.
    async fn suffer(&mut self, guest: &Guest, fault: GuestFault, reply: Reply) -> Option<Death> {
        tracing::info!("{fault:?} of the guest was asked for");
        match fault {
            GuestFault::Pause | GuestFault::Resume => {
                let pause = fault == GuestFault::Pause;
                let done = monitor(guest, if pause { "stop" } else { "cont" }).await;
                if done.is_ok() {
                    self.paused = pause;
                    self.view.send_modify(|view| view.paused = pause);
                }
                answer(reply, done);
                None
            }
            GuestFault::Crash | GuestFault::Restart => {
                if let Err(error) = guest.kill().await {
                    answer(reply, Err(error.to_string()));
                    return None;
                }
                guest.ended().await;
                if fault == GuestFault::Restart {
                    return Some(Death::Restarted(reply));
                }
                answer(reply, Ok(()));
                Some(Death::Crashed)
            }
        }
    }

    /// Powers the guest down; a more urgent order meanwhile cuts the grace time short.
    async fn shut_down(&mut self, guest: &Guest, hurry: bool) {
        self.tell(GuestNote::Phase(Phase::Stopping));
        if hurry {
            return stop(guest, self.plan.ladder.without_powerdown()).await;
        }
        if self.paused
            && let Err(error) = monitor(guest, "cont").await
        {
            tracing::warn!("the guest stands still and does not hear the power button: {error}");
        }
        tokio::select! {
            () = stop(guest, self.plan.ladder) => {}
            () = until_urgent(&mut self.orders) => {
                tracing::warn!("the guest is not waited for any longer");
                if let Err(error) = guest.kill().await {
                    tracing::warn!("{error}");
                }
                guest.ended().await;
            }
        }
    }

    fn fail(&self, why: String, guest: Option<&Guest>) {
        let lines = |console: &Console| console.last_lines(CONSOLE_LINES);
        let console = match guest {
            // qemu's own complaints come last, where they are seen.
            Some(guest) => lines(guest.console()).into_iter().chain(lines(guest.stderr())).collect(),
            None => Vec::new(),
        };
        tracing::error!("the guest failed: {why}");
        self.tell(GuestNote::Failed(Failure { why, console }));
    }

    pub(super) fn tell(&self, note: GuestNote) {
        // The control plane ends only after this task.
        let _ = self.notes.send(note);
    }
}
