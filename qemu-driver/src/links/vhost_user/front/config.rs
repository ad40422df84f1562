//! What the driver is like, and where in the guest's memory it has what.

use mvpnet_switch::OFFLOAD_LEN;

use super::super::features::{Offers, bit};
use super::super::ring::DESCRIPTOR_LEN;
use super::queue::Queue;
use crate::links::MAX_GUEST_FRAME_LEN;

/// A page, at which the parts of the memory begin.
const PAGE: usize = 4096;

/// What the driver is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontConfig {
    /// Descriptors of each ring: a power of two.
    pub ring_size: u16,
    /// Octets of the buffers that frames are sent from; longer ones are sent from several.
    pub send_buffer_len: usize,
    /// Octets of the buffers that frames are received into, the header's included.
    pub receive_buffer_len: usize,
    /// A frame may be received into several buffers.
    pub mergeable: bool,
    /// Notifications are asked for by index, not by a flag.
    pub event_idx: bool,
    /// Frames of several buffers are sent by a table of descriptors.
    pub indirect: bool,
    /// All offloads that are offered are taken.
    pub offloads: bool,
    /// Virtio 1: without it, and without mergeable buffers, headers are two octets shorter.
    pub version_1: bool,
}

impl Default for FrontConfig {
    /// As Linux has it on a network card of qemu's.
    fn default() -> Self {
        Self {
            ring_size: 256,
            send_buffer_len: 4096,
            receive_buffer_len: 1536,
            mergeable: true,
            event_idx: true,
            indirect: true,
            offloads: true,
            version_1: true,
        }
    }
}

impl FrontConfig {
    /// The features of a device that the driver takes, as far as they are offered.
    pub(super) fn features(&self) -> u64 {
        let flag = |is_wanted: bool, bits: u64| if is_wanted { bits } else { 0 };
        let offloads =
            Offers::default().features() & !Offers { checksum: false, ..Offers::default() }.features();
        bit::MTU
            | bit::PROTOCOL_FEATURES
            | flag(self.version_1, bit::VERSION_1)
            | flag(self.mergeable, bit::MRG_RXBUF)
            | flag(self.event_idx, bit::EVENT_IDX)
            | flag(self.indirect, bit::INDIRECT_DESC)
            | flag(self.offloads, offloads)
    }
}

/// Where things are in the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) queues: [usize; 2],
    pub(super) tables: usize,
    /// Descriptors of each table.
    pub(super) table_size: usize,
    pub(super) send_buffers: usize,
    pub(super) receive_buffers: usize,
    pub(super) end: usize,
}

impl Layout {
    pub(super) fn new(config: &FrontConfig) -> Layout {
        let count = usize::from(config.ring_size);
        let table_size = (OFFLOAD_LEN + MAX_GUEST_FRAME_LEN).div_ceil(config.send_buffer_len);
        let queue = Queue::octets(config.ring_size);
        let tables = 2 * queue;
        let send_buffers = tables + (count * table_size * DESCRIPTOR_LEN).next_multiple_of(PAGE);
        let receive_buffers = send_buffers + (count * config.send_buffer_len).next_multiple_of(PAGE);
        let end = receive_buffers + (count * config.receive_buffer_len).next_multiple_of(PAGE);
        Layout { queues: [0, queue], tables, table_size, send_buffers, receive_buffers, end }
    }
}
