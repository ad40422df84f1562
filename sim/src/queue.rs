//! What is to happen, in a total order: by time, and at the same time in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use mvpnet_switch::Instant;

/// Events of any kind, in the order (time, sequence number).
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    next: u64,
}

#[derive(Debug)]
struct Planned<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), next: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, event: E) {
        self.heap.push(Planned { at, sequence: self.next, event });
        self.next += 1;
    }

    /// When the next event is.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|planned| planned.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, E)> {
        self.heap.pop().map(|planned| (planned.at, planned.event))
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<E> Ord for Planned<E> {
    /// The greatest is what comes first, since that is what the heap gives.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl<E> Eq for Planned<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_planned() {
        let mut queue = Queue::new();
        for (at, event) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b')] {
            queue.push(Instant::from_nanos(at), event);
        }
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
    }
}
