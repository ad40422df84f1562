//! From chunks to blocks in a store, with books of what is there and what is missing.
//!
//! When the medium takes no more, the file is cut back to whole blocks and closed with statistics that say
//! what is missing, so that it is a good capture at that moment. From time to time the recorder tries again:
//! once there is room, the statistics make way for packets, the first of which say how many are missing
//! before them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mvpnet_pcap::{Interface, Packet, Section, Statistics, Writer};
use mvpnet_switch::DropReason;
use tracing::{info, warn};

use super::chunk::{Chunk, Entry};
use super::store::{Block, Medium, PacketBlock, Store};
use super::{PortReport, Report, Shared};

/// Blocks are written in pieces of about this many bytes.
const SEGMENT: usize = 256 << 10;

/// How long to leave a medium alone that took no more.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// In statistics of a capture that is not complete.
const MISSING: &str = "isb_ifdrop counts packets that this capture could not take";

/// What the medium is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Writing,
    /// It took no more at this time; perhaps it will again.
    Blocked {
        since_ns: u64,
    },
    /// Nothing can be written any more: a pipe without reader, a file that cannot be repaired.
    Gone,
}

#[derive(Clone, Copy, Debug, Default)]
struct Books {
    written: u64,
    lost: u64,
    /// Those of the lost that no packet in the file speaks of yet.
    untold: u64,
    /// Those of the lost that the tap had no chunk for.
    unheld: u64,
}

impl Books {
    fn lose(&mut self, packet: PacketBlock) {
        self.lost += 1;
        self.untold += 1 + packet.missed;
    }
}

/// Writes what chunks hold.
pub(super) struct Recorder<M> {
    destination: String,
    names: Vec<String>,
    encoder: Writer<Vec<u8>>,
    blocks: Vec<Block>,
    store: Store<M>,
    books: Vec<Books>,
    comments: Vec<(DropReason, String)>,
    shared: Arc<Shared>,
    start_ns: u64,
    state: State,
    error: Option<io::Error>,
    warned_of_memory: bool,
}

impl<M: Medium> Recorder<M> {
    /// Writes the header of the capture.
    pub(super) fn begin(
        destination: String,
        medium: M,
        section: &Section,
        interfaces: &[Interface],
        shared: Arc<Shared>,
        start_ns: u64,
    ) -> io::Result<Self> {
        let mut encoder =
            Writer::new(Vec::with_capacity(SEGMENT + 2048), section).map_err(io::Error::other)?;
        for interface in interfaces {
            encoder.add_interface(interface).map_err(io::Error::other)?;
        }
        let mut store = Store::new(medium);
        let header = encoder.sink();
        store
            .append(header, &[Block { end: header.len(), packet: None }])
            .map_err(|refused| refused.error)?;
        encoder.sink_mut().clear();
        let names = interfaces.iter().map(|interface| interface.name.clone()).collect();
        Ok(Self {
            destination,
            names,
            encoder,
            blocks: Vec::new(),
            store,
            books: vec![Books::default(); interfaces.len()],
            comments: Vec::new(),
            shared,
            start_ns,
            state: State::Writing,
            error: None,
            warned_of_memory: false,
        })
    }

    /// Writes all frames of a chunk, or counts them as missing.
    pub(super) fn take(&mut self, chunk: &Chunk) {
        let Some(now_ns) = chunk.last_time_ns() else { return };
        let may_write = self.may_write(now_ns);
        let mut writing = may_write;
        for (entry, frame) in chunk.frames() {
            self.note_unheld(entry);
            if writing {
                self.encode(entry, frame);
                if self.encoder.sink().len() >= SEGMENT {
                    writing = self.write(now_ns);
                }
            } else {
                self.books[entry.port.index()].lose(PacketBlock { port: entry.port, missed: 0 });
            }
        }
        self.write(now_ns);
        if may_write && self.state != State::Writing {
            self.seal(now_ns);
        }
        self.publish();
    }

    /// Closes the capture with its statistics.
    pub(super) fn finish(mut self, now_ns: u64) -> Report {
        for (books, counters) in self.books.iter_mut().zip(&self.shared.ports) {
            // What the tap could not hold after the last frame that it could.
            let unheld = Shared::read(&counters.unheld);
            books.lost += unheld.saturating_sub(books.unheld);
        }
        self.seal(now_ns);
        self.publish();
        let ports = self.names.iter().zip(&self.books).map(|(name, books)| PortReport {
            name: name.clone(),
            seen: books.written + books.lost,
            written: books.written,
        });
        Report {
            destination: self.destination.clone(),
            ports: ports.collect(),
            error: self.error.as_ref().map(ToString::to_string),
            finished: true,
        }
    }

    fn may_write(&self, now_ns: u64) -> bool {
        match self.state {
            State::Writing => true,
            // A clock that was set back must not mean never.
            State::Blocked { since_ns } => {
                now_ns < since_ns || Duration::from_nanos(now_ns - since_ns) >= RETRY_AFTER
            }
            State::Gone => false,
        }
    }

