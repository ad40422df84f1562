//! The end of an MPI job: everything sent is handed over, all ranks meet, and MPI is finalised under a
//! watchdog.

use std::os::fd::AsFd;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::time::{ClockId, clock_gettime};

use super::MpiTransport;
use super::ffi::{Mpi, exit_now};
use super::requests::Barrier;
use crate::{Arm, Transport, TransportError, clock};

/// MPI_Finalize may take this long. MPICH 4.0 over UCX and TCP often hangs in it: one rank waits for an
/// answer over the network, and the other, which would have to make calls to give it, waits in the launcher's
/// barrier.
const FINALIZE_LIMIT: Duration = Duration::from_secs(2);
/// The same where ranks are missing, so that it hardly can end.
const HOPELESS_LIMIT: Duration = Duration::from_secs(1);

/// Who hangs while working leaves after this long, who hangs while waiting that much later: if the one in the
/// launcher's barrier left first, the other would come free, and complete a barrier whose answer Hydra then
/// fails to deliver, and with it the job.
const LOOK: Duration = Duration::from_millis(50);
const AFTER_OTHERS: Duration = Duration::from_millis(500);

/// While all ranks meet, how long one sleeps between looks, in milliseconds.
const LOOK_EVERY_MS: u16 = 1;

/// How an MPI job ended for this rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct CloseReport {
    /// Bytes of records that could not be handed over in time.
    pub undelivered_bytes: usize,
    /// Batches that came after the caller had stopped receiving.
    pub unread_batches: u64,
    /// Whether all ranks met, so that none had died or was late.
    pub all_met: bool,
    /// What went wrong, if anything.
    pub error: Option<TransportError>,
}

impl MpiTransport {
    /// Hands over what is pending, waits until all ranks have done so, for `drain` at most, and finalises
    /// MPI. Batches that still come are dropped and counted, so that their senders get their credits and can
    /// end.
    ///
    /// Where MPI hangs in finalising, the process ends with `exit_code`, without running anything more: logs
    /// should be written out before.
    pub fn close(mut self, drain: Duration, exit_code: i32) -> CloseReport {
        let mut report = CloseReport::default();
        match self.drain(drain, &mut report) {
            Ok(all_met) => report.all_met = all_met,
            Err(error) => report.error = Some(error),
        }
        report.undelivered_bytes = self.queued + self.sends.bytes();
        // Buffers of sends that are still active are leaked with `sends`.
        let MpiTransport { mpi, sends, receives, .. } = self;
        drop((sends, receives));
        finalize(mpi, if report.all_met { FINALIZE_LIMIT } else { HOPELESS_LIMIT }, exit_code);
        report
    }

    fn drain(&mut self, limit: Duration, report: &mut CloseReport) -> Result<bool, TransportError> {
        let deadline = clock::now() + limit;
        let mut barrier = None;
        loop {
            while let Some(batch) = self.receive()? {
                report.unread_batches += 1;
                self.recycle(batch);
            }
            let pending = self.progress()?;
            if barrier.is_none() && pending.bytes == 0 && self.sends.len() == 0 {
                barrier = Some(Barrier::enter(&self.mpi)?);
            }
            if let Some(barrier) = &mut barrier
                && barrier.is_passed()?
            {
                // Everybody's last messages were handed over before; they only need to be taken in.
                while let Some(batch) = self.receive()? {
                    report.unread_batches += 1;
                    self.recycle(batch);
                }
                return Ok(true);
            }
            if clock::now() > deadline {
                return Ok(false);
            }
            self.doze();
        }
    }

    /// Sleeps until rung, or for a moment.
    fn doze(&mut self) {
        if let Arm::Sleep { .. } = self.arm() {
            // Interrupted by a signal is as good as woken.
            let _ = poll(&mut [PollFd::new(self.doorbell.as_fd(), PollFlags::POLLIN)], LOOK_EVERY_MS);
            self.disarm();
        }
    }
}

/// Finalises MPI after a start that failed at all ranks.
pub(super) fn finalize_early(mpi: Mpi) {
    finalize(mpi, FINALIZE_LIMIT, 1);
}

/// Finalises MPI; ends the process with `exit_code` where that takes longer than `limit`.
fn finalize(mpi: Mpi, limit: Duration, exit_code: i32) {
    let (done, watch) = channel::<()>();
    let watchdog = std::thread::Builder::new().name("mpi-finalize".into()).spawn(move || {
        let hangs = |limit| watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if hangs(limit) {
            tracing::debug!("MPI does not come to an end within {} s: leaving it", limit.as_secs());
            let before = cpu_time();
            if hangs(LOOK) && (cpu_time() - before > LOOK / 10 || hangs(AFTER_OTHERS)) {
                exit_now(exit_code);
            }
        }
    });
    if let Err(error) = mpi.finalize() {
        tracing::warn!(%error, "MPI did not end well");
    }
    drop(done);
    if let Ok(watchdog) = watchdog {
        // It sees the channel closed and ends.
        let _ = watchdog.join();
    }
}

/// What this process has worked so far.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
