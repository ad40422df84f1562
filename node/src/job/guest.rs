//! The life of one rank's guest: images copied, port reserved, qemu started under its keeper, readiness
//! waited for, power-down, and nothing left behind. A guest may be crashed on purpose and started anew.

mod life;
mod reset;
mod steps;
mod view;

use mvpnet_qemu_driver::supervise::Keeper;
use mvpnet_transports::link::Change;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;

use self::life::GuestLife;
pub(super) use self::view::GuestView;
use super::messages::{Failure, Phase};
use super::plan::{Briefing, GuestPlan};
use crate::frame_loop::LoopHandle;
use crate::session::Sessions;

/// Something that is done to a guest on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuestFault {
    Pause,
    Resume,
    Crash,
    Restart,
}

/// Who ordered something, waiting for its being done.
pub(super) type Reply = oneshot::Sender<Result<(), String>>;

/// What the control plane orders.
#[derive(Debug)]
pub(super) enum GuestOrder {
    /// Power down; without grace if in a hurry.
    Shutdown { hurry: bool },
    /// Do this to the guest; a restart is done when the guest is up.
    Fault { fault: GuestFault, reply: Reply },
    /// Press its reset button, and answer at once or when it is up again.
    Reset { wait: bool, reply: Reply },
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

/// Where a guest's task leads its guest.
#[derive(Clone)]
pub(super) struct GuestWays {
    /// Its frames.
    pub(super) handle: LoopHandle,
    /// Those who want to get into it.
    pub(super) sessions: Sessions,
}

/// The task that drives a guest.
pub(super) struct GuestTask {
    orders: mpsc::UnboundedSender<GuestOrder>,
    notes: mpsc::UnboundedReceiver<GuestNote>,
    view: watch::Receiver<GuestView>,
}

impl GuestFault {
    /// What a change does to the guest of rank `me`, if it does anything.
    pub(super) fn of(change: &Change, me: u32) -> Option<Self> {
        let (fault, ranks) = match change {
            Change::Pause(ranks) => (Self::Pause, ranks),
            Change::Resume(ranks) => (Self::Resume, ranks),
            Change::Crash(ranks) => (Self::Crash, ranks),
            Change::Restart(ranks) => (Self::Restart, ranks),
            Change::Link(..) | Change::Access(..) | Change::Partition(_) | Change::Heal => return None,
        };
        ranks.contains(me).then_some(fault)
    }
}

impl GuestTask {
    /// Starts the guest in a task of its own.
    pub(super) fn start(plan: GuestPlan, keeper: Keeper, ways: GuestWays, briefing: Briefing) -> Self {
        let (orders, obeyed) = mpsc::unbounded_channel();
        let (told, notes) = mpsc::unbounded_channel();
        let (shown, view) = watch::channel(GuestView::new(&keeper));
        let life = GuestLife::new(plan, keeper, ways, briefing, obeyed, told, shown);
        tokio::spawn(life.live().in_current_span());
        Self { orders, notes, view }
    }

    /// Gives an order; one that comes too late is no matter.
    pub(super) fn order(&self, order: GuestOrder) {
        let _ = self.orders.send(order);
    }

    /// The way to give orders from elsewhere.
    pub(super) fn orders(&self) -> mpsc::UnboundedSender<GuestOrder> {
        self.orders.clone()
    }

    /// How the guest is.
    pub(super) fn view(&self) -> GuestView {
        self.view.borrow().clone()
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
