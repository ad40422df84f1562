//! A rank's [`Transport`] over a VTEP, whatever its tunnels lead to: batches out of frames and frames out of
//! records. Control records, which VXLAN has no place for, go by the end of a [`mem`](crate::mem) fabric where
//! there is one.
//!
//! UDP has no flow control. What the kernel does not take yet waits here, bounded in bytes, and the caller
//! hears of it; what the far end has no room for is lost, and counted there.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use mvpnet_switch::{OFFLOAD_LEN, Offload, Rank, World};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::header::HEADER_LEN;
use super::table::TunnelId;
use super::vtep::{Vtep, WhenFull};
use super::{Refusals, VtepStats};
use crate::batch::{BATCH_LEN, Batch, Lane};
use crate::doze::{Backstop, PENDING_BACKSTOP};
use crate::mem::MemTransport;
use crate::offload::Finisher;
use crate::pool::Pool;
use crate::{
    Arm, Pending, RECORD_HEADER_LEN, RecordKind, SendError, Transport, TransportError, TransportStats,
    records,
};

/// Bytes that may wait for the kernel to take them.
const QUEUE: usize = 512 << 10;

/// Unused buffers that are kept.
const KEEP_BUFFERS: usize = 64;

/// Where a rank's tunnels lead to.
pub trait Ways: std::fmt::Debug {
    /// The tunnel that what is for `to` leaves by.
    fn tunnel(&self, to: Rank) -> Option<TunnelId>;

    /// The rank that stands for the far end of a tunnel.
    fn rank(&self, tunnel: TunnelId) -> Option<Rank>;

    /// What kind of record a frame becomes that has come from there.
    fn kind(&self, frame: &[u8]) -> RecordKind;
}

/// One rank's end of tunnels.
#[derive(Debug)]
pub struct VxlanTransport<W> {
    me: Rank,
    world: World,
    ways: W,
    vtep: Vtep,
    control: Option<MemTransport>,
    /// The longest frame that all paths take.
    longest: usize,
    pool: Pool,
    /// Received and not yet handed over.
    inbox: VecDeque<Batch>,
    /// Whether control is looked at next, so that neither it nor frames starve.
    is_controls_turn: bool,
    bells: Epoll,
    backstop: Backstop,
    finisher: Finisher,
    stats: TransportStats,
}

impl<W: Ways> VxlanTransport<W> {
    pub(super) fn new(
        me: Rank,
        world: World,
        ways: W,
        vtep: Vtep,
        control: Option<MemTransport>,
        longest: usize,
    ) -> io::Result<VxlanTransport<W>> {
        let bells = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        bells.add(vtep.wait_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        if let Some(control) = &control {
            bells.add(control.doorbell(), EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
        }
        Ok(VxlanTransport {
            me,
            world,
            ways,
            vtep,
            control,
            longest,
            pool: Pool::new(KEEP_BUFFERS),
            inbox: VecDeque::new(),
            is_controls_turn: false,
            bells,
            backstop: Backstop::default(),
            finisher: Finisher::new(),
            stats: TransportStats::default(),
        })
    }

    /// The smallest MTU of the paths that this rank's tunnels take, outer headers included.
    pub fn path_mtu(&self) -> u32 {
        self.vtep.tunnels().map(|(id, _)| self.vtep.path_mtu(id)).min().unwrap_or_default()
    }

    /// Changes the length up to which TCP segments are cut that a kernel at the far end has left too long.
    pub fn set_mtu(&mut self, mtu: u32) {
        self.vtep.set_mtu(mtu);
    }

    /// Bytes that the kernel lets wait to be received.
    pub fn receive_buffer(&self) -> usize {
        self.vtep.receive_buffer()
    }

    /// What was refused.
    pub fn refusals(&self) -> &Refusals {
        self.vtep.refusals()
    }

    /// What the VTEP has counted.
    pub fn vtep_stats(&self) -> VtepStats {
        self.vtep.stats()
    }

    /// Sends what waits, as far as the kernel takes it.
    fn flush(&mut self) {
        let stats = &mut self.stats;
        self.vtep.flush_as(WhenFull::Keep, |_, frame, result| match result {
            Ok(()) => stats.bytes_sent += (RECORD_HEADER_LEN + frame.len()) as u64,
            Err(_) => stats.discarded_bytes += (RECORD_HEADER_LEN + frame.len()) as u64,
        });
    }

    /// Makes room for so many bytes in so many frames.
    fn make_room(&mut self, bytes: usize, frames: usize) -> Result<(), SendError> {
        let bytes = bytes + frames * HEADER_LEN;
        if self.vtep.waiting() + bytes > QUEUE {
            self.flush();
        }
        if self.vtep.waiting() > 0 && self.vtep.waiting() + bytes > QUEUE {
            self.stats.refused_full += 1;
            return Err(SendError::Full);
        }
        Ok(())
    }

    fn tunnel(&self, to: Rank) -> Result<TunnelId, SendError> {
        self.ways.tunnel(to).ok_or(SendError::PeerGone(to))
    }

    /// Queues a frame behind what its sender has left to others, finished: a datagram has no place for that.
    fn send_finished(&mut self, tunnel: TunnelId, unfinished: &[u8]) {
        let Some((header, frame)) = unfinished.split_first_chunk::<OFFLOAD_LEN>() else { return };
        let VxlanTransport { vtep, finisher, stats, .. } = self;
        let is_sent = match Offload::read(header, frame) {
            Ok(None) => {
                vtep.send(tunnel, frame);
                true
            }
            Ok(Some(offload)) => {
                finisher.finish(&offload, frame, |segment| vtep.send(tunnel, segment)).is_ok()
            }
            Err(_) => false,
        };
        if !is_sent {
            stats.discarded_bytes += (RECORD_HEADER_LEN + unfinished.len()) as u64;
        }
    }

    /// Receives frames and makes batches of them, one per far end as long as they fit.
    fn fill_inbox(&mut self) -> Result<(), TransportError> {
        let count = self
            .vtep
            .receive_more()
            .map_err(|error| TransportError::Failed { call: "recvmmsg", reason: error.to_string() })?;
        for n in 0..count {
            let (tunnel, frame) = self.vtep.frame(n);
            let Some(from) = self.ways.rank(tunnel) else { continue };
            let kind = self.ways.kind(frame);
            let len = kind.overhead() + frame.len();
            let open = self.inbox.iter_mut().rev().find(|batch| batch.from == from);
            let batch = match open {
                Some(batch) if batch.buffer.takes(len, BATCH_LEN) => batch,
                _ => {
                    let buffer = self.pool.take();
                    self.inbox.push_back(Batch { from, lane: Lane::Data, buffer });
                    self.inbox.back_mut().expect("one was pushed")
                }
            };
            batch.buffer.push_record(kind, from.index(), frame);
        }
        Ok(())
    }

    fn next_frames(&mut self) -> Result<Option<Batch>, TransportError> {
        if self.inbox.is_empty() {
            self.fill_inbox()?;
        }
        let batch = self.inbox.pop_front();
        if let Some(batch) = &batch {
            self.backstop.reset();
            self.stats.batches_received += 1;
            self.stats.bytes_received += batch.bytes().len() as u64;
        }
        Ok(batch)
    }

    fn next_control(&mut self) -> Result<Option<Batch>, TransportError> {
        self.control.as_mut().map_or(Ok(None), Transport::receive)
    }
}

impl<W: Ways> Transport for VxlanTransport<W> {
    fn me(&self) -> Rank {
        self.me
    }

    fn world(&self) -> World {
        self.world
    }

    fn max_frame_len(&self) -> usize {
        self.longest
    }

    fn name(&self) -> &'static str {
        "vxlan"
    }

    fn send_run(&mut self, to: Rank, run: &[u8]) -> Result<(), SendError> {
        let tunnel = self.tunnel(to)?;
        self.make_room(run.len(), records(run).count())?;
        for record in records(run).flatten() {
            match record.offload {
                None => self.vtep.send(tunnel, &run[record.frame]),
                Some(header) => self.send_finished(tunnel, &run[header.start..record.frame.end]),
            }
        }
        Ok(())
    }

    fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), SendError> {
        if kind == RecordKind::Control {
            let Some(control) = &mut self.control else {
                return Err(SendError::TooLong { len: payload.len(), max: 0 });
            };
            return control.send(to, kind, root, payload);
        }
        let tunnel = self.tunnel(to)?;
        if payload.len() > self.longest {
            return Err(SendError::TooLong { len: payload.len(), max: self.longest });
        }
        self.make_room(payload.len(), 1)?;
        self.vtep.send(tunnel, payload);
        Ok(())
    }

