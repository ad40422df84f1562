//! The windows of a session, pure: what one end may send, and what the other has yet to allow.

use super::WINDOW;

/// What a signal takes of a window.
pub(super) const SIGNAL_COST: u32 = 64;

/// The part of a window that data leaves to signals.
const RESERVE: u32 = 4 << 10;

/// After how much that has been read the sender is told.
const TELL_AFTER: u32 = WINDOW / 4;

/// The sending end's half.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendCredit {
    left: u32,
}

/// The reading end's half.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveCredit {
    /// What the sender may still send.
    allowed: u32,
    /// What has been read since the sender was told.
    owed: u32,
}

/// The other end sent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the session sent more than it may")]
pub(super) struct Overrun;

impl SendCredit {
    pub(super) const fn new() -> Self {
        Self { left: WINDOW }
    }

    /// How much data may be sent now.
    pub(super) fn room(self) -> usize {
        usize::try_from(self.left.saturating_sub(RESERVE)).unwrap_or(usize::MAX)
    }

    /// Counts data as sent.
    pub(super) fn spend(&mut self, len: usize) {
        debug_assert!(len <= self.room());
        self.left = self.left.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Counts a signal as sent, if it may be.
    pub(super) fn signal(&mut self) -> bool {
        let may = self.left >= SIGNAL_COST;
        if may {
            self.left -= SIGNAL_COST;
        }
        may
    }

    /// The other end has read so much.
    pub(super) fn grant(&mut self, octets: u32) {
        self.left = self.left.saturating_add(octets).min(WINDOW);
    }
}

impl ReceiveCredit {
    pub(super) const fn new() -> Self {
        Self { allowed: WINDOW, owed: 0 }
    }

    /// Counts what has arrived.
    pub(super) fn accept(&mut self, octets: u32) -> Result<(), Overrun> {
        self.allowed = self.allowed.checked_sub(octets).ok_or(Overrun)?;
        Ok(())
    }

    /// Counts what has been used. What the sender is to be granted, when that is due.
    pub(super) fn consumed(&mut self, octets: u32) -> Option<u32> {
        self.owed += octets;
        if self.owed < TELL_AFTER {
            return None;
        }
        self.allowed += self.owed;
        Some(std::mem::take(&mut self.owed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signals_pass_where_data_waits_but_not_without_end() {
        let mut credit = SendCredit::new();
        credit.spend(credit.room());
        assert_eq!(credit.room(), 0);
        let signals = std::iter::repeat_with(|| credit.signal()).take_while(|sent| *sent).count();
        assert_eq!(signals, (RESERVE / SIGNAL_COST) as usize);
    }

    proptest! {
        #[test]
        fn a_sender_that_keeps_to_its_credit_never_overruns_and_never_starves(
            sends in prop::collection::vec(1_usize..20_000, 1..200),
        ) {
            let (mut sender, mut receiver) = (SendCredit::new(), ReceiveCredit::new());
            for wanted in sends {
                // Everything that was sent has been used: there is room.
                prop_assert!(sender.room() > 0);
                let len = wanted.min(sender.room());
                sender.spend(len);
                let len = u32::try_from(len).unwrap();
                prop_assert_eq!(receiver.accept(len), Ok(()));
                if let Some(granted) = receiver.consumed(len) {
                    sender.grant(granted);
                }
            }
        }

        #[test]
        fn what_exceeds_the_window_is_noticed(extra in 1_u32..1000) {
            let mut receiver = ReceiveCredit::new();
            prop_assert_eq!(receiver.accept(WINDOW), Ok(()));
            prop_assert_eq!(receiver.accept(extra), Err(Overrun));
        }
    }
}
