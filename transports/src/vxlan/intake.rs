//! What a datagram means: the checks, the lookup, and the finishing of what a sender left unfinished. Pure:
//! no sockets, no clock, so that a fuzzer and a simulation can feed it.

use std::net::SocketAddr;
use std::ops::Range;

use super::entropy::flow_hash;
use super::header::{HEADER_LEN, Header};
use super::offload::{self, CutError};
use super::probe::message::{ANSWER_LEN, Message};
use super::refusal::{Refusal, Refusals};
use super::table::{Table, TunnelId};
use crate::offload::layout::{Layout, ethernet};

/// Room for the frames that super-frames are cut into: as many bytes as one receive can bring, and a quarter
/// for their headers.
const CUT_ROOM: usize = super::RECEIVE_ROOM + super::RECEIVE_ROOM / 4;

/// Probes that are answered per receive.
const MAX_ANSWERS: usize = 8;

/// Where the bytes of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arena {
    /// Where the socket has put them.
    Received,
    /// Where super-frames are cut up.
    Cut,
    /// Where frames are copied that did not arrive here.
    Copies,
}

/// An accepted frame. In front of its bytes is room for a VXLAN header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub tunnel: TunnelId,
    /// Of its flow.
    pub hash: u32,
    pub arena: Arena,
    pub start: u32,
    pub len: u32,
    /// The room in front of it holds the header of a copy that waits to be sent.
    pub has_sender: bool,
}

impl Frame {
    #[inline]
    pub fn bytes(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// What has been seen in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub datagrams: u64,
    pub frames: u64,
    pub bytes: u64,
    pub completed: u64,
    pub super_frames: u64,
    pub probes: u64,
}

/// The frames of one receive, and everything that outlives it.
#[derive(Debug)]
pub(super) struct Intake {
    pub table: Table,
    /// Longest packet; TCP segments of unfinished longer ones are cut up.
    pub mtu: usize,
    pub refusals: Refusals,
    pub tally: Tally,
    pub frames: Vec<Frame>,
    pub cut: Box<[u8]>,
    cut_used: usize,
    /// Answers to probes, for their senders.
    pub answers: Vec<(SocketAddr, [u8; ANSWER_LEN])>,
}

impl Intake {
    pub fn new(mtu: u32) -> Intake {
        Intake {
            table: Table::default(),
            mtu: mtu as usize,
            refusals: Refusals::default(),
            tally: Tally::default(),
            frames: Vec::with_capacity(1024),
            // Zeroed pages cost nothing until super-frames come.
            cut: vec![0; CUT_ROOM].into_boxed_slice(),
            cut_used: 0,
            answers: Vec::with_capacity(MAX_ANSWERS),
        }
    }

    /// Forgets the frames of the last receive.
    pub fn begin(&mut self) {
        self.frames.clear();
        self.answers.clear();
        self.cut_used = 0;
    }

    /// Takes what arrived from `source` in `received[at]`: one datagram, or several of `stride` bytes each (the
    /// last may be shorter) that the kernel has put together.
    pub fn take(&mut self, source: SocketAddr, received: &mut [u8], at: Range<usize>, stride: usize) {
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let peer = self.table.peer(source.ip());
        let stride = if stride == 0 { at.len() } else { stride };
        let mut start = at.start;
        loop {
            let end = at.end.min(start + stride);
            self.tally.datagrams += 1;
            let taken = peer.and_then(|peer| self.take_one(peer, source, &mut received[start..end], start));
            if let Err(refusal) = taken {
                self.refusals.count(refusal, source);
            }
            // An empty datagram is one, too.
            if end >= at.end {
                return;
            }
            start = end;
        }
    }

    /// Takes one datagram, which begins `offset` bytes into what was received.
    #[inline]
    fn take_one(
        &mut self,
        peer: usize,
        source: SocketAddr,
        datagram: &mut [u8],
        offset: usize,
    ) -> Result<(), Refusal> {
        let header = match Header::parse(datagram) {
            Ok(header) => header,
            Err(error) => return self.probed(source, datagram).ok_or(error.into()),
        };
        let tunnel = self.table.of_peer(peer, header.vni)?;
        let frame = &mut datagram[HEADER_LEN..];
        if frame.len() < ethernet::HEADER_LEN {
            return Err(Refusal::TruncatedFrame);
        }
        let layout = Layout::of(frame);
        let hash = flow_hash(frame, layout.as_ref());
        if let Some(layout) = &layout
            && offload::is_partial(frame, layout)
        {
            if layout.end - layout.network > self.mtu {
                match self.cut_up(tunnel, hash, frame, layout) {
                    Ok(()) => return Ok(()),
                    Err(CutError::NoRoom) => return Err(Refusal::NoRoom),
                    // The switch finds it too long, and says so to the guest.
                    Err(CutError::Indivisible) => {}
                }
            }
            offload::complete(frame, layout);
            self.tally.completed += 1;
        }
        let start = offset + HEADER_LEN;
        self.accept(tunnel, hash, Arena::Received, start..start + frame.len());
        Ok(())
    }

    fn cut_up(&mut self, tunnel: TunnelId, hash: u32, frame: &[u8], layout: &Layout) -> Result<(), CutError> {
        let base = self.cut_used;
        let Intake { cut, frames, tally, .. } = self;
        let used = offload::cut(frame, layout, self.mtu, &mut cut[base..], |place| {
            push(frames, tally, tunnel, hash, Arena::Cut, base + place.start..base + place.end);
        })?;
        self.cut_used += used;
        self.tally.super_frames += 1;
        Ok(())
    }

    #[inline]
    fn accept(&mut self, tunnel: TunnelId, hash: u32, arena: Arena, at: Range<usize>) {
        push(&mut self.frames, &mut self.tally, tunnel, hash, arena, at);
    }

    /// Answers a probe. `None` where it is none.
    fn probed(&mut self, source: SocketAddr, datagram: &[u8]) -> Option<()> {
        let Some(Message::Ask { token }) = Message::parse(datagram) else { return None };
        self.tally.probes += 1;
        if self.answers.len() < MAX_ANSWERS {
            self.answers.push((source, Message::Answer { token, heard: datagram.len() }.emit()));
        }
        Some(())
    }
}

#[inline]
fn push(
    frames: &mut Vec<Frame>,
    tally: &mut Tally,
    tunnel: TunnelId,
    hash: u32,
    arena: Arena,
    at: Range<usize>,
) {
    // The arenas are smaller than 4 GiB.
    let (start, len) = (at.start as u32, at.len() as u32);
    tally.frames += 1;
    tally.bytes += u64::from(len);
    frames.push(Frame { tunnel, hash, arena, start, len, has_sender: false });
}

#[cfg(test)]
mod tests;
