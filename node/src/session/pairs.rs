//! Packets on their way to other ranks: a window and a queue for each, pure.
//!
//! The window is less than what a transport lets wait for a peer besides what is on the way there, so that no packet is
//! ever refused for want of room, and the job's other messages do not stand behind any. Queues are bounded by the
//! windows of the sessions whose packets they hold.

use std::collections::{BTreeMap, VecDeque};

use mvpnet_switch::Rank;
use mvpnet_transports::{ReceiveWindow, SendWindow};

use super::packet::Packet;

/// What may be on the way to one rank, in octets.
const PAIR_WINDOW: u64 = 96 << 10;

/// What a packet takes of it at least, however short it is: this bounds their number.
const MIN_CHARGE: u64 = 2 << 10;

/// The ways to all ranks.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pairs: BTreeMap<Rank, Pair>,
    /// Those that have something which may leave, each once.
    ready: VecDeque<Rank>,
}

#[derive(Debug)]
struct Pair {
    queue: VecDeque<Vec<u8>>,
    out: SendWindow,
    taken: ReceiveWindow,
    is_ready: bool,
}

impl Pairs {
    /// Queues a packet.
    pub(super) fn push(&mut self, to: Rank, packet: &Packet) {
        self.pair(to).queue.push_back(packet.encode());
        self.note(to);
    }

    /// A packet of this length has come; those that need no room are not counted.
    pub(super) fn took(&mut self, from: Rank, packet: &Packet, len: usize) {
        match packet {
            Packet::Ack { taken } => {
                self.pair(from).out.credit(*taken);
            }
            _ => self.pair(from).taken.consume(charge(len)),
        }
        self.note(from);
    }

    /// Whether [`next`](Self::next) has something.
    pub(super) fn has_next(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What leaves next, to ranks in turn.
    pub(super) fn next(&mut self) -> Option<(Rank, Vec<u8>)> {
        let to = self.ready.pop_front()?;
        let pair = self.pair(to);
        pair.is_ready = false;
        let packet = pair.next();
        self.note(to);
        packet.map(|packet| (to, packet))
    }

    /// A rank has gone: nothing is for it any more.
    pub(super) fn forget(&mut self, rank: Rank) {
        self.pairs.remove(&rank);
        self.ready.retain(|other| *other != rank);
    }

    fn pair(&mut self, rank: Rank) -> &mut Pair {
        self.pairs.entry(rank).or_insert_with(|| Pair {
            queue: VecDeque::new(),
            out: SendWindow::new(PAIR_WINDOW),
            taken: ReceiveWindow::new(PAIR_WINDOW),
            is_ready: false,
        })
    }

    fn note(&mut self, rank: Rank) {
        let pair = self.pair(rank);
        if pair.has_next() && !pair.is_ready {
            pair.is_ready = true;
            self.ready.push_back(rank);
        }
    }
}

impl Pair {
    fn has_next(&self) -> bool {
        self.taken.is_due() || self.queue.front().is_some_and(|packet| self.out.allows(charge(packet.len())))
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.taken.is_due() {
            return Some(Packet::Ack { taken: self.taken.tell() }.encode());
        }
        let packet = self.queue.pop_front_if(|packet| self.out.allows(charge(packet.len())))?;
        self.out.spend(charge(packet.len()));
        Some(packet)
    }
}

fn charge(len: usize) -> u64 {
    (len as u64).max(MIN_CHARGE)
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::World;
    use mvpnet_transports::FlowLimits;
    use proptest::prelude::*;

    use super::*;
    use crate::session::{Frame, MAX_DATA};

    fn data(id: u32, len: usize) -> Packet {
        Packet::ToService { id, frame: Frame::Data(vec![0; len]) }
    }

    fn ranks() -> [Rank; 3] {
        let world = World::new(3).unwrap();
        [0, 1, 2].map(|index| world.rank(index).unwrap())
    }

    #[test]
    fn what_is_on_the_way_is_bounded_and_fits_what_a_transport_lets_wait() {
        let [_, one, _] = ranks();
        for len in [0, MAX_DATA] {
            let mut pairs = Pairs::default();
            (0..1000).for_each(|id| pairs.push(one, &data(id, len)));
            let sent: Vec<usize> =
                std::iter::from_fn(|| pairs.next()).map(|(_, packet)| packet.len()).collect();
            assert!(!pairs.has_next() && sent.len() <= 48, "{} of {len}", sent.len());
            let FlowLimits { control_window, control_queue, .. } = FlowLimits::BUFFERS;
            assert!(sent.iter().sum::<usize>() as u64 <= control_window.min(PAIR_WINDOW));
            assert!(PAIR_WINDOW < control_window + control_queue as u64 / 2);
        }
    }

    #[test]
    fn ranks_take_turns_and_one_that_takes_nothing_holds_nobody_up() {
        let [_, one, two] = ranks();
        let mut pairs = Pairs::default();
        (0..100).for_each(|id| pairs.push(one, &data(id, MAX_DATA)));
        (0..3).for_each(|id| pairs.push(two, &data(id, MAX_DATA)));
        let order: Vec<Rank> = std::iter::from_fn(|| pairs.next()).map(|(to, _)| to).collect();
        assert_eq!(order[..4], [one, two, one, two]);
        assert_eq!(order.iter().filter(|to| **to == two).count(), 3);
        pairs.forget(one);
        assert!(!pairs.has_next());
    }

    proptest! {
        #[test]
        fn everything_arrives_in_order_whatever_the_lengths(lens in prop::collection::vec(0..=MAX_DATA, 1..200)) {
            let [zero, one, _] = ranks();
            let (mut sender, mut receiver) = (Pairs::default(), Pairs::default());
            for (id, len) in (0..).zip(&lens) {
                sender.push(one, &data(id, *len));
            }
            let mut arrived = Vec::new();
            loop {
                let before = arrived.len();
                while let Some((_, bytes)) = sender.next() {
                    let packet = Packet::decode(&bytes).unwrap();
                    receiver.took(zero, &packet, bytes.len());
                    arrived.push(packet);
                }
                while let Some((_, bytes)) = receiver.next() {
                    sender.took(one, &Packet::decode(&bytes).unwrap(), bytes.len());
                }
                if arrived.len() == before {
                    break;
                }
            }
            let sent: Vec<Packet> = (0..).zip(&lens).map(|(id, len)| data(id, *len)).collect();
            prop_assert!(arrived == sent);
        }
    }
}
