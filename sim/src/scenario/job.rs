//! What one rank has to send, and when.

use std::rc::Rc;
use std::time::Duration;

use mvpnet_switch::{Instant, MacAddr, Rank, World};

use super::tally::Tally;
use super::{Kind, Traffic};

/// One rank's share of one line of traffic.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) line: u32,
    pub(super) kind: Kind,
    pub(super) from: u32,
    pub(super) mac: MacAddr,
    pub(super) to: Rc<[u32]>,
    /// Whether it goes to all at once.
    pub(super) broadcasts: bool,
    /// The length of a frame or a datagram's payload, if it has one.
    pub(super) len: usize,
    pub(super) tally: Tally,
    start: Duration,
    count: u64,
    every: Duration,
}

impl Job {
    pub(super) fn new(line: u32, traffic: &Traffic, from: Rank, world: World, tally: &Tally) -> Job {
        let to = if traffic.kind.has_targets() { traffic.to.of(from.index(), world) } else { Vec::new() };
        let len = match traffic.kind {
            Kind::Udp { len } | Kind::Frames { len } | Kind::Broadcast { len } => len as usize,
            Kind::Ping { .. } | Kind::Tcp { .. } | Kind::Boot => 0,
        };
        Job {
            line,
            kind: traffic.kind,
            from: from.index(),
            mac: from.mac(),
            to: to.into(),
            broadcasts: matches!(traffic.kind, Kind::Broadcast { .. }),
            len,
            tally: tally.clone(),
            start: traffic.start,
            count: traffic.count,
            every: traffic.every,
        }
    }

    /// Whether the next begins when the one before it has ended.
    pub(super) fn is_one_by_one(&self) -> bool {
        self.every.is_zero()
    }

    /// When the next is to be sent. What a rank that stood still or had crashed has missed is not sent later.
    pub(super) fn time_of_next(&self, now: Instant, to: u32) -> Option<Instant> {
        let start = Instant::ZERO + self.start;
        if !self.every.is_zero() {
            let missed = now.saturating_since(start).as_nanos().div_ceil(self.every.as_nanos());
            self.tally.skip_to(self.from, to, u64::try_from(missed).unwrap_or(u64::MAX));
        }
        let next = self.tally.next(self.from, to);
        if next >= self.count {
            return None;
        }
        let steps = u64::try_from(self.every.as_nanos()).unwrap_or(u64::MAX).saturating_mul(next);
        Some((start + Duration::from_nanos(steps)).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(count: u64, every: Duration) -> Job {
        let world = World::new(2).unwrap();
        let traffic = Traffic { count, every, start: Duration::from_secs(1), ..Traffic::new(Kind::Boot) };
        Job::new(0, &traffic, world.rank(0).unwrap(), world, &Tally::default())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let job = job(10, Duration::from_secs(2));
        assert_eq!(job.time_of_next(at(0), 1), Some(at(1)));
        assert_eq!(job.tally.take_next(0, 1), 0);
        assert_eq!(job.time_of_next(at(1), 1), Some(at(3)));
        assert_eq!(job.time_of_next(at(8), 1), Some(at(9)));
        assert_eq!(job.tally.take_next(0, 1), 4);
        assert_eq!(job.time_of_next(at(100), 1), None);
    }

    #[test]
    fn without_a_pause_the_next_comes_at_once() {
        let job = job(2, Duration::ZERO);
        assert_eq!(job.time_of_next(at(0), 1), Some(at(1)));
        for _ in 0..2 {
            assert_eq!(job.time_of_next(at(5), 1), Some(at(5)));
            job.tally.take_next(0, 1);
        }
        assert_eq!(job.time_of_next(at(5), 1), None);
    }
}
