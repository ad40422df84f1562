//! The ranks of this host: which they are, and how one gets at what they share.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;

use mvpnet_switch::{Rank, World};
use nix::fcntl::OFlag;

use super::card::{Card, Places};
use super::card_of;
use crate::shm::{Announced, BLOCKS, Bell, Door, Key, MOST_NEIGHBOURS, Neighbour, Neighbours, Segment};

/// Rings that a segment has: which ranks are neighbours is known only after it was announced. Those that are not used are
/// not backed by memory.
fn pairs(world: World) -> usize {
    MOST_NEIGHBOURS.min(world.size() as usize)
}

/// This rank's own segment with its door, and the descriptor by which neighbours find it.
pub(super) fn own_door(world: World, me: Rank, key: &Key) -> io::Result<(Door, OwnedFd)> {
    let (segment, fd) = Segment::create(key, me.index(), pairs(world), BLOCKS)?;
    Ok((Door::new(Arc::new(segment))?, fd))
}

/// The ranks of this host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    world: World,
    key: Key,
    /// The cards of all ranks as they came.
    cards: Arc<[u8]>,
    ranks: Arc<[Rank]>,
}

impl Host {
    /// The ranks whose cards name this host.
    pub fn new(world: World, key: Key, cards: Arc<[u8]>, host: u64) -> Self {
        let ranks =
            world.ranks().filter(|rank| card_of(&cards, *rank).host == host).take(pairs(world)).collect();
        Host { world, key, cards, ranks }
    }

    /// Whether the memory of a neighbour can be reached: of the next one, for all, since what keeps one from it (no
    /// `/proc` of the other, a stricter system) keeps one from all.
    pub fn can_meet(&self, me: Rank) -> bool {
        let next = self.ranks.iter().find(|rank| **rank > me).or(self.ranks.first());
        match next.map(|next| self.meet(*next)) {
            Some(Err(error)) => {
                tracing::warn!(%error, "no memory can be shared with the other ranks of this host");
                false
            }
            _ => true,
        }
    }
}

impl Neighbours for Host {
    fn ranks(&self) -> &[Rank] {
        &self.ranks
    }

    fn meet(&self, rank: Rank) -> io::Result<Neighbour> {
        let Card { pid, places: Places { segment, pipe, .. }, .. } = card_of(&self.cards, rank);
        let announced = |(number, inode)| Announced { pid, number, inode };
        let segment = Segment::open(&announced(segment), &self.key, rank.index(), pairs(self.world), BLOCKS)?;
        let mut how = OpenOptions::new();
        how.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let pipe = announced(pipe).open(&how)?;
        if !pipe.metadata()?.file_type().is_fifo() {
            return Err(io::Error::other("not the neighbour's bell"));
        }
        Ok(Neighbour { segment: Arc::new(segment), bell: Arc::new(Bell::new(pipe.into())) })
    }
}
