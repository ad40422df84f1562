//! Simulated time for programs.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mvpnet_switch::Instant;

use super::Host;

/// Who wants to be woken when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timers {
    fn add(&mut self, at: Instant, waker: Waker) -> u64 {
        self.next += 1;
        self.by_time.insert((at, self.next), waker);
        self.next
    }

    fn remove(&mut self, at: Instant, number: u64) {
        self.by_time.remove(&(at, number));
    }

    /// Wakes all whose time has come.
    pub(super) fn fire(&mut self, now: Instant) {
        while let Some(entry) = self.by_time.first_entry() {
            if entry.key().0 > now {
                break;
            }
            entry.remove().wake();
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }
}

/// A program ran out of its time; see [`Host::timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done within {0:?}")]
pub struct Elapsed(pub Duration);

/// Waits for a time; see [`Host::sleep`].
#[derive(Debug)]
#[must_use = "sleeping takes place when it is awaited"]
pub struct Sleep {
    host: Host,
    at: Instant,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (host, at) = (self.host.clone(), self.at);
        let mut inner = host.0.inner.borrow_mut();
        if let Some(number) = self.number.take() {
            inner.timers.remove(at, number);
        }
        if inner.now >= at {
            return Poll::Ready(());
        }
        self.number = Some(inner.timers.add(at, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(number), Ok(mut inner)) = (self.number, self.host.0.inner.try_borrow_mut()) {
            inner.timers.remove(self.at, number);
        }
    }
}

impl Host {
    /// Waits for so long.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until then.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { host: self.clone(), at, number: None }
    }

    /// Waits for something, but not for longer than this.
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        let mut sleep = pin!(self.sleep(limit));
        std::future::poll_fn(|context| {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            sleep.as_mut().poll(context).map(|()| Err(Elapsed(limit)))
        })
        .await
    }
}
