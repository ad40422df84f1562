//! What can be seen of a guest at any moment, without asking its task, which may be busy.

use std::time::{Duration, Instant};

use mvpnet_qemu_driver::Console;
use mvpnet_qemu_driver::agent::Agents;
use mvpnet_qemu_driver::supervise::{Guest, Keeper};

/// A guest as it is now.
#[derive(Clone, Debug, Default)]
pub(in crate::job) struct GuestView {
    /// The process of its qemu, while that runs.
    pub(in crate::job) qemu: Option<u32>,
    /// The process of its keeper.
    pub(in crate::job) keeper: Option<u32>,
    /// When its qemu was started.
    pub(in crate::job) started: Option<Instant>,
    /// How long it took to be ready.
    pub(in crate::job) boot: Option<Duration>,
    /// How often it was started anew or reset.
    pub(in crate::job) restarts: u32,
    /// Whether it stands still.
    pub(in crate::job) paused: bool,
    /// Whether it was killed on purpose.
    pub(in crate::job) crashed: bool,
    /// The way to the agents in it, if there is one.
    pub(in crate::job) agents: Option<Agents>,
    /// Its console, once it had one.
    pub(in crate::job) console: Option<Console>,
}

impl GuestView {
    /// Before it is started.
    pub(super) fn new(keeper: &Keeper) -> Self {
        Self { keeper: Some(keeper.pid()), ..Self::default() }
    }

    /// Its qemu has been started, for the first time or once more.
    #[allow(clippy::disallowed_methods, reason = "guests live in real time")]
    pub(super) fn begin(&mut self, guest: &Guest, agents: Option<Agents>) {
        *self = Self {
            qemu: Some(guest.pid()),
            keeper: Some(guest.keeper_pid()),
            started: Some(Instant::now()),
            restarts: self.restarts + u32::from(self.console.is_some()),
            agents,
            console: Some(guest.console().clone()),
            ..Self::default()
        };
    }

    /// Its qemu has ended.
    pub(super) fn end(&mut self, crashed: bool) {
        let before = std::mem::take(self);
        *self = Self { crashed, restarts: before.restarts, console: before.console, ..Self::default() };
    }

    /// It has been reset, and is not ready.
    pub(super) fn reset(&mut self) {
        self.restarts += 1;
        self.boot = None;
    }

    /// Whether our own agent in it is there; none where no way to one was made.
    pub(in crate::job) fn agent(&self) -> Option<bool> {
        self.agents.as_ref().map(Agents::is_connected)
    }

    /// Since its qemu was started, if that runs.
    pub(in crate::job) fn uptime(&self) -> Option<Duration> {
        self.started.map(|started| started.elapsed())
    }

    /// The last line of its console.
    pub(in crate::job) fn last_line(&self) -> Option<String> {
        self.console.as_ref()?.last_lines(1).pop()
    }
}
