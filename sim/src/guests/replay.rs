//! A guest that sends what a capture holds.

use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_pcap::{Direction, Entry, Packet, ReadError, Reader};
use mvpnet_switch::Instant;
use thiserror::Error;

use crate::guest::{Guest, Port};

/// When the frames of a capture are sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timing {
    /// With the time between them that they were captured with, the first at once.
    Original,
    /// With that time stretched by this factor: 0.5 is twice as fast, 0 all at once.
    Scaled(f64),
}

/// Why a capture cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It is not a capture.
    #[error("cannot read the capture: {0}")]
    Read(#[from] ReadError),
    /// It has nothing to send.
    #[error("the capture has no frame that came in by interface `{0}`")]
    Nothing(String),
    /// A factor that is no stretch.
    #[error("time cannot be stretched by {0}")]
    Stretch(f64),
}

/// Sends the frames that a capture has of one guest: those that came in by its interface.
///
/// They are sent as they are. A rank sends only from addresses that are its own or no rank's, so that the frames of rank
/// 3's guest are to be replayed by rank 3.
#[derive(Clone, Debug)]
pub struct Replay {
    frames: VecDeque<(Duration, Rc<[u8]>)>,
    began: Instant,
    count: u64,
}

impl Replay {
    /// The frames that came in by this interface of the capture, such as `rank0-guest`.
    pub fn new(capture: impl Read, interface: &str, timing: Timing) -> Result<Replay, ReplayError> {
        let factor = match timing {
            Timing::Original => 1.0,
            Timing::Scaled(factor) if factor.is_finite() && factor >= 0.0 => factor,
            Timing::Scaled(factor) => return Err(ReplayError::Stretch(factor)),
        };
        let mut reader = Reader::new(capture)?;
        let mut frames = VecDeque::new();
        let mut first = None;
        while let Some(Inbound { interface: number, time_ns, frame }) = next_inbound(&mut reader)? {
            if reader.interface(number).is_none_or(|found| found.name != interface) {
                continue;
            }
            let since = time_ns.saturating_sub(*first.get_or_insert(time_ns));
            frames.push_back((Duration::from_nanos((since as f64 * factor) as u64), frame));
        }
        if frames.is_empty() {
            return Err(ReplayError::Nothing(interface.to_owned()));
        }
        Ok(Replay { frames, began: Instant::ZERO, count: 0 })
    }

    /// How many frames have come.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn go_on(&mut self, port: &mut Port<'_>) {
        while let Some((after, _)) = self.frames.front() {
            let at = self.began + *after;
            if at > port.now() {
                return port.wake_at(at);
            }
            if let Some((_, frame)) = self.frames.pop_front() {
                port.send_shared(frame);
            }
        }
    }
}

/// A frame that came in by an interface of the capture.
struct Inbound {
    interface: u32,
    time_ns: u64,
    frame: Rc<[u8]>,
}

/// The next frame that came in by any interface.
fn next_inbound<R: Read>(reader: &mut Reader<R>) -> Result<Option<Inbound>, ReadError> {
    while let Some(entry) = reader.next_entry()? {
        if let Entry::Packet(packet) = entry
            && packet.direction == Some(Direction::Inbound)
        {
            let Packet { interface, time_ns, .. } = packet;
            return Ok(Some(Inbound { interface, time_ns, frame: Rc::from(&*packet.data) }));
        }
    }
    Ok(None)
}

impl Guest for Replay {
    fn start(&mut self, port: &mut Port<'_>) {
        self.began = port.now();
        self.go_on(port);
    }

    fn receive(&mut self, _: &mut Port<'_>, _: &[u8]) {
        self.count += 1;
    }

    fn wake(&mut self, port: &mut Port<'_>) {
        self.go_on(port);
    }
}
