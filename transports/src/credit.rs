//! Byte credits: how much one rank may have on the way to another.
//!
//! MPI has no flow control of its own for messages that it sends eagerly (MPI 3.1, §3.5 leaves buffering to
//! the implementation): without credits a slow receiver's memory grows as fast as the sender can send. Sender
//! and receiver both count every byte from the start; the receiver tells its count of consumed bytes, and
//! what lies between the two counts is on the way. Cumulative counts make a repeated or overtaken
//! announcement harmless. Pure: no I/O, no clock.

/// The sender's half: what has been sent and what the receiver is known to have consumed.
#[derive(Clone, Copy, Debug)]
pub struct SendWindow {
    size: u64,
    sent: u64,
    consumed: u64,
}

impl SendWindow {
    /// A window of `size` bytes. Single messages should not exceed half of it: the receiver keeps up to a
    /// quarter of the window to itself before it tells, and what is left must take the next message.
    pub const fn new(size: u64) -> Self {
        SendWindow { size, sent: 0, consumed: 0 }
    }

    /// Bytes sent that the receiver has not been heard to consume.
    pub const fn outstanding(&self) -> u64 {
        self.sent - self.consumed
    }

    /// Whether `bytes` may be sent now. One message may always be on the way, whatever its length.
    pub const fn allows(&self, bytes: u64) -> bool {
        let outstanding = self.outstanding();
        outstanding == 0 || outstanding + bytes <= self.size
    }

    /// Counts `bytes` as sent.
    pub const fn spend(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Takes the receiver's count of consumed bytes. An older count than the last changes nothing, and a
    /// count beyond what was sent, which no honest receiver announces, opens the window no further than
    /// empty. True where the window opened.
    pub fn credit(&mut self, consumed: u64) -> bool {
        let known = consumed.min(self.sent);
        let opened = known > self.consumed;
        if opened {
            self.consumed = known;
        }
        opened
    }
}

/// The receiver's half: what it has consumed and what it has told the sender of that.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveWindow {
    tell_after: u64,
    consumed: u64,
    told: u64,
}

impl ReceiveWindow {
    /// The half that belongs to a sender's window of `size` bytes.
    pub const fn new(size: u64) -> Self {
        ReceiveWindow { tell_after: size / 4, consumed: 0, told: 0 }
    }

    /// Counts `bytes` as consumed.
    pub const fn consume(&mut self, bytes: u64) {
        self.consumed += bytes;
    }

    /// Whether so much has been consumed without telling that the sender is owed a message of its own.
    pub const fn is_due(&self) -> bool {
        self.consumed - self.told >= self.tell_after && self.consumed != self.told
    }

    /// The count to put into a message that leaves now.
    pub const fn tell(&mut self) -> u64 {
        self.told = self.consumed;
        self.consumed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Sends while the window allows, consumes and tells in any order: what is on the way stays within
        /// the window, and once all is consumed and told, the sender may always go on.
        #[test]
        fn the_window_bounds_what_is_on_the_way_and_never_sticks(
            size in 4000u64..9000, steps in prop::collection::vec((0u8..3, 1u64..2000), 1..200)
        ) {
            let mut sender = SendWindow::new(size);
            let mut receiver = ReceiveWindow::new(size);
            let mut on_the_way = VecDeque::new();
            for (step, bytes) in steps {
                match step {
                    0 if sender.allows(bytes) => {
                        sender.spend(bytes);
                        on_the_way.push_back(bytes);
                        prop_assert!(on_the_way.len() == 1 || on_the_way.iter().sum::<u64>() <= size);
                    }
                    1 => on_the_way.pop_front().into_iter().for_each(|bytes| receiver.consume(bytes)),
                    _ if receiver.is_due() => {
                        sender.credit(receiver.tell());
                    }
                    _ => {}
                }
            }
            on_the_way.drain(..).for_each(|bytes| receiver.consume(bytes));
            // A sender that is blocked is owed a credit: otherwise both sides would wait for ever.
            if receiver.is_due() {
                sender.credit(receiver.tell());
            }
            prop_assert!(sender.allows(size / 2));
        }

        #[test]
        fn old_or_false_counts_never_widen_the_window(counts in prop::collection::vec(any::<u64>(), 0..50)) {
            let mut sender = SendWindow::new(1000);
            sender.spend(900);
            let mut best = 0;
            for count in counts {
                sender.credit(count);
                best = best.max(count.min(900));
                prop_assert_eq!(sender.outstanding(), 900 - best);
            }
        }
    }

    #[test]
    fn a_message_larger_than_the_window_goes_alone() {
        let mut sender = SendWindow::new(100);
        assert!(sender.allows(5000));
        sender.spend(5000);
        assert!(!sender.allows(1));
        assert!(sender.credit(5000));
        assert!(sender.allows(1));
    }
}
