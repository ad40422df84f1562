//! The links of a network that is not ideal: their settings, their state, and the frames that are on them.
//!
//! The link model says what becomes of a frame; this holds the frames until then. Nothing of it exists before the
//! first fault, and none of it is on a frame's way while every link that ends at this rank is ideal.

use std::collections::BTreeMap;

use mvpnet_switch::{DropReason, Instant, Rank, World};
use mvpnet_transports::link::{Arrival, Change, Network, Passage, Settings};

/// Octets that may be on their way to the guest: 50 ms of 10 Gbit/s. What is beyond is lost as in a full queue.
const QUEUE_OCTETS: usize = 64 << 20;

/// What faults did that the switch's books do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FaultCounts {
    /// Second copies that links made.
    pub(super) duplicated: u64,
    /// Those of them that did not reach the guest. The books know nothing of second copies.
    pub(super) duplicates_lost: u64,
    /// Frames in which a bit was flipped.
    pub(super) corrupted: u64,
}

impl FaultCounts {
    /// Adds what came since.
    pub(super) fn add(&mut self, more: FaultCounts) {
        self.duplicated += more.duplicated;
        self.duplicates_lost += more.duplicates_lost;
        self.corrupted += more.corrupted;
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (String, u64)> {
        [
            ("faults.duplicated", self.duplicated),
            ("faults.duplicates-lost", self.duplicates_lost),
            ("faults.corrupted", self.corrupted),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
    }
}

/// A frame on its way to the guest.
#[derive(Debug)]
pub(super) struct Travelling {
    pub(super) frame: Vec<u8>,
    /// Whether it is a second copy.
    pub(super) is_duplicate: bool,
    /// Whether the access link is still before it.
    before_access: bool,
}

/// A frame whose time has come.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) travelling: Travelling,
    /// Why it does not reach the guest, if it does not.
    pub(super) lost: Option<DropReason>,
}

/// All links that end at one rank.
pub(super) struct Faults {
    me: Rank,
    world: World,
    settings: Settings,
    network: Network,
    /// Whether any of them is not ideal.
    concerns_me: bool,
    /// By the time at which they come to the end of their link, then in the order in which they came.
    travelling: BTreeMap<(Instant, u64), Travelling>,
    octets: usize,
    sequence: u64,
    /// What access links did since somebody asked.
    on_last_hop: FaultCounts,
}

impl Faults {
    /// Ideal links; their chances follow from the seed.
    pub(super) fn new(me: Rank, world: World, seed: u64) -> Self {
        Self {
            me,
            world,
            settings: Settings::default(),
            network: Network::new(me, seed),
            concerns_me: false,
            travelling: BTreeMap::new(),
            octets: 0,
            sequence: 0,
            on_last_hop: FaultCounts::default(),
        }
    }

    /// Lets a change happen. Frames that are on their way are not touched by it.
    pub(super) fn apply(&mut self, change: &Change) {
        self.settings.apply(change);
        let me = self.me;
        let ends_badly =
            |from| from != me && (self.settings.parts(from, me) || !self.settings.model(from, me).is_ideal());
        self.concerns_me = !self.settings.is_ideal()
            && (!self.settings.access(me).is_ideal() || self.world.ranks().any(ends_badly));
    }

    /// Whether frames pass this rank's links as if there were none.
    pub(super) fn is_over(&self) -> bool {
        !self.concerns_me && self.travelling.is_empty()
    }

    /// What becomes of a frame that comes from rank `from`'s guest.
    pub(super) fn pass(&mut self, now: Instant, from: Rank, len: usize) -> Result<Passage, DropReason> {
        self.network.pass(&self.settings, now, from, len)
    }

    /// Takes a copy of a frame until it arrives. False when there is no room for it.
    pub(super) fn keep(&mut self, frame: &[u8], arrival: Arrival, is_duplicate: bool) -> bool {
        if self.octets + frame.len() > QUEUE_OCTETS {
            return false;
        }
        let mut frame = frame.to_vec();
        flip(&mut frame, arrival.corrupt_bit);
        let before_access = !self.settings.has_no_access_links();
        self.insert(arrival.at, Travelling { frame, is_duplicate, before_access });
        true
    }

    fn insert(&mut self, at: Instant, travelling: Travelling) {
        self.octets += travelling.frame.len();
        self.travelling.insert((at, self.sequence), travelling);
        self.sequence += 1;
    }

