//! What stands behind `mvpnet-cable`: a cable between two interfaces that treats frames as the link model says.
//!
//! Both directions have the same model and chances of their own. Frames are carried as they are: an interface whose
//! other end leaves segments or checksums to its card shows the cable what no cable carries, so turn that off.

use std::{
    collections::BinaryHeap,
    io::{self, IoSlice, IoSliceMut, Write},
    os::fd::AsFd,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use mvpnet_switch::Instant;
use mvpnet_transports::link::{Arrival, Link, LinkModel};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::{socket::MultiHeaders, time::TimeSpec};

use crate::wall::now;
use crate::wire::{BURST, MAX_FRAME, Use, Wire};

/// Joins two interfaces of this network namespace by a cable with faults; says `ready` once it does.
#[derive(Debug, Parser)]
#[command(name = "mvpnet-cable", version)]
struct Options {
    /// The interface at one end
    left: String,
    /// The interface at the other end
    right: String,
    /// What the cable does to frames, in the words of `mvpnet fault`: 'loss=1%', 'campus loss=0.1%'
    #[arg(default_value = "")]
    model: LinkModel,
    /// Where the chances begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The program.
pub fn main() -> ExitCode {
    match carry(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mvpnet-cable: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry(options: &Options) -> anyhow::Result<()> {
    let mut cable = Cable::new(options)?;
    // Whoever waits for it may have gone on since.
    let _ = writeln!(io::stdout(), "ready");
    cable.run().context("the cable broke")
}

/// One direction: from the wire of the same place to the other one.
struct Direction {
    from: Wire,
    link: Link,
}

struct Cable {
    directions: [Direction; 2],
    model: LinkModel,
    on_the_way: BinaryHeap<Frame>,
    /// Frames so far; those that arrive at the same time keep their order.
    count: u64,
    start: std::time::Instant,
    buffers: Vec<Vec<u8>>,
}

impl Cable {
    fn new(options: &Options) -> anyhow::Result<Cable> {
        let direction = |interface: &str, seed| {
            Ok::<_, anyhow::Error>(Direction {
                from: Wire::open(interface, Use::Both)?,
                link: Link::new(seed),
            })
        };
        Ok(Cable {
            directions: [
                direction(&options.left, options.seed)?,
                direction(&options.right, options.seed.wrapping_add(1))?,
            ],
            model: options.model,
            on_the_way: BinaryHeap::new(),
            count: 0,
            start: now(),
            buffers: vec![vec![0; MAX_FRAME]; BURST],
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            for at in 0..self.directions.len() {
                self.take(at)?;
            }
            self.deliver()?;
            let rest = self.on_the_way.peek().map(|next| next.at.saturating_since(self.now()));
            let [one, other] = &self.directions;
            let mut wires = [&one.from, &other.from].map(|wire| PollFd::new(wire.as_fd(), PollFlags::POLLIN));
            ppoll(&mut wires, rest.map(TimeSpec::from_duration), None)?;
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Puts what came in at one end on its way.
    fn take(&mut self, at: usize) -> io::Result<()> {
        let now = self.now();
        let direction = &mut self.directions[at];
        let mut headers = MultiHeaders::preallocate(BURST, None);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let lengths = direction.from.receive(&mut headers, &mut slices)?;
        for (buffer, length) in self.buffers.iter().zip(lengths) {
            let frame = &buffer[..length];
            // What the link model loses is nobody's business here.
            let Ok(passage) = direction.link.pass(&self.model, now, frame.len()) else { continue };
            for arrival in [Some(passage.first), passage.duplicate].into_iter().flatten() {
                self.count += 1;
                self.on_the_way.push(Frame::new(arrival, self.count, 1 - at, frame));
            }
        }
        Ok(())
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) -> io::Result<()> {
        let now = self.now();
        let mut headers = MultiHeaders::preallocate(BURST, None);
        let mut due: [Vec<Vec<u8>>; 2] = Default::default();
        while self.on_the_way.peek().is_some_and(|next| next.at <= now) {
            let frame = self.on_the_way.pop().expect("it was just seen");
            due[frame.to].push(frame.bytes);
        }
        for (frames, direction) in due.iter().zip(&self.directions) {
            let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
            let mut rest = &slices[..];
            while !rest.is_empty() {
                // The far end does not take it – it is down, or its queue is full: lost, as on a cable.
                let sent = direction.from.send(&mut headers, rest).unwrap_or(1).max(1);
                rest = &rest[sent.min(rest.len())..];
            }
        }
        Ok(())
    }
}

/// A frame on its way.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    at: Instant,
    count: u64,
    to: usize,
    bytes: Vec<u8>,
}

impl Frame {
    fn new(arrival: Arrival, count: u64, to: usize, bytes: &[u8]) -> Frame {
        let mut bytes = bytes.to_vec();
        if let Some(bit) = arrival.corrupt_bit {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Frame { at: arrival.at, count, to, bytes }
    }
}

/// The first to arrive is the greatest.
impl Ord for Frame {
    fn cmp(&self, other: &Frame) -> std::cmp::Ordering {
        (other.at, other.count).cmp(&(self.at, self.count))
    }
}

impl PartialOrd for Frame {
    fn partial_cmp(&self, other: &Frame) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_the_order_of_time_and_then_of_sending() {
        let at = |nanos| Arrival { at: Instant::from_nanos(nanos), corrupt_bit: None };
        let mut heap: BinaryHeap<Frame> =
            [(5, 1), (3, 2), (3, 3)].map(|(time, count)| Frame::new(at(time), count, 0, &[])).into();
        let order: Vec<u64> = std::iter::from_fn(|| heap.pop()).map(|frame| frame.count).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn a_corrupt_frame_has_one_bit_flipped() {
        let arrival = Arrival { at: Instant::ZERO, corrupt_bit: Some(11) };
        assert_eq!(Frame::new(arrival, 1, 0, &[0, 0, 0]).bytes, [0, 8, 0]);
    }
}
