//! Who is entitled to which frames: what was sent and what faults made of it, against what came.
//!
//! Frames are known by their bytes, as guests know them, so that the switches and links that are audited have no
//! say in which frame is which. Frames with the same bytes share an entry that counts them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::FrameId;

/// The frames that were on their way, by their bytes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Rc<[u8]>, Entry>,
    /// How many frames each guest has sent.
    numbers: BTreeMap<u32, u64>,
}

/// All frames with the same bytes.
#[derive(Debug, Default)]
struct Entry {
    /// Who sent them, how often, and the last number.
    senders: BTreeMap<u32, (u64, u64)>,
    receivers: BTreeMap<u32, Copies>,
}

/// Copies for one receiver.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// Those that no guest sent: second ones, changed ones, and answers of the switch.
    made: u64,
    /// Those that were given to the guest, were lost, or became something else.
    ended: u64,
}

/// A copy that nobody is entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Nobody has sent this.
    Invented,
    /// This many came, more than were sent.
    Doubled(FrameId, u64),
}

impl Ledger {
    /// A guest has sent a frame: every other guest may get it once.
    pub(super) fn sent(&mut self, from: u32, frame: &Rc<[u8]>) -> FrameId {
        let next = self.numbers.entry(from).or_default();
        let number = *next;
        *next += 1;
        let (count, last) = self.entry(frame).senders.entry(from).or_default();
        *count += 1;
        *last = number;
        FrameId { rank: from, number }
    }

    /// A fault or a switch has made a copy for this receiver.
    pub(super) fn made(&mut self, to: u32, frame: &Rc<[u8]>) {
        self.entry(frame).receivers.entry(to).or_default().made += 1;
    }

    /// A copy for this receiver has ended, one way or another.
    pub(super) fn ended(&mut self, to: u32, frame: &Rc<[u8]>) -> Result<(), Excess> {
        let entry = self.entry(frame);
        let others = entry.senders.iter().filter(|(from, _)| **from != to);
        let sent: u64 = others.clone().map(|(_, (count, _))| count).sum();
        let last = others.map(|(from, (_, last))| FrameId { rank: *from, number: *last }).next_back();
        let copies = entry.receivers.entry(to).or_default();
        copies.ended += 1;
        if copies.ended <= sent + copies.made {
            return Ok(());
        }
        Err(last.map_or(Excess::Invented, |frame| Excess::Doubled(frame, copies.ended)))
    }

    /// The frame with these bytes, unless a fault or a switch has made them for this receiver.
    pub(super) fn sent_to(&self, to: u32, frame: &Rc<[u8]>) -> Option<FrameId> {
        let entry = self.entries.get(frame)?;
        if entry.receivers.get(&to).is_some_and(|copies| copies.made > 0) {
            return None;
        }
        entry.senders.iter().next().map(|(from, (_, last))| FrameId { rank: *from, number: *last })
    }

    fn entry(&mut self, frame: &Rc<[u8]>) -> &mut Entry {
        self.entries.entry(frame.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_guest_may_get_a_frame_once() {
        let mut ledger = Ledger::default();
        let frame = Rc::from([1, 2, 3]);
        let id = ledger.sent(0, &frame);
        assert_eq!(ledger.ended(1, &frame), Ok(()));
        assert_eq!(ledger.ended(2, &frame), Ok(()));
        assert_eq!(ledger.ended(1, &frame), Err(Excess::Doubled(id, 2)));
        assert_eq!(ledger.ended(0, &frame), Err(Excess::Invented), "its sender is no receiver");
    }

    #[test]
    fn a_second_copy_is_explained_once() {
        let mut ledger = Ledger::default();
        let frame = Rc::from([1]);
        ledger.sent(0, &frame);
        let id = ledger.sent(0, &frame);
        ledger.made(1, &frame);
        for _ in 0..3 {
            assert_eq!(ledger.ended(1, &frame), Ok(()));
        }
        assert_eq!(ledger.ended(1, &frame), Err(Excess::Doubled(id, 4)));
    }

    #[test]
    fn what_nobody_sent_is_invented() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.ended(1, &Rc::from([9])), Err(Excess::Invented));
    }
}
