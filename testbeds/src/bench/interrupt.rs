//! Ctrl-C and SIGTERM end the benchmark at its next wait, so that it takes its jobs with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{bail, ensure};
use nix::sys::signal::{SigSet, Signal};

use crate::wall::{nap, now};

/// How often to look at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Whether to give up.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on signals only set a flag. Call it before any thread is started. Children get a clean mask from
    /// the standard library.
    pub fn on_signals() -> anyhow::Result<Interrupt> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        let flag = Arc::new(AtomicBool::new(false));
        let interrupt = Interrupt(flag.clone());
        thread::spawn(move || {
            if signals.wait().is_ok() {
                flag.store(true, Ordering::Relaxed);
            }
        });
        Ok(interrupt)
    }

    /// An error once a signal has come.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.raised(), "interrupted");
        Ok(())
    }

    /// Whether a signal has come.
    pub fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, unless a signal comes.
    pub fn sleep(&self, time: Duration) -> anyhow::Result<()> {
        let start = now();
        while start.elapsed() < time {
            self.check()?;
            nap(LOOK.min(time.saturating_sub(start.elapsed())));
        }
        Ok(())
    }

    /// Waits until `look` gives something; `what` is for the error when it does not in time.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let start = now();
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if start.elapsed() >= limit {
                bail!("{what}: not within {:.0} s", limit.as_secs_f64());
            }
            nap(LOOK);
        }
    }
}
