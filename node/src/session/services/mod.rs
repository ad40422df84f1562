//! What a rank serves in sessions: commands in its guest, its console, its ssh port.

mod console;
mod exec;
mod port;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mvpnet_qemu_driver::agent::{Agents, ExecEnd, ExecError, ExecOutput, ExecRequest, Input};
use mvpnet_qemu_driver::console::{Console, ConsoleInput};
use mvpnet_switch::Rank;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::duplex::Duplex;
use super::{Outcome, Service};

/// How long the last output of a guest that is off may take to reach its reader.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// The ways into a running guest.
#[derive(Clone)]
pub(crate) struct Facilities {
    /// What it writes to its console.
    pub(crate) console: Console,
    /// What is typed there.
    pub(crate) console_input: Option<ConsoleInput>,
    /// Who runs commands in it.
    pub(crate) commands: Commands,
    /// The port of this host that leads to its sshd.
    pub(crate) ssh_port: u16,
}

/// Who runs commands in a guest.
#[derive(Clone)]
pub(crate) enum Commands {
    /// Its agents.
    Agents(Arc<dyn RunsCommands>),
    /// The job was started with `--no-exec`.
    Forbidden,
    /// It has no channel to an agent.
    Nobody,
}

/// The end of a command that runs.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<ExecEnd, ExecError>> + Send>>;

/// What [`Agents`] do.
pub(crate) trait RunsCommands: Send + Sync {
    fn run(
        &self,
        request: ExecRequest,
        input: Input,
        output: mpsc::Sender<ExecOutput>,
        within: Duration,
    ) -> Running;
}

/// Whose guest it is, and whether it is still there.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    pub(super) number: Rank,
    /// Its sender is dropped when the guest is off.
    pub(super) off: watch::Receiver<()>,
}

impl RunsCommands for Agents {
    fn run(
        &self,
        request: ExecRequest,
        input: Input,
        output: mpsc::Sender<ExecOutput>,
        within: Duration,
    ) -> Running {
        let agents = self.clone();
        Box::pin(async move { agents.exec(request, input, output, within).await })
    }
}

impl std::fmt::Debug for Facilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facilities").field("ssh_port", &self.ssh_port).finish_non_exhaustive()
    }
}

/// Serves one client to the end.
pub(super) async fn serve(service: Service, guest: Facilities, mut presence: Presence, mut duplex: Duplex) {
    let number = presence.number;
    let serving = async {
        match service {
            Service::Exec(request) => exec::serve(guest.commands, request, number, &mut duplex).await,
            Service::Console { follow } => console::serve(&guest, follow, &mut duplex).await,
            Service::Port => port::serve(guest.ssh_port, number, &mut duplex).await,
        }
    };
    let off = async {
        // Nothing is ever sent: this waits for the guest's end.
        while presence.off.changed().await.is_ok() {}
        sleep(LAST_OUTPUT).await;
    };
    let outcome = tokio::select! {
        outcome = serving => outcome,
        () = off => Outcome::Failed(format!("the guest of rank {number} is off")),
    };
    duplex.finish(outcome);
}
