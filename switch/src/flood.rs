//! The tree down which a flooded frame travels.
//!
//! Every rank can compute its part of the tree of every root, so that nothing is negotiated: ranks are
//! numbered from the root, v = (rank − root) mod N, and the children of v are 2v + 1 and 2v + 2 where these
//! exist. That is a binary heap's shape: every rank but the root has exactly one parent, and no rank is
//! further than log₂ N hops, rounded down, from the root. In a [`Topology::Star`] the tree is as flat as it
//! can be: all others are the root's children.

use crate::{Rank, Topology, World};

/// What to do with a frame that goes to everyone: hand it to the guest or not, and pass it on to this
/// rank's children in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// The rank whose guest sent the frame. It travels in the record, so that the tree never depends on
    /// what a guest writes into a frame.
    pub root: Rank,
    /// Whether this rank's guest gets a copy: everywhere but at the root.
    pub to_guest: bool,
    me: Rank,
    world: World,
    is_star: bool,
}

impl Flood {
    /// The part of rank `me` in a flood that starts at `root`. Both must be ranks of `world`.
    pub(crate) fn new(root: Rank, me: Rank, world: World, topology: Topology) -> Flood {
        debug_assert!(world.contains(root) && world.contains(me));
        Flood { root, to_guest: root != me, me, world, is_star: topology == Topology::Star }
    }

    /// The ranks to pass the frame on to: two at most, but in a star at the root all others.
    pub fn children(&self) -> impl ExactSizeIterator<Item = Rank> + use<> {
        let size = self.world.size();
        let root = self.root.index();
        let positions = match (self.is_star, self.position()) {
            (true, 0) => 1..size,
            (true, _) => size..size,
            // At most 2 · 2^24 + 3, which is far from overflowing.
            (false, position) => (2 * position + 1).min(size)..(2 * position + 3).min(size),
        };
        positions.map(move |position| {
            let index = (root + position) % size;
            Rank::new(index, World::new(size).expect("a world's own size")).expect("taken modulo the size")
        })
    }

    /// How many copies this rank makes.
    pub fn copies(&self) -> usize {
        usize::from(self.to_guest) + self.children().len()
    }

    /// This rank's number, counted from the root.
    fn position(&self) -> u32 {
        let (me, root) = (self.me.index(), self.root.index());
        if me >= root { me - root } else { me + self.world.size() - root }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn children(root: u32, me: u32, size: u32) -> Vec<u32> {
        let world = World::new(size).unwrap();
        tree(world.rank(root).unwrap(), world.rank(me).unwrap(), world).children().map(Rank::index).collect()
    }

    fn tree(root: Rank, me: Rank, world: World) -> Flood {
        Flood::new(root, me, world, Topology::Tree)
    }

    #[test]
    fn ranks_are_numbered_from_the_root() {
        assert_eq!(children(0, 0, 4), [1, 2]);
        assert_eq!(children(0, 1, 4), [3]);
        assert_eq!(children(3, 3, 4), [0, 1]);
        assert_eq!(children(3, 0, 4), [2]);
    }

    #[test]
    fn a_lone_rank_has_nobody_to_tell() {
        assert_eq!(children(0, 0, 1), []);
    }

    #[test]
    fn the_largest_world_does_not_overflow() {
        let last = World::MAX_SIZE - 1;
        assert_eq!(children(0, last, World::MAX_SIZE), []);
        assert_eq!(children(last, last, World::MAX_SIZE), [0, 1]);
    }

    #[test]
    fn copies_count_the_guest_and_the_children() {
        let world = World::new(4).unwrap();
        let ranks: Vec<_> = world.ranks().collect();
        assert_eq!(tree(ranks[0], ranks[0], world).copies(), 2);
        assert_eq!(tree(ranks[0], ranks[1], world).copies(), 2);
        assert_eq!(tree(ranks[0], ranks[3], world).copies(), 1);
    }

    #[test]
    fn in_a_star_the_root_tells_everyone_else_and_nobody_tells_anyone() {
        for size in 1..=9 {
            let world = World::new(size).unwrap();
            for (root, me) in world.ranks().flat_map(|root| world.ranks().map(move |me| (root, me))) {
                let flood = Flood::new(root, me, world, Topology::Star);
                let mut told: Vec<_> = flood.children().collect();
                told.sort_unstable();
                let others: Vec<_> = world.ranks().filter(|&rank| me == root && rank != me).collect();
                assert_eq!(told, others, "{me} in the flood of {root} of {size}");
                assert_eq!(flood.to_guest, me != root);
            }
        }
    }

    /// Walks the tree of `root` from the top and checks that it reaches everyone else exactly once, within
    /// the promised number of hops.
    fn check_tree(root: Rank, world: World, reached: &mut Vec<bool>) {
        reached.clear();
        reached.resize(world.size() as usize, false);
        reached[root.index() as usize] = true;
        let mut level = vec![root];
        let mut hops = 0;
        let mut count = 1;
        while !level.is_empty() {
            let mut next = Vec::new();
            for me in level {
                for child in tree(root, me, world).children() {
                    let seen = std::mem::replace(&mut reached[child.index() as usize], true);
                    assert!(!seen, "{child} is reached twice from {root} of {}", world.size());
                    next.push(child);
                }
            }
            count += next.len() as u32;
            hops += u32::from(!next.is_empty());
            level = next;
        }
        assert_eq!(count, world.size(), "from {root}");
        assert!(hops <= world.size().ilog2(), "{hops} hops from {root} of {}", world.size());
    }

    #[test]
    fn every_tree_of_small_worlds_reaches_every_rank_once() {
        let mut reached = Vec::new();
        for size in 1..=300 {
            let world = World::new(size).unwrap();
            for root in world.ranks() {
                check_tree(root, world, &mut reached);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn trees_of_larger_worlds_reach_every_rank_once(size in 301..100_000u32, root in any::<u32>()) {
            let world = World::new(size).unwrap();
            check_tree(world.rank(root % size).unwrap(), world, &mut Vec::new());
        }
    }

    proptest! {
        /// What the walk shows where it is too long to be made: whoever is not the root is a child of
        /// exactly one rank, as the children of distinct ranks are distinct numbers.
        #[test]
        fn in_worlds_of_any_size_each_rank_is_its_parents_child(
            size in 2..=World::MAX_SIZE,
            root in any::<u32>(),
            me in any::<u32>(),
        ) {
            let world = World::new(size).unwrap();
            let (root, me) = (u64::from(root % size), u64::from(me % size));
            let size = u64::from(size);
            let position = (me + size - root) % size;
            let of_children = children(root as u32, me as u32, size as u32);
            let expected = [2 * position + 1, 2 * position + 2].into_iter().filter(|&child| child < size);
            let expected: Vec<_> = expected.map(|child| ((root + child) % size) as u32).collect();
            prop_assert_eq!(of_children, expected);
            if position > 0 {
                let parent = ((position - 1) / 2 + root) % size;
                prop_assert!(children(root as u32, parent as u32, size as u32).contains(&(me as u32)));
            }
            let flood = tree(world.rank(root as u32).unwrap(), world.rank(me as u32).unwrap(), world);
            prop_assert_eq!(flood.to_guest, position > 0);
        }
    }
}