    fn progress(&mut self) -> Result<Pending, TransportError> {
        self.flush();
        let control = match &mut self.control {
            Some(control) => control.progress()?.bytes,
            None => 0,
        };
        Ok(Pending { bytes: self.vtep.waiting() + control })
    }

    fn receive(&mut self) -> Result<Option<Batch>, TransportError> {
        self.is_controls_turn = !self.is_controls_turn;
        let first = if self.is_controls_turn { self.next_control()? } else { self.next_frames()? };
        match first {
            Some(batch) => Ok(Some(batch)),
            None if self.is_controls_turn => self.next_frames(),
            None => self.next_control(),
        }
    }

    fn recycle(&mut self, batch: Batch) {
        match (&mut self.control, batch.lane) {
            (Some(control), Lane::Control) => control.recycle(batch),
            _ => self.pool.put(batch.buffer),
        }
    }

    fn arm(&mut self) -> Arm {
        if !self.inbox.is_empty() {
            return Arm::Ready;
        }
        let own = self.backstop.next();
        let at_most = match self.control.as_mut().map(Transport::arm) {
            Some(Arm::Ready) => return Arm::Ready,
            Some(Arm::Sleep { at_most }) => at_most,
            None => own,
        };
        // Datagrams need no announcement: the doorbell is readable as long as any are there. Whether the
        // kernel takes more is asked again soon.
        let at_most = if self.vtep.waiting() > 0 { at_most.min(PENDING_BACKSTOP) } else { at_most };
        Arm::Sleep { at_most }
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.bells.0.as_fd()
    }

    fn disarm(&mut self) {
        if let Some(control) = &mut self.control {
            control.disarm();
        }
    }

    fn stats(&self) -> TransportStats {
        let vtep = self.vtep.stats();
        let control = self.control.as_ref().map(Transport::stats).unwrap_or_default();
        TransportStats {
            batches_sent: vtep.send_calls + control.batches_sent,
            bytes_sent: self.stats.bytes_sent + control.bytes_sent,
            batches_received: self.stats.batches_received + control.batches_received,
            bytes_received: self.stats.bytes_received + control.bytes_received,
            refused_full: self.stats.refused_full + control.refused_full,
            malformed: self.vtep.refusals().total() + control.malformed,
            discarded_bytes: self.stats.discarded_bytes + control.discarded_bytes,
            rings: control.rings,
            rung: control.rung,
            buffers_made: self.pool.made() + control.buffers_made,
        }
    }

    fn own_stats(&self) -> Vec<(String, u64)> {
        let refused = self
            .vtep
            .refusals()
            .iter()
            .map(|(reason, count, _)| (format!("refused-{}", reason.name()), count));
        let vtep = self.vtep.stats();
        vtep.iter().map(|(name, count)| (name.to_owned(), count)).chain(refused).collect()
    }
}
