//! What a simulated guest is: something that sends and receives frames, and wakes up at times it has chosen.

use std::any::Any;
use std::rc::Rc;

use mvpnet_switch::{Instant, Rank, World};
use mvpnet_transports::link::Chance;

/// A guest: what would be a virtual machine on a real job.
///
/// ```
/// use mvpnet_sim::{Guest, Port};
///
/// /// Sends every frame back to where it came from.
/// struct Mirror;
///
/// impl Guest for Mirror {
///     fn receive(&mut self, port: &mut Port<'_>, frame: &[u8]) {
///         let mut answer = frame.to_vec();
///         answer[..6].copy_from_slice(&frame[6..12]);
///         answer[6..12].copy_from_slice(&port.rank().mac().octets());
///         port.send(&answer);
///     }
/// }
/// ```
pub trait Guest: Any {
    /// The guest starts, or starts anew.
    fn start(&mut self, port: &mut Port<'_>) {
        let _ = port;
    }

    /// A frame has come.
    fn receive(&mut self, port: &mut Port<'_>, frame: &[u8]);

    /// The time has come that [`Port::wake_at`] was given.
    fn wake(&mut self, port: &mut Port<'_>) {
        let _ = port;
    }
}

/// A guest's way to the world while it runs: its port of the switch, the time, and its chances.
#[derive(Debug)]
pub struct Port<'a> {
    pub(crate) now: Instant,
    pub(crate) rank: Rank,
    pub(crate) world: World,
    pub(crate) chance: &'a mut Chance,
    pub(crate) wake_at: &'a mut Option<Instant>,
    pub(crate) outbox: &'a mut Vec<Rc<[u8]>>,
}

impl Port<'_> {
    /// The simulated time, since the beginning.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// This guest's rank, from which its addresses follow.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// All ranks.
    pub fn world(&self) -> World {
        self.world
    }

    /// The guest's own chances, which follow from the simulation's seed and its rank.
    pub fn chance(&mut self) -> &mut Chance {
        self.chance
    }

    /// Sends a frame, from the destination address to the last byte of the payload, to the switch. It leaves when
    /// the guest returns.
    pub fn send(&mut self, frame: &[u8]) {
        self.outbox.push(Rc::from(frame));
    }

    /// Sends a frame that several may share.
    pub fn send_shared(&mut self, frame: Rc<[u8]>) {
        self.outbox.push(frame);
    }

    /// Asks for [`Guest::wake`] at this time, in place of any that was asked for before. The past is now.
    pub fn wake_at(&mut self, at: Instant) {
        *self.wake_at = Some(at);
    }

    /// Asks not to be woken.
    pub fn sleep(&mut self) {
        *self.wake_at = None;
    }
}
