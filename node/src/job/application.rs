//! The application: the program that runs on rank 0's host while the guests are up, under a keeper like
//! qemu, so that it does not outlive the job either.

use std::ffi::OsString;
use std::time::Duration;

use mvpnet_qemu_driver::supervise::{
    Guest, GuestFds, KeeperSpec, Launch, ProcessEnd, StopLadder, SuperviseError,
};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::children::Children;

/// After SIGTERM, until SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of its standard error that are shown when it fails.
const LAST_WORDS: usize = 5;

/// What to run.
#[derive(Clone, Debug)]
pub struct ApplicationPlan {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// What it is told in its environment.
    pub children: Children,
    /// Whether its output goes to this process's own (`-O`).
    pub show_output: bool,
    /// How its keeper is started.
    pub keeper: KeeperSpec,
}

/// A running application.
pub(super) struct Application {
    stop: mpsc::UnboundedSender<bool>,
    ended: oneshot::Receiver<i32>,
}

impl Application {
    /// Starts it; `ssh_port` leads to the guest of rank 0.
    pub(super) async fn start(plan: ApplicationPlan, ssh_port: u16) -> Result<Self, SuperviseError> {
        let ApplicationPlan { argv, children, show_output, mut keeper } = plan;
        let env = children.env(ssh_port);
        keeper.inherit_output = show_output;
        let keeper = mvpnet_qemu_driver::Keeper::spawn(keeper).await?;
        tracing::info!("starting the application {argv:?}");
        let process = keeper.launch(Launch { argv, env, fds: GuestFds::new() }).await?;
        let (stop, stopped) = mpsc::unbounded_channel();
        let (ends, ended) = oneshot::channel();
        let attending = async move {
            // Nobody waits for the code when the job ends without the application.
            let _ = ends.send(attend(process, stopped).await);
        };
        tokio::spawn(attending.in_current_span());
        Ok(Self { stop, ended })
    }

    /// Ends it, at once if in a hurry.
    pub(super) fn stop(&mut self, hurry: bool) {
        let _ = self.stop.send(hurry);
    }

    /// Its exit code, when it has ended: 128 + signal if it was killed.
    pub(super) async fn ended(&mut self) -> i32 {
        (&mut self.ended).await.unwrap_or(1)
    }
}

async fn attend(process: Guest, mut stopped: mpsc::UnboundedReceiver<bool>) -> i32 {
    let ladder = StopLadder {
        powerdown_grace: Duration::ZERO,
        powerdown_every: Duration::ZERO,
        terminate_grace: GRACE,
    };
    loop {
        tokio::select! {
            _ = process.ended() => break,
            Some(hurry) = stopped.recv() => {
                if hurry {
                    let _ = process.kill().await;
                } else {
                    tokio::select! {
                        _ = process.shutdown(&ladder) => {}
                        Some(_) = stopped.recv() => drop(process.kill().await),
                    }
                }
            }
        }
    }
    let end = process.ended().await.process;
    let code = match end {
        Some(ProcessEnd::Code(code)) => code,
        Some(ProcessEnd::Signal(signal)) => 128 + signal,
        None => 1,
    };
    if code != 0 {
        for line in process.stderr().last_lines(LAST_WORDS) {
            tracing::warn!("the application said: {line}");
        }
    }
    for failure in process.finish(Vec::new()).await {
        tracing::warn!("{failure}");
    }
    code
}