    /// When the next frame arrives somewhere.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.travelling.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next frame that has come to the guest, or that was lost on the last hop, by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let first = self.travelling.first_entry().filter(|first| first.key().0 <= now)?;
            let ((at, _), mut travelling) = first.remove_entry();
            self.octets -= travelling.frame.len();
            if !std::mem::take(&mut travelling.before_access) {
                return Some(Due { travelling, lost: None });
            }
            // It came to the access link when it was due, however late that is noticed.
            match self.network.access(&self.settings, at, travelling.frame.len()) {
                Ok(passage) => self.leave_access(passage, travelling),
                Err(reason) => return Some(Due { travelling, lost: Some(reason) }),
            }
        }
    }

    /// Takes what comes of a frame on the last hop.
    fn leave_access(&mut self, Passage { first, duplicate }: Passage, travelling: Travelling) {
        let second = duplicate.map(|second| (second, travelling.frame.clone()));
        self.arrive_at_guest(first, travelling);
        if let Some((second, frame)) = second {
            self.on_last_hop.duplicated += 1;
            self.arrive_at_guest(second, Travelling { frame, is_duplicate: true, before_access: false });
        }
    }

    fn arrive_at_guest(&mut self, arrival: Arrival, mut travelling: Travelling) {
        self.on_last_hop.corrupted += u64::from(arrival.corrupt_bit.is_some());
        flip(&mut travelling.frame, arrival.corrupt_bit);
        self.insert(arrival.at, travelling);
    }

    /// What access links did since this was called last.
    pub(super) fn take_counts(&mut self) -> FaultCounts {
        std::mem::take(&mut self.on_last_hop)
    }

    /// Everything that is still on its way.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Travelling> + use<> {
        self.octets = 0;
        std::mem::take(&mut self.travelling).into_values()
    }
}

/// Flips one bit of a frame, if it is to be.
fn flip(frame: &mut [u8], bit: Option<usize>) {
    if let Some(bit) = bit
        && let Some(octet) = frame.get_mut(bit / 8)
    {
        *octet ^= 0x80 >> (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(words: &[&str]) -> Faults {
        let world = World::new(4).unwrap();
        let mut faults = Faults::new(world.rank(2).unwrap(), world, 1);
        words.iter().for_each(|words| faults.apply(&words.parse().unwrap()));
        faults
    }

    #[test]
    fn what_happens_elsewhere_costs_this_rank_nothing() {
        for (words, is_over) in [
            (&["partition 0 | 1"][..], true),
            (&["partition 0 | 2"], false),
            (&["link 0<->1 loss=1%"], true),
            (&["link 0->2 loss=1%"], false),
            (&["link 2->0 loss=1%"], true),
            (&["access 1 rate=1Mbit/s"], true),
            (&["access 2 rate=1Mbit/s"], false),
            (&["access 2 rate=1Mbit/s", "access 2 ideal"], true),
            (&["link all loss=1%", "link all ideal"], true),
        ] {
            assert_eq!(faults(words).is_over(), is_over, "{words:?}");
        }
    }

    #[test]
    fn frames_come_out_in_the_order_of_their_arrival_and_the_last_hop_is_after_the_link() {
        let mut faults = faults(&["access 2 latency=1ms"]);
        let at = |millis: u64| Arrival { at: Instant::from_nanos(millis * 1_000_000), corrupt_bit: None };
        assert!(faults.keep(&[2; 60], at(5), false) && faults.keep(&[1; 60], at(3), false));
        assert!(faults.take_due(at(3).at).is_none());
        assert_eq!(faults.next_due(), Some(at(4).at));
        let first = faults.take_due(at(9).at).unwrap();
        let second = faults.take_due(at(9).at).unwrap();
        assert_eq!((first.travelling.frame[0], second.travelling.frame[0]), (1, 2));
        assert!(faults.take_due(at(9).at).is_none());
    }

    #[test]
    fn the_last_hop_doubles_and_corrupts_as_any_link_does() {
        let mut faults = faults(&["access 2 duplicate=100% corrupt=100%"]);
        let arrival = Arrival { at: Instant::ZERO, corrupt_bit: None };
        assert!(faults.keep(&[0; 60], arrival, false));
        let copies: Vec<Due> = std::iter::from_fn(|| faults.take_due(Instant::ZERO)).collect();
        assert_eq!(copies.iter().filter(|due| due.travelling.is_duplicate).count(), 1);
        let flipped = |due: &Due| due.travelling.frame.iter().map(|octet| octet.count_ones()).sum::<u32>();
        assert!(copies.len() == 2 && copies.iter().all(|due| flipped(due) == 1));
        let counts = FaultCounts { duplicated: 1, duplicates_lost: 0, corrupted: 2 };
        assert_eq!((faults.take_counts(), faults.take_counts()), (counts, FaultCounts::default()));
    }

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let mut faults = faults(&["link all latency=1s"]);
        let arrival = Arrival { at: Instant::ZERO, corrupt_bit: None };
        let frame = vec![0; 64 << 10];
        let kept = (0..2000).filter(|_| faults.keep(&frame, arrival, false)).count();
        assert_eq!(kept, QUEUE_OCTETS / frame.len());
        assert_eq!(faults.drain().count(), kept);
        assert!(faults.keep(&frame, arrival, false));
    }
}
