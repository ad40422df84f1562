//! A rank's door: where it says that it sleeps, and where neighbours leave word. What rings is [`bell`](super::bell)'s.
//!
//! # No wake-up is lost
//!
//! The sleeper stores its state, passes a sequentially consistent fence and then looks for work; the waker publishes
//! work, passes such a fence and then loads the state. Whichever fence comes first in their single total order, at least
//! one of the two sees the other's store. (`tests/model.rs` has a model checker try all orders.)

use super::MAIL_WORDS;
use super::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// What a door is made of; others write here.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct DoorWords {
    sleep: AtomicU32,
    has_mail: AtomicU32,
    shut: AtomicU32,
    mail: [AtomicU64; MAIL_WORDS],
}

/// Whether a rank sleeps, and what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Sleep {
    /// It polls.
    Awake = 0,
    /// It sleeps until a batch comes.
    Idle = 1,
    /// It sleeps until a batch or a credit comes.
    Blocked = 2,
}

impl Sleep {
    /// Whether a batch is worth ringing for.
    pub fn is_asleep(state: u32) -> bool {
        state != Sleep::Awake as u32
    }

    /// Whether a credit is.
    pub fn is_blocked(state: u32) -> bool {
        state == Sleep::Blocked as u32
    }
}

impl DoorWords {
    /// The owner goes to sleep; it looks for work afterwards.
    pub fn set(&self, sleep: Sleep) {
        self.sleep.store(sleep as u32, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake. True where somebody had taken the sleep away, and so rings or has rung.
    pub fn wake(&self) -> bool {
        !Sleep::is_asleep(self.sleep.swap(Sleep::Awake as u32, Ordering::AcqRel))
    }

    /// Called by whoever has published something: true where the owner sleeps for such a thing and this caller is the one
    /// to ring.
    pub fn take_sleep(&self, wanted: fn(u32) -> bool) -> bool {
        fence(Ordering::SeqCst);
        wanted(self.sleep.load(Ordering::Relaxed))
            && Sleep::is_asleep(self.sleep.swap(Sleep::Awake as u32, Ordering::AcqRel))
    }

    /// Leaves word that neighbour `index` has something here for the first time.
    pub fn leave(&self, index: usize) {
        self.mail[index / 64].fetch_or(1 << (index % 64), Ordering::Release);
        self.has_mail.store(1, Ordering::Release);
    }

    /// Whether a neighbour has left word.
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire) != 0
    }

    /// Takes the word that was left.
    pub fn take_mail(&self, mut hear: impl FnMut(usize)) {
        // Before the bits: word left in between is seen now or next time.
        self.has_mail.swap(0, Ordering::AcqRel);
        for (at, word) in self.mail.iter().enumerate() {
            let mut bits = if word.load(Ordering::Relaxed) == 0 { 0 } else { word.swap(0, Ordering::AcqRel) };
            while bits != 0 {
                hear(at * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// The owner leaves for good.
    pub fn shut(&self) {
        self.shut.store(1, Ordering::Release);
    }

    /// Whether the owner has left.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire) != 0
    }
}

impl DoorWords {
    /// A door whose owner is awake; one in a segment is made of zeroed memory, which is the same.
    #[cfg_attr(not(test), allow(dead_code, reason = "for tests"))]
    pub fn new() -> Self {
        let word = || AtomicU32::new(0);
        let mail = std::array::from_fn(|_| AtomicU64::new(0));
        DoorWords { sleep: word(), has_mail: word(), shut: word(), mail }
    }
}
