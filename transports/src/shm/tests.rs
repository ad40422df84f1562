//! What ring and door promise; apart from them because a model checker compiles the same files (`tests/model.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use crate::shm::door::{DoorWords, Sleep};
use crate::shm::ring::{Consumer, Producer, RingWords};
use crate::shm::sync::Ordering;
use crate::shm::{MOST_NEIGHBOURS, SLOTS};

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue(pushes in prop::collection::vec(any::<bool>(), 0..2000)) {
        let words = RingWords::new();
        let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
        let mut queue = VecDeque::new();
        for (number, is_push) in pushes.into_iter().enumerate() {
            if is_push {
                let pushed = producer.push(&words, number as u64);
                prop_assert_eq!(pushed, queue.len() < SLOTS);
                if pushed {
                    queue.push_back(number as u64);
                }
            } else {
                prop_assert_eq!(consumer.pop(&words), queue.pop_front());
            }
        }
    }

    #[test]
    fn any_count_of_the_other_end_is_survived(counts in prop::collection::vec(any::<u64>(), 1..50)) {
        let words = RingWords::new();
        let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
        for count in counts {
            words.pushed.0.store(count, Ordering::Relaxed);
            words.popped.0.store(!count, Ordering::Relaxed);
            let _ = (consumer.pop(&words), producer.push(&words, count));
        }
    }
}

#[test]
fn numbers_pass_between_threads_in_order() {
    let words = Arc::new(RingWords::new());
    let far = words.clone();
    let pusher = std::thread::spawn(move || {
        let mut producer = Producer::default();
        for number in 0..200_000 {
            while !producer.push(&far, number) {
                std::thread::yield_now();
            }
        }
    });
    let mut consumer = Consumer::default();
    for expected in 0..200_000 {
        let number = loop {
            match consumer.pop(&words) {
                Some(number) => break number,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(number, expected);
    }
    pusher.join().expect("the pusher does not panic");
}

#[test]
fn a_sleep_is_taken_once_and_only_for_what_is_waited_for() {
    let door = DoorWords::new();
    assert!(!door.take_sleep(Sleep::is_asleep));
    door.set(Sleep::Idle);
    assert!(!door.take_sleep(Sleep::is_blocked));
    assert!(door.take_sleep(Sleep::is_asleep) && !door.take_sleep(Sleep::is_asleep));
    assert!(door.wake());
    door.set(Sleep::Blocked);
    assert!(door.take_sleep(Sleep::is_blocked));
    door.set(Sleep::Idle);
    assert!(!door.wake());
}

#[test]
fn word_that_was_left_is_heard_once() {
    let door = DoorWords::new();
    let left = [0, 1, 63, 64, 700, MOST_NEIGHBOURS - 1];
    left.into_iter().for_each(|index| door.leave(index));
    assert!(door.has_mail());
    let mut heard = Vec::new();
    door.take_mail(|index| heard.push(index));
    assert_eq!(heard, left);
    assert!(!door.has_mail());
    door.take_mail(|index| panic!("{index} twice"));
}
