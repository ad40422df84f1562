//! A model checker (loom) tries all orders in which two threads can get at a ring and at a door: the very files that the
//! transport compiles, over its atomics.

#[path = "../src/shm/door.rs"]
#[allow(dead_code, reason = "the model needs a part of it")]
mod door;
#[path = "../src/shm/ring.rs"]
#[allow(dead_code, reason = "the model needs a part of it")]
mod ring;

/// As few as make a ring wrap around.
const SLOTS: usize = 2;
const MAIL_WORDS: usize = 1;

mod sync {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

use loom::sync::Arc;
use loom::thread;

use door::{DoorWords, Sleep};
use ring::{Consumer, Producer, RingWords};

#[test]
fn numbers_come_out_in_order_and_once() {
    loom::model(|| {
        let words = Arc::new(RingWords::new());
        let far = words.clone();
        let pusher = thread::spawn(move || {
            let mut producer = Producer::default();
            (0..3).filter(|number| producer.push(&far, *number)).collect::<Vec<u64>>()
        });
        let mut consumer = Consumer::default();
        let mut popped: Vec<u64> = (0..2).filter_map(|_| consumer.pop(&words)).collect();
        let pushed = pusher.join().unwrap();
        popped.extend(std::iter::from_fn(|| consumer.pop(&words)));
        assert_eq!(popped, pushed);
    });
}

#[test]
fn what_was_written_before_a_push_is_seen_after_the_pop() {
    loom::model(|| {
        let shared = Arc::new((RingWords::new(), loom::cell::UnsafeCell::new(0)));
        let far = shared.clone();
        let pusher = thread::spawn(move || {
            // SAFETY: the other thread reads only after it has popped what is pushed next; loom checks just that.
            far.1.with_mut(|block| unsafe { *block = 7 });
            assert!(Producer::default().push(&far.0, 1));
        });
        if Consumer::default().pop(&shared.0).is_some() {
            // SAFETY: as above.
            assert_eq!(shared.1.with(|block| unsafe { *block }), 7);
        }
        pusher.join().unwrap();
    });
}

#[test]
fn a_sleeper_has_looked_after_the_push_or_is_rung() {
    loom::model(|| {
        let shared = Arc::new((DoorWords::new(), RingWords::new()));
        let far = shared.clone();
        let pusher = thread::spawn(move || {
            assert!(Producer::default().push(&far.1, 1));
            far.0.take_sleep(Sleep::is_asleep)
        });
        shared.0.set(Sleep::Idle);
        let would_sleep = Consumer::default().is_empty(&shared.1);
        let rings = pusher.join().unwrap();
        assert!(!would_sleep || rings, "asleep beside a batch, and nobody rings");
        assert_eq!(shared.0.wake(), rings);
    });
}

#[test]
fn one_of_two_wakers_rings() {
    loom::model(|| {
        let door = Arc::new(DoorWords::new());
        door.set(Sleep::Blocked);
        let far = door.clone();
        let other = thread::spawn(move || far.take_sleep(Sleep::is_blocked));
        let mine = door.take_sleep(Sleep::is_asleep);
        assert!(mine != other.join().unwrap());
    });
}

#[test]
fn word_that_is_left_while_the_mail_is_taken_is_heard_once() {
    loom::model(|| {
        let door = Arc::new(DoorWords::new());
        let far = door.clone();
        let leaver = thread::spawn(move || far.leave(5));
        let mut heard = Vec::new();
        if door.has_mail() {
            door.take_mail(|index| heard.push(index));
        }
        leaver.join().unwrap();
        if door.has_mail() {
            door.take_mail(|index| heard.push(index));
        }
        assert_eq!(heard, [5]);
    });
}