    fn note_unheld(&mut self, entry: &Entry) {
        if entry.missed == 0 {
            return;
        }
        let books = &mut self.books[entry.port.index()];
        books.lost += entry.missed;
        books.untold += entry.missed;
        books.unheld += entry.missed;
        if !self.warned_of_memory {
            self.warned_of_memory = true;
            warn!(
                "capture {}: frames come faster than they can be written; some are missing from the capture, \
                 which counts them. Traffic goes on. A faster disk helps, or fewer ranks that are captured",
                self.destination
            );
        }
    }

    fn encode(&mut self, entry: &Entry, frame: &[u8]) {
        let missed = std::mem::take(&mut self.books[entry.port.index()].untold);
        let packet = Packet {
            missed,
            original_len: entry.original_len,
            ..Packet::new(entry.port.interface(), entry.direction, entry.time_ns, frame)
        };
        let packet = match entry.dropped {
            Some(reason) => packet.with_comment(comment(&mut self.comments, reason)),
            None => packet,
        };
        self.encoder.packet(&packet).expect("the interface was added, and memory takes every block");
        let end = self.encoder.sink().len();
        self.blocks.push(Block { end, packet: Some(PacketBlock { port: entry.port, missed }) });
    }

    /// Writes what is encoded; says whether the medium took it.
    fn write(&mut self, now_ns: u64) -> bool {
        if self.blocks.is_empty() {
            return self.state == State::Writing;
        }
        let outcome = self.store.append(self.encoder.sink(), &self.blocks);
        let kept = outcome.as_ref().map_or_else(|refused| refused.kept, |()| self.blocks.len());
        for (place, block) in self.blocks.drain(..).enumerate() {
            let Some(packet) = block.packet else { continue };
            let books = &mut self.books[packet.port.index()];
            if place < kept {
                books.written += 1;
            } else {
                books.lose(packet);
            }
        }
        self.encoder.sink_mut().clear();
        match outcome {
            Ok(()) => self.resumed(),
            Err(refused) => self.blocked(refused.error, refused.intact, now_ns),
        }
        self.state == State::Writing
    }

    /// Writes the statistics behind the packets, which gives up some of them if there is no room otherwise.
    fn seal(&mut self, now_ns: u64) {
        for _ in 0..2 {
            if self.state == State::Gone {
                return;
            }
            self.encode_statistics(now_ns);
            let outcome = self.store.replace_trailer(self.encoder.sink());
            let len = self.encoder.sink().len() as u64;
            self.encoder.sink_mut().clear();
            let Err(refused) = outcome else { return };
            self.blocked(refused.error, refused.intact, now_ns);
            // Twice, since statistics are longer once there is something missing to be said.
            match self.store.give_up(2 * len) {
                Ok(given_up) => {
                    for packet in given_up {
                        let books = &mut self.books[packet.port.index()];
                        books.written -= 1;
                        books.lose(packet);
                    }
                }
                Err(error) => self.blocked(error, false, now_ns),
            }
        }
    }

    fn encode_statistics(&mut self, now_ns: u64) {
        for (port, books) in self.books.iter().enumerate() {
            let statistics = Statistics {
                interface: u32::try_from(port).expect("ports are few"),
                time_ns: now_ns,
                start_ns: Some(self.start_ns),
                end_ns: Some(now_ns),
                received: Some(books.written + books.lost),
                missed: Some(books.lost),
                delivered: Some(books.written),
                comment: (books.lost > 0).then(|| MISSING.to_owned()),
            };
            self.encoder
                .statistics(&statistics)
                .expect("the interface was added, and memory takes every block");
        }
    }

    fn blocked(&mut self, error: io::Error, intact: bool, now_ns: u64) {
        let state = if intact { State::Blocked { since_ns: now_ns } } else { State::Gone };
        let worse = self.error.is_none() || (state == State::Gone && self.state != State::Gone);
        self.state = state;
        if !worse {
            return;
        }
        let destination = &self.destination;
        if intact {
            warn!(
                "capture {destination}: {error}. Frames are missing from the capture until it can be written \
                 again; it counts them. Traffic goes on. Make room, or capture to another place"
            );
        } else {
            warn!("capture {destination}: {error}. The capture ends here. Traffic goes on");
        }
        self.error = Some(error);
    }

    fn resumed(&mut self) {
        if self.state != State::Writing {
            self.state = State::Writing;
            let lost: u64 = self.books.iter().map(|books| books.lost).sum();
            info!("capture {} can be written again; {lost} frames are missing from it", self.destination);
        }
    }

    fn publish(&self) {
        for (books, counters) in self.books.iter().zip(&self.shared.ports) {
            counters.written.store(books.written, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// What is said of a frame that was dropped, composed once for each reason.
fn comment(comments: &mut Vec<(DropReason, String)>, reason: DropReason) -> &str {
    let place = comments.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
        comments.push((reason, format!("dropped: {}: {}", reason.name(), reason.describe())));
        comments.len() - 1
    });
    &comments[place].1
}

#[cfg(test)]
mod tests;
