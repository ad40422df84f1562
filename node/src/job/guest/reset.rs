//! The reset button of a guest: its qemu and its link stay, the machine begins anew.

use std::time::Duration;

use mvpnet_qemu_driver::readiness::{NotReady, Ready};
use mvpnet_qemu_driver::supervise::Guest;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::life::GuestLife;
use super::steps::{answer, monitor};
use super::{GuestNote, Reply};
use crate::job::messages::Phase;

/// How long qemu may take from the command to the machine's reset.
const RESET_TIME: Duration = Duration::from_secs(10);

/// The end of what is waited for; never, if nothing is.
pub(super) async fn until_ready<F>(waiting: &mut Option<F>) -> Result<Ready, NotReady>
where
    F: Future<Output = Result<Ready, NotReady>> + Unpin,
{
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

impl GuestLife {
    /// Presses it; whether the guest has to be waited for from now on.
    pub(super) async fn reset(&mut self, guest: &Guest, wait: bool, reply: Reply) -> bool {
        tracing::info!("a reset of the guest was asked for");
        if self.paused {
            answer(reply, Err("its guest stands still; `mvpnet fault resume` lets it go on".into()));
            return false;
        }
        if let Err(error) = press(guest).await {
            answer(reply, Err(error));
            return false;
        }
        self.view.send_modify(|view| view.reset());
        self.tell(GuestNote::Phase(Phase::Booting));
        match wait {
            true => self.awaited.push(reply),
            false => answer(reply, Ok(())),
        }
        true
    }

    /// The guest was reset and has not come up since.
    pub(super) fn is_not_up_again(&mut self, why: &str) {
        tracing::warn!("after its reset the guest is not ready: {why}");
        self.awaited.drain(..).for_each(|awaited| answer(awaited, Err(why.to_owned())));
    }
}

/// Returns when the machine has been reset: until then the guest answers as before.
async fn press(guest: &Guest) -> Result<(), String> {
    let mut events = guest.qmp().ok_or("its guest has no monitor")?.events();
    monitor(guest, "system_reset").await?;
    let happened = async {
        loop {
            match events.recv().await {
                Ok(event) if event.name == "RESET" => return true,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return false,
            }
        }
    };
    match timeout(RESET_TIME, happened).await {
        // What it said before its reset says nothing of what it is after.
        Ok(true) => {
            guest.console().begin_anew();
            Ok(())
        }
        Ok(false) => Err("its guest ended".into()),
        Err(_) => Err(format!("its guest was not reset within {} s", RESET_TIME.as_secs())),
    }
}
