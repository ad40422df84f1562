//! From ring to ring: one thread that copies what either guest sends into the other's memory, without switch and transport.

use std::io::IoSlice;

use mvpnet_qemu_driver::links::{
    LinkKind,
    vhost_user::{MAX_RECORD_LEN, Offers, Received, VhostUserLink},
};
use mvpnet_transports::BATCH_LEN;

use super::reap;
use crate::loadgen::stand_in;

/// What one look takes from a ring: a batch, as between ranks.
const SPACE: usize = if BATCH_LEN > MAX_RECORD_LEN { BATCH_LEN } else { MAX_RECORD_LEN };

/// Starts both generators and copies until either has ended.
pub(super) fn run(generator: &str) -> anyhow::Result<()> {
    let offers = Offers::default();
    let start = |rank| {
        let (child, socket) = stand_in::start(generator.as_ref(), LinkKind::VhostUser(offers), rank)?;
        Ok::<_, anyhow::Error>((child, VhostUserLink::new(socket, offers)?))
    };
    // Each waits for answers on its socket, so the first gets them before the second is there.
    let (first, second) = (start(0)?, start(1)?);
    let mut children = [first.0, second.0];
    let mut links = [first.1, second.1];
    let mut ways = [Way::new(), Way::new()];
    // Without its link the other generator ends too.
    while !ways.iter().any(|way| way.is_closed && way.waiting.is_empty()) {
        let [one, two] = &mut links;
        let worked = ways[0].turn(one, two)? | ways[1].turn(two, one)?;
        if !worked {
            std::thread::yield_now();
        }
    }
    drop(links);
    children.iter_mut().try_for_each(reap)
}

/// One direction.
struct Way {
    space: Box<[u8]>,
    /// What of the space the other guest has not taken.
    waiting: std::ops::Range<usize>,
    is_closed: bool,
}

impl Way {
    fn new() -> Way {
        Way { space: vec![0; SPACE].into_boxed_slice(), waiting: 0..0, is_closed: false }
    }

    /// Whether there was anything to do.
    fn turn(&mut self, from: &mut VhostUserLink, to: &mut VhostUserLink) -> anyhow::Result<bool> {
        if self.waiting.is_empty() && !self.is_closed {
            match from.receive(&mut self.space)? {
                Received::Records(octets) => self.waiting = 0..octets,
                Received::Nothing => return Ok(false),
                Received::Closed => self.is_closed = true,
            }
        }
        let wrote = to.write(&[IoSlice::new(&self.space[self.waiting.clone()])])?;
        self.waiting.start += wrote.octets;
        if !to.has_peer() {
            self.waiting = 0..0;
        }
        Ok(wrote.octets > 0)
    }
}
