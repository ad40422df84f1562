//! What clients have done and seen, and whether a single copy of the data could have done the same.
//!
//! One client writes 1, 2, 3, …, another reads. Then it is easy to say what "linearizable" means: a read finds at
//! least what was acknowledged before it began, and what any read before it has found.

use std::cell::RefCell;
use std::rc::Rc;

use mvpnet_switch::Instant;

/// Everything that has happened to one key. Clones are the same history.
#[derive(Clone, Debug, Default)]
pub struct History(Rc<RefCell<Vec<Seen>>>);

/// At this time a client learned that this number is stored.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    number: u64,
    how: &'static str,
}

impl History {
    /// A write was acknowledged.
    pub fn wrote(&self, at: Instant, number: u64) {
        self.0.borrow_mut().push(Seen { at, number, how: "written" });
    }

    /// A read that began at one time and ended at another found this.
    pub fn read(&self, began: Instant, ended: Instant, number: u64) -> Result<(), String> {
        // What is seen at the same instant is seen at once, whatever comes first.
        let newer = self.0.borrow().iter().copied().find(|seen| seen.at < began && seen.number > number);
        if let Some(Seen { at, number: newer, how }) = newer {
            return Err(format!("stale read: {number} at {ended}, but {newer} had been {how} at {at}"));
        }
        self.0.borrow_mut().push(Seen { at: ended, number, how: "read" });
        Ok(())
    }

    /// How many writes and reads have succeeded.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }
}
