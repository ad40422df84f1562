//! The end of an MPI job: everything sent is handed over, all ranks meet, and MPI is finalised under a
//! watchdog.

use std::os::fd::AsFd;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use mvpnet_switch::World;
use nix::poll::{PollFd, PollFlags, poll};

use super::MpiTransport;
use super::ffi::{Mpi, exit_now};
use super::hydra::Hydra;
use super::requests::Barrier;
use crate::{Arm, Transport, TransportError, clock};

/// MPI_Finalize may take this long, and this much longer for each rank of the job: its ranks share cores, and the launcher
/// answers them one by one.
const FINALIZE_LIMIT: Duration = Duration::from_secs(10);
const FINALIZE_LIMIT_PER_RANK: Duration = Duration::from_millis(200);
/// The same where ranks are missing, so that it hardly can end.
const HOPELESS_LIMIT: Duration = Duration::from_secs(1);

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
    /// Where MPI hangs in finalising, as MPICH over TCP often does, the process ends with `exit_code` and
    /// without running anything more: logs should be written out before.
    pub fn close(mut self, drain: Duration, exit_code: i32) -> CloseReport {
        let mut report = CloseReport::default();
        match self.drain(drain, &mut report) {
            Ok(all_met) => report.all_met = all_met,
            Err(error) => report.error = Some(error),
        }
        let near = self
            .rings
            .as_ref()
            .map_or(0, |rings| if report.all_met { 0 } else { rings.under_way() } + rings.queued());
        report.undelivered_bytes = self.queued + self.sends.bytes() + near;
        // Buffers of sends that are still active are leaked with `sends`.
        let MpiTransport { mpi, sends, receives, library, world, .. } = self;
        drop((sends, receives));
        finalize(mpi, &library, report.all_met.then_some(world), exit_code);
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

/// Finalises MPI; ends the process with `exit_code` where that hangs. `met`: the world, if all of it has met at the end.
pub(super) fn finalize(mpi: Mpi, library: &str, met: Option<World>, exit_code: i32) {
    let (done, watch) = channel::<()>();
    let hydra = met.and_then(|world| Hydra::stand_between(library, world));
    let watchdog = std::thread::Builder::new().name("mpi-finalize".into()).spawn(move || {
        let has_ended = match hydra {
            Some(hydra) => hydra.relay(&watch),
            None => {
                let patient = |world: World| FINALIZE_LIMIT + FINALIZE_LIMIT_PER_RANK * world.size();
                let limit = met.map_or(HOPELESS_LIMIT, patient);
                watch.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
            }
        };
        if !has_ended {
            exit_now(exit_code);
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
