//! A guest that sends frames by a script and keeps what it gets.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_switch::{Instant, Rank};

use crate::guest::{Guest, Port};

/// EtherType "local experimental 1" (IEEE 802, §9.2.4): frames that no stack takes for its own.
const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

/// Sends frames by a script, and keeps or counts what it gets.
///
/// ```
/// use std::time::Duration;
/// use mvpnet_sim::{Scripted, Sim};
///
/// let mut sim = Sim::new(1, 2);
/// sim.guest(0, || Scripted::new().send_to(1, 100, 60).every(Duration::from_millis(1)));
/// sim.guest(1, Scripted::new);
/// sim.run_for(Duration::from_secs(1))?;
/// assert_eq!(sim.guest_mut::<Scripted>(1).expect("it runs").received().len(), 100);
/// # Ok::<(), mvpnet_sim::Failure>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    script: VecDeque<Line>,
    interval: Duration,
    number: u64,
    received: Vec<Received>,
    count: u64,
    forgets: bool,
}

/// Frames to be sent.
#[derive(Clone, Debug)]
enum Line {
    /// So many of this length to this rank; to all if there is none.
    To { rank: Option<u32>, count: u64, len: usize },
    /// Exactly this.
    Frame(Rc<[u8]>),
}

/// A frame that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// What.
    pub frame: Vec<u8>,
}

impl Scripted {
    /// A guest that sends nothing and keeps everything.
    pub fn new() -> Scripted {
        Scripted::default()
    }

    /// The same, that also sends so many frames of `len` bytes, 22 at least, to a rank. Each has a number of its own
    /// after its EtherType (88-b5), big-endian, from 0.
    pub fn send_to(mut self, rank: u32, count: u64, len: usize) -> Scripted {
        self.script.push_back(Line::To { rank: Some(rank), count, len });
        self
    }

    /// The same, that also sends broadcasts.
    pub fn broadcast(mut self, count: u64, len: usize) -> Scripted {
        self.script.push_back(Line::To { rank: None, count, len });
        self
    }

    /// The same, that also sends this frame.
    pub fn send(mut self, frame: impl Into<Rc<[u8]>>) -> Scripted {
        self.script.push_back(Line::Frame(frame.into()));
        self
    }

    /// The same, with so much time between two frames; else all are sent at once, at the start.
    pub fn every(self, interval: Duration) -> Scripted {
        Scripted { interval, ..self }
    }

    /// The same, that only counts what it gets.
    pub fn forgetful(self) -> Scripted {
        Scripted { forgets: true, ..self }
    }

    /// What has come, unless it forgets.
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// How many frames have come.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The number of a frame that [`send_to`](Scripted::send_to) or [`broadcast`](Scripted::broadcast) made.
    pub fn number_of(frame: &[u8]) -> Option<u64> {
        if frame.get(12..14)? != EXPERIMENTAL {
            return None;
        }
        Some(u64::from_be_bytes(frame.get(14..22)?.try_into().ok()?))
    }

    fn next(&mut self, port: &Port<'_>) -> Option<Rc<[u8]>> {
        loop {
            match self.script.front_mut()? {
                Line::Frame(frame) => {
                    let frame = frame.clone();
                    self.script.pop_front();
                    return Some(frame);
                }
                Line::To { count: 0, .. } => drop(self.script.pop_front()),
                Line::To { rank, count, len } => {
                    *count -= 1;
                    let to = rank.and_then(|rank| port.world().rank(rank).ok());
                    let frame = numbered(port.rank(), to, self.number, *len);
                    self.number += 1;
                    return Some(frame);
                }
            }
        }
    }

    fn go_on(&mut self, port: &mut Port<'_>) {
        if self.interval.is_zero() {
            while let Some(frame) = self.next(port) {
                port.send_shared(frame);
            }
        } else if let Some(frame) = self.next(port) {
            port.send_shared(frame);
            port.wake_at(port.now() + self.interval);
        }
    }
}

fn numbered(from: Rank, to: Option<Rank>, number: u64, len: usize) -> Rc<[u8]> {
    const BROADCAST: [u8; 6] = [0xff; 6];
    let mut frame = Vec::with_capacity(len.max(22));
    frame.extend(to.map_or(BROADCAST, |to| to.mac().octets()));
    frame.extend(from.mac().octets());
    frame.extend(EXPERIMENTAL);
    frame.extend(number.to_be_bytes());
    frame.resize(len.max(22), 0);
    Rc::from(frame)
}

impl Guest for Scripted {
    fn start(&mut self, port: &mut Port<'_>) {
        self.go_on(port);
    }

    fn receive(&mut self, port: &mut Port<'_>, frame: &[u8]) {
        self.count += 1;
        if !self.forgets {
            self.received.push(Received { at: port.now(), frame: frame.to_vec() });
        }
    }

    fn wake(&mut self, port: &mut Port<'_>) {
        self.go_on(port);
    }
}
