//! The life of one rank's guest: images copied, port reserved, qemu started under its keeper, readiness
//! waited for, power-down, and nothing left behind.

use mvpnet_qemu_driver::Console;
use mvpnet_qemu_driver::supervise::{Guest, Keeper, StopLadder};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::boot::{Boot, BootError};
use super::messages::{Failure, Phase};
use super::plan::GuestPlan;
use crate::frame_loop::{Command, LoopHandle};

/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 20;

/// What the control plane orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuestOrder {
    /// Power down; without grace if in a hurry.
    Shutdown { hurry: bool },
}

/// What the guest's task tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GuestNote {
    /// It got this far.
    Phase(Phase),
    /// It failed; [`GuestNote::Over`] follows.
    Failed(Failure),
    /// The guest is off and everything of it is removed.
    Over,
}

/// The task that drives a guest.
pub(super) struct GuestTask {
    orders: mpsc::UnboundedSender<GuestOrder>,
    notes: mpsc::UnboundedReceiver<GuestNote>,
}

impl GuestTask {
    /// Starts the guest in a task of its own.
    pub(super) fn start(
        plan: GuestPlan,
        keeper: Keeper,
        handle: LoopHandle,
        fullest_host_ranks: u32,
    ) -> Self {
        let (orders, obeyed) = mpsc::unbounded_channel();
        let (told, notes) = mpsc::unbounded_channel();
        let life = GuestLife {
            plan,
            boot: Boot::new(keeper),
            handle,
            fullest_host_ranks,
            orders: obeyed,
            notes: told,
        };
        tokio::spawn(life.live().in_current_span());
        Self { orders, notes }
    }

    /// Gives an order; one that comes too late is no matter.
    pub(super) fn order(&self, order: GuestOrder) {
        let _ = self.orders.send(order);
    }

    /// The next thing that `task` tells; never, while there is none.
    pub(super) async fn next(task: &mut Option<Self>) -> GuestNote {
        match task {
            // A task that ended without a word has panicked: its guest is dropped, which stops it.
            Some(task) => task.notes.recv().await.unwrap_or(GuestNote::Over),
            None => std::future::pending().await,
        }
    }
}

struct GuestLife {
    plan: GuestPlan,
    boot: Boot,
    handle: LoopHandle,
    fullest_host_ranks: u32,
    orders: mpsc::UnboundedReceiver<GuestOrder>,
    notes: mpsc::UnboundedSender<GuestNote>,
}

/// Why waiting for something ended.
enum Interrupt {
    Order(GuestOrder),
    Ended,
}

impl GuestLife {
    async fn live(mut self) {
        let notes = self.notes.clone();
        let tell = move |phase| drop(notes.send(GuestNote::Phase(phase)));
        let booted = tokio::select! {
            booted = self.boot.start(&self.plan, &self.handle, self.fullest_host_ranks, tell) => booted,
            // Whatever the order is, it is to stop; what was begun is undone below.
            _ = self.orders.recv() => Err(BootError::Stopped),
        };
        match booted {
            Ok(guest) => {
                self.attend(&guest, self.boot.ssh_port()).await;
                self.handle.send(Command::Detach);
                let failures = guest.finish(self.boot.take_holds()).await;
                report_leftovers(&failures);
            }
            Err(error) => {
                if !matches!(error, BootError::Stopped) {
                    self.fail(error.to_string(), None);
                }
                report_leftovers(&self.boot.undo().await);
            }
        }
        // The port is free again, and known to be, when the rank says that it is done.
        drop(self.boot);
        let _ = self.notes.send(GuestNote::Over);
    }

    /// From the start of qemu to its end.
    async fn attend(&mut self, guest: &Guest, ssh_port: u16) {
        self.tell(GuestNote::Phase(Phase::Booting));
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], ssh_port));
        let plan = &self.plan;
        let ready = mvpnet_qemu_driver::readiness::wait_ready(
            &plan.ready_when,
            address,
            guest.console(),
            plan.ready_times,
        );
        let interrupt = tokio::select! {
            ready = ready => match ready {
                Ok(ready) => {
                    tracing::info!("the guest is ready after {:.1} s", ready.elapsed.as_secs_f64());
                    self.tell(GuestNote::Phase(Phase::Ready { ssh_port }));
                    self.next_interrupt(guest).await
                }
                Err(error) => {
                    self.fail(error.to_string(), Some(guest));
                    // A guest that did not boot does not hear the power button.
                    self.stop(guest, plan.ladder.without_powerdown()).await;
                    return;
                }
            },
            order = self.orders.recv() => Interrupt::Order(order.unwrap_or(GuestOrder::Shutdown { hurry: true })),
            _ = guest.ended() => Interrupt::Ended,
        };
        match interrupt {
            Interrupt::Order(order) => self.shut_down(guest, order).await,
            Interrupt::Ended => {
                let end = guest.ended().await;
                if end.powered_off() {
                    tracing::info!("{end}");
                } else {
                    self.fail(end.to_string(), Some(guest));
                }
            }
        }
    }

    async fn next_interrupt(&mut self, guest: &Guest) -> Interrupt {
        tokio::select! {
            order = self.orders.recv() => Interrupt::Order(order.unwrap_or(GuestOrder::Shutdown { hurry: true })),
            _ = guest.ended() => Interrupt::Ended,
        }
    }

    /// Powers the guest down; a more urgent order meanwhile cuts the grace time short.
    async fn shut_down(&mut self, guest: &Guest, order: GuestOrder) {
        self.tell(GuestNote::Phase(Phase::Stopping));
        let GuestOrder::Shutdown { hurry } = order;
        if hurry {
            return self.stop(guest, self.plan.ladder.without_powerdown()).await;
        }
        tokio::select! {
            () = Self::stop_with(guest, self.plan.ladder) => {}
            () = Self::urgent(&mut self.orders) => {
                tracing::warn!("the guest is not waited for any longer");
                if let Err(error) = guest.kill().await {
                    tracing::warn!("{error}");
                }
                guest.ended().await;
            }
        }
    }

    async fn urgent(orders: &mut mpsc::UnboundedReceiver<GuestOrder>) {
        while let Some(GuestOrder::Shutdown { hurry }) = orders.recv().await {
            if hurry {
                return;
            }
        }
        std::future::pending().await
    }

    async fn stop(&self, guest: &Guest, ladder: StopLadder) {
        Self::stop_with(guest, ladder).await;
    }

    async fn stop_with(guest: &Guest, ladder: StopLadder) {
        let report = guest.shutdown(&ladder).await;
        tracing::info!(
            "the guest is off after {:.1} s: {}, {}",
            report.elapsed.as_secs_f64(),
            report.step,
            report.end
        );
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

    fn tell(&self, note: GuestNote) {
        // The control plane ends only after this task.
        let _ = self.notes.send(note);
    }
}

fn report_leftovers(failures: &[String]) {
    for failure in failures {
        tracing::warn!("{failure}");
    }
}
