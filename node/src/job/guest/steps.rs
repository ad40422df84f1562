//! The steps of a guest's life that know nothing of its course.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mvpnet_qemu_driver::supervise::{Guest, StopLadder};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{GuestOrder, Reply};

/// How long the monitor may take to come up before a guest is paused.
const MONITOR_TIME: Duration = Duration::from_secs(5);

/// Waits for the order to shut down; nothing else can be done to a guest that does not run yet.
pub(super) async fn until_shutdown(orders: &mut mpsc::UnboundedReceiver<GuestOrder>) {
    while let Some(GuestOrder::Fault { reply, .. } | GuestOrder::Reset { reply, .. }) = orders.recv().await {
        answer(reply, Err("its guest is being started".into()));
    }
}

/// Waits for the order to shut down at once.
pub(super) async fn until_urgent(orders: &mut mpsc::UnboundedReceiver<GuestOrder>) {
    while let Some(order) = orders.recv().await {
        match order {
            GuestOrder::Shutdown { hurry: true } => return,
            GuestOrder::Shutdown { hurry: false } => {}
            GuestOrder::Fault { reply, .. } | GuestOrder::Reset { reply, .. } => {
                answer(reply, Err("its guest is being shut down".into()));
            }
        }
    }
    std::future::pending().await
}

pub(super) async fn monitor(guest: &Guest, command: &str) -> Result<(), String> {
    let monitor = guest.qmp().ok_or("its guest has no monitor")?;
    monitor.ready(MONITOR_TIME).await.map_err(|error| error.to_string())?;
    monitor.execute(command, Value::Null).await.map(drop).map_err(|error| error.to_string())
}

pub(super) async fn stop(guest: &Guest, ladder: StopLadder) {
    let report = guest.shutdown(&ladder).await;
    let seconds = report.elapsed.as_secs_f64();
    tracing::info!("the guest is off after {seconds:.1} s: {}, {}", report.step, report.end);
}

/// Who asked may have given up.
pub(super) fn answer(reply: Reply, result: Result<(), String>) {
    let _ = reply.send(result);
}

/// `con.2.log`, and for the second life `con.2.life2.log`.
pub(super) fn log_of_life(log: &Path, life: u32) -> PathBuf {
    let stem = log.file_stem().unwrap_or_default().to_string_lossy();
    let stem = match stem.rsplit_once(".life") {
        Some((first, _)) if life > 2 => first.to_owned(),
        _ => stem.into_owned(),
    };
    log.with_file_name(format!("{stem}.life{life}.log"))
}

pub(super) fn report_leftovers(failures: &[String]) {
    for failure in failures {
        tracing::warn!("{failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_life_has_logs_of_its_own() {
        let second = log_of_life(Path::new("/l/con.job.2.log"), 2);
        assert_eq!(second, Path::new("/l/con.job.2.life2.log"));
        assert_eq!(log_of_life(&second, 3), Path::new("/l/con.job.2.life3.log"));
    }
}
