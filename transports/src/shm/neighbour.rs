//! What is known of one neighbour: what leaves for it, and what comes from it.

use std::sync::Arc;

use mvpnet_switch::Rank;

use super::SLOTS;
use super::bell::Bell;
use super::block::Block;
use super::ring::{Consumer, Producer};
use super::segment::Segment;
use crate::batch::{BATCH_HEADER_LEN, Batch, Buffer, LARGE_ROOM, Lane};
use crate::outbox::Outbox;
use crate::pool::Pool;

/// What is needed of a neighbour.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub segment: Arc<Segment>,
    pub bell: Arc<Bell>,
}

impl Neighbour {
    /// Rings where the neighbour sleeps for such a thing. True where it rang.
    pub fn ring_if(&self, wanted: fn(u32) -> bool) -> bool {
        let rings = self.segment.door().take_sleep(wanted);
        if rings {
            self.bell.ring();
        }
        rings
    }

    pub fn has_left(&self) -> bool {
        self.segment.door().is_shut()
    }
}

/// A batch that a neighbour has.
#[derive(Debug)]
pub(super) struct Parcel {
    /// The neighbour's slot in `out`.
    pub slot: usize,
    pub lane: Lane,
    pub charge: u64,
    pub buffer: Buffer,
}

/// What leaves for one neighbour.
#[derive(Debug)]
pub(super) struct Outbound {
    pub neighbour: Neighbour,
    pub number: usize,
    pub outbox: Outbox,
    pub parcels: Producer,
    pub spent: Consumer,
    /// Bytes that it has consumed, per lane.
    pub consumed: [u64; 2],
    /// Blocks that it has.
    pub holds: usize,
    pub is_busy: bool,
    /// Whether the last send was refused for want of room.
    pub has_refused: bool,
    pub is_gone: bool,
}

/// What comes from one neighbour.
#[derive(Debug)]
pub(super) struct Inbound {
    pub from: Rank,
    pub neighbour: Neighbour,
    pub parcels: Consumer,
    pub spent: Producer,
    /// Which of its blocks are here.
    pub held: Box<[bool]>,
    /// Bytes given back since it was last told by a ring.
    pub untold: u64,
}

/// A parcel as a number: block (32 bits), lane (8), length of the message (24).
pub(super) fn encode(index: u32, lane: Lane, len: usize) -> u64 {
    (u64::from(index) << 32) | (u64::from(lane == Lane::Control) << 24) | len as u64
}

pub(super) fn decode(number: u64) -> (u32, Lane, usize) {
    let lane = if number & (1 << 24) == 0 { Lane::Data } else { Lane::Control };
    ((number >> 32) as u32, lane, (number & 0xff_ffff) as usize)
}

impl Outbound {
    /// Whether the neighbour may have one more block.
    pub fn may_have_another(&self, pool: &Pool) -> bool {
        let free = pool.free_blocks();
        let is_fair = self.holds == 0 || self.holds < free.min(SLOTS);
        is_fair && (free > 0 || self.outbox.next_is_shared())
    }
}

impl Inbound {
    pub fn new(from: Rank, neighbour: Neighbour) -> Self {
        let held = vec![false; neighbour.segment.blocks()].into_boxed_slice();
        let (parcels, spent) = (Consumer::default(), Producer::default());
        Inbound { from, neighbour, parcels, spent, held, untold: 0 }
    }

    /// The batch that a number stands for; `None` where it is none that can be.
    pub fn unpack(&mut self, number: u64) -> Option<Batch> {
        let (index, lane, len) = decode(number);
        let is_held = self.held.get_mut(index as usize).filter(|is_held| !**is_held)?;
        let records = len.checked_sub(BATCH_HEADER_LEN).filter(|records| *records <= LARGE_ROOM)?;
        let mut buffer = Buffer::shared(Block::of(&self.neighbour.segment, index)?);
        buffer.fill(records);
        *is_held = true;
        Some(Batch { from: self.from, lane, buffer })
    }
}

/// The same batch in shared memory, and the number of its block. The caller has made sure that there is a block.
pub(super) fn to_block(pool: &mut Pool, buffer: Buffer) -> (u32, Buffer) {
    if let Some(block) = buffer.block() {
        return (block.index(), buffer);
    }
    let mut copy = pool.take_shared().expect("a block is free");
    copy.push_run(buffer.records());
    pool.put(buffer);
    (copy.block().map_or(0, Block::index), copy)
}
