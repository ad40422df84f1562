//! What becomes of one line of traffic, as senders and receivers note it down while the simulation runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_switch::Instant;

use super::stamp::Stamp;
use super::times::Spread;

/// The numbers of one line of traffic. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Rc<RefCell<Numbers>>);

/// See [`Row`](super::Row) for what they mean.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) sent: u64,
    /// What should have arrived if nothing were lost: more than was sent if that is broadcast.
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) failed: u64,
    pub(super) damaged: u64,
    pub(super) duplicates: u64,
    pub(super) bytes: u64,
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
    pub(super) times: Spread,
    /// The number that comes next, from one rank to another: a rank that has crashed goes on there.
    next: BTreeMap<(u32, u32), u64>,
    /// What has come, from one rank to another.
    seen: BTreeMap<(u32, u32), Vec<u64>>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should, with so many bytes.
    Done { bytes: u64 },
    /// Nothing came back.
    Lost,
    /// It was refused, reset, or given up, and who sent knows it.
    Failed,
    /// Something else arrived than was sent.
    Damaged,
}

/// Something that was begun. Who drops it without an end has crashed.
#[derive(Debug)]
pub(super) struct Attempt {
    tally: Tally,
    began: Instant,
    ended: bool,
    /// What it counts as without an end.
    otherwise: End,
}

impl Tally {
    pub(super) fn numbers(&self) -> Numbers {
        self.0.borrow().clone()
    }

    /// The number that comes next, which then is taken.
    pub(super) fn take_next(&self, from: u32, to: u32) -> u64 {
        let mut numbers = self.0.borrow_mut();
        let next = numbers.next.entry((from, to)).or_default();
        *next += 1;
        *next - 1
    }

    /// The number that comes next is this at least.
    pub(super) fn skip_to(&self, from: u32, to: u32, number: u64) {
        let mut numbers = self.0.borrow_mut();
        let next = numbers.next.entry((from, to)).or_default();
        *next = (*next).max(number);
    }

    /// The number that comes next.
    pub(super) fn next(&self, from: u32, to: u32) -> u64 {
        self.0.borrow().next.get(&(from, to)).copied().unwrap_or(0)
    }

    /// A host has its address, for the first time or again.
    pub(super) fn booted(&self, now: Instant, rank: u32) {
        if self.take_next(rank, rank) == 0 {
            let mut numbers = self.0.borrow_mut();
            numbers.received += 1;
            numbers.last = Some(now);
            numbers.times.add(now.saturating_since(Instant::ZERO));
        }
    }

    /// Something could not be sent.
    pub(super) fn failed(&self) {
        self.0.borrow_mut().failed += 1;
    }

    /// Begins something that ends with a result.
    pub(super) fn begin(&self, now: Instant, otherwise: End) -> Attempt {
        self.sent(now, 1);
        Attempt { tally: self.clone(), began: now, ended: false, otherwise }
    }

    /// Something was sent that so many should get.
    pub(super) fn sent(&self, now: Instant, receivers: u64) {
        let mut numbers = self.0.borrow_mut();
        numbers.sent += 1;
        numbers.expected += receivers;
        numbers.first.get_or_insert(now);
    }

    /// A datagram or frame has come.
    pub(super) fn received(&self, now: Instant, to: u32, stamp: &Stamp, payload: &[u8], bytes: usize) {
        let mut numbers = self.0.borrow_mut();
        if !Stamp::rest_is_intact(payload) {
            numbers.damaged += 1;
        } else if numbers.is_new(stamp, to) {
            numbers.received += 1;
            numbers.bytes += bytes as u64;
            numbers.last = Some(now);
            numbers.times.add(now.saturating_since(stamp.sent));
        } else {
            numbers.duplicates += 1;
        }
    }
}

impl Numbers {
    fn is_new(&mut self, stamp: &Stamp, to: u32) -> bool {
        const BITS: u64 = u64::BITS as u64;
        let seen = self.seen.entry((stamp.from, to)).or_default();
        let (place, bit) = ((stamp.number / BITS) as usize, 1 << (stamp.number % BITS));
        if seen.len() <= place {
            seen.resize(place + 1, 0);
        }
        let is_new = seen[place] & bit == 0;
        seen[place] |= bit;
        is_new
    }
}

impl Attempt {
    /// It has ended.
    pub(super) fn end(mut self, now: Instant, end: End) {
        self.settle(end, Some(now));
    }

    /// It has ended well, after a time that was measured.
    pub(super) fn end_after(mut self, now: Instant, took: Duration) {
        self.ended = true;
        let mut numbers = self.tally.0.borrow_mut();
        numbers.received += 1;
        numbers.last = Some(now);
        numbers.times.add(took);
    }

    fn settle(&mut self, end: End, now: Option<Instant>) {
        self.ended = true;
        let mut numbers = self.tally.0.borrow_mut();
        match end {
            End::Done { bytes } => {
                numbers.received += 1;
                numbers.bytes += bytes;
                if let Some(now) = now {
                    numbers.last = Some(now);
                    numbers.times.add(now.saturating_since(self.began));
                }
            }
            End::Lost => numbers.lost += 1,
            End::Failed => numbers.failed += 1,
            End::Damaged => numbers.damaged += 1,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.settle(self.otherwise, None);
        }
    }
}
