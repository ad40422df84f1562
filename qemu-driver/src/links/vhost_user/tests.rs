//! The link against a front end of our own, over a socket pair and memory that both map.

use std::io::IoSlice;

use mvpnet_switch::{DropReason, Tally};

use super::front::{Front, FrontConfig, FrontError};
use super::*;

mod frames;
mod front_end;
mod hostile;
mod lifecycle;
mod notifications;
mod speed;

/// A link and its guest.
struct Lab {
    link: VhostUserLink,
    front: Front,
    space: Vec<u8>,
}

impl Lab {
    fn new(config: FrontConfig) -> Lab {
        Lab::with(config, Offers::default())
    }

    fn with(config: FrontConfig, offers: Offers) -> Lab {
        let (ours, theirs) = pair().unwrap();
        let mut link = VhostUserLink::new(ours, offers).unwrap();
        let (front, early) = meanwhile(&mut link, || Front::connect(theirs, config).unwrap());
        assert!(early.is_empty());
        assert!(link.has_peer());
        Lab { link, front, space: vec![0; MAX_RECORD_LEN] }
    }

    /// Does something that waits for the link. Returns frames that the guest had sent before.
    fn wait_for<T: Send>(&mut self, action: impl FnOnce(&mut Front) -> T + Send) -> (T, Vec<Sent>) {
        let Lab { link, front, .. } = self;
        meanwhile(link, || action(front))
    }

    /// All that the guest has sent.
    fn received(&mut self) -> Vec<Sent> {
        let mut frames = Vec::new();
        while let Received::Records(octets) = self.link.receive(&mut self.space).unwrap() {
            frames.extend(sent(&self.space[..octets]));
        }
        frames
    }

    /// Sends finished frames from the guest, all of which the ring must take.
    fn send(&mut self, frames: &[Vec<u8>]) {
        assert_eq!(self.front.send(frames.iter().map(|frame| (None, &frame[..]))), frames.len());
    }

    /// Gives the guest one run of records.
    fn write(&mut self, run: &[u8]) -> Wrote {
        self.link.write(&[IoSlice::new(run)]).unwrap()
    }

    /// What the guest has received.
    fn got(&mut self) -> Vec<Sent> {
        let mut frames = Vec::new();
        self.front.receive(|header, frame| {
            let is_unfinished = header[..10] != [0; 10];
            frames.push((is_unfinished.then(|| clear_count(header)), frame.to_vec()));
        });
        frames
    }

    fn refusals(&mut self) -> Vec<(DropReason, usize)> {
        std::iter::from_fn(|| self.link.take_refusal()).map(|refusal| (refusal.reason, refusal.len)).collect()
    }

    fn stat(&self, name: &str) -> u64 {
        self.link.stats().into_iter().find(|(known, _)| *known == name).unwrap().1
    }
}

/// A frame with what is left to be done to it.
type Sent = (Option<[u8; OFFLOAD_LEN]>, Vec<u8>);

/// Polls the link while something waits for it. Returns what came meanwhile.
fn meanwhile<T: Send>(link: &mut VhostUserLink, action: impl FnOnce() -> T + Send) -> (T, Vec<Sent>) {
    let (mut space, mut frames) = (vec![0; MAX_RECORD_LEN], Vec::new());
    let done = std::thread::scope(|scope| {
        let thread = scope.spawn(action);
        while !thread.is_finished() {
            match link.receive(&mut space).unwrap() {
                Received::Records(octets) => frames.extend(sent(&space[..octets])),
                Received::Nothing | Received::Closed => std::thread::yield_now(),
            }
        }
        thread.join().unwrap()
    });
    (done, frames)
}

/// Reads a run of records.
fn sent(mut run: &[u8]) -> Vec<Sent> {
    let mut frames = Vec::new();
    while !run.is_empty() {
        let (record, octets) = records::split(run);
        let record = record.expect("the link makes good records");
        frames.push((record.header.copied(), record.frame.to_vec()));
        run = &run[octets..];
    }
    frames
}

/// Makes a run of records.
fn run<'a>(frames: impl IntoIterator<Item = &'a Sent>) -> Vec<u8> {
    let mut run = Vec::new();
    for (header, frame) in frames {
        let mut record = vec![0; records::prefix_len(header.is_some()) + frame.len()];
        let at = record.len() - frame.len();
        record[at..].copy_from_slice(frame);
        records::write_prefix(&mut record, header.as_ref());
        run.extend(record);
    }
    run
}

fn finished(frames: &[Vec<u8>]) -> Vec<Sent> {
    frames.iter().map(|frame| (None, frame.clone())).collect()
}

/// A frame whose octets differ from those of others.
fn frame(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(31) ^ (n >> 8) ^ seed.wrapping_mul(7)) as u8).collect()
}

/// A super-frame of TCP over IPv4 in segments of 1460 octets.
fn super_frame(len: usize) -> Sent {
    let mut frame = frame(len, len);
    // The length of the TCP header, which begins at 34, in words of four octets.
    frame[34 + 12] = 5 << 4;
    let [low, high] = 1460u16.to_le_bytes();
    (Some([1, 1, 54, 0, low, high, 34, 0, 16, 0, 0, 0]), frame)
}

fn clear_count(header: &[u8; OFFLOAD_LEN]) -> [u8; OFFLOAD_LEN] {
    let mut header = *header;
    header[10..].fill(0);
    header
}
