//! A table of the peers that a rank has talked to: what it holds grows with them, not with the world.

use mvpnet_switch::{Rank, World};

/// Values by rank. The index is four bytes a rank of zeroed memory, of which the system only backs the pages
/// that are used.
#[derive(Debug)]
pub(crate) struct Peers<T> {
    /// Slot number + 1, or 0.
    index: Vec<u32>,
    slots: Vec<T>,
}

impl<T> Peers<T> {
    pub fn new(world: World) -> Self {
        Peers { index: vec![0; world.size() as usize], slots: Vec::new() }
    }

    /// The rank's slot number, which stays the same.
    #[inline]
    pub fn slot(&self, rank: Rank) -> Option<usize> {
        let slot = *self.index.get(rank.index() as usize)?;
        (slot as usize).checked_sub(1)
    }

    /// The rank's slot number; `make` fills it on first use. `None` where the rank is not of this world.
    #[inline]
    pub fn slot_or_insert_with(&mut self, rank: Rank, make: impl FnOnce() -> T) -> Option<usize> {
        let slot = self.index.get_mut(rank.index() as usize)?;
        if *slot == 0 {
            self.slots.push(make());
            *slot = u32::try_from(self.slots.len())
                .expect("there are fewer peers than ranks, which count in 32 bits");
        }
        Some(*slot as usize - 1)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut()
    }
}

impl<T> std::ops::Index<usize> for Peers<T> {
    type Output = T;

    fn index(&self, slot: usize) -> &T {
        &self.slots[slot]
    }
}

impl<T> std::ops::IndexMut<usize> for Peers<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        &mut self.slots[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_made_on_first_use_and_keep_their_slot() {
        let world = World::new(1000).expect("1000 is a size");
        let rank = |index| world.rank(index).expect("below 1000");
        let mut peers = Peers::new(world);
        assert_eq!(peers.slot(rank(999)), None);
        assert_eq!(peers.slot_or_insert_with(rank(999), || 'a'), Some(0));
        assert_eq!(peers.slot_or_insert_with(rank(3), || 'b'), Some(1));
        assert_eq!(peers.slot_or_insert_with(rank(999), || 'c'), Some(0));
        assert_eq!((peers.len(), peers[0], peers[1], peers.slot(rank(3))), (2, 'a', 'b', Some(1)));
    }

    #[test]
    fn a_rank_of_a_larger_world_is_no_peer() {
        let mut peers = Peers::new(World::new(2).expect("2 is a size"));
        let stranger = World::new(3).expect("3 is a size").rank(2).expect("below 3");
        assert_eq!(peers.slot_or_insert_with(stranger, || ()), None);
        assert_eq!(peers.slot(stranger), None);
    }
}
