//! What a fuzzer calls: bytes as a sequence of things that a front end, a guest and the frame loop do to a link, and
//! what has to be true whatever they do. The tests of this module replay the corpus of `fuzz/`.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use mvpnet_switch::{DropReason, Offload};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use nix::unistd::ftruncate;

use super::memory::Area;
use super::messages::{Header, RegionEntry, Request, RingAddresses, RingFd};
use super::ring::Descriptor;
use super::*;
use operation::Operation;

mod operation;

/// Bits of the first byte: what the driver has taken of the features, and whether the rings run from the beginning.
pub const EVENT_IDX: u8 = 1;
/// As above.
pub const INDIRECT: u8 = 2;
/// As above.
pub const MERGEABLE: u8 = 4;
/// Neither virtio 1 nor offloads.
pub const LEGACY: u8 = 8;
/// Nothing has been said yet.
pub const BLANK: u8 = 16;

/// Octets of the guest's memory, which begins at address 0 in every respect.
pub const MEMORY: usize = 0x2_0000;
/// Descriptors of each ring.
pub const RING_SIZE: u16 = 8;
/// Where the parts of the rings are, as far as the bytes do not say otherwise: those of the second follow 0x1000 later.
const DESCRIPTORS: usize = 0;
const AVAILABLE: usize = 0x100;
const USED: usize = 0x200;
const RING_LEN: usize = 0x1000;

/// The longest space that is received into.
const SPACE: usize = 80_000;

/// What became of the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames that came from the guest.
    pub received: usize,
    /// Frames that were given to it.
    pub given: usize,
    /// Frames that cannot be given to it.
    pub unsendable: u64,
    /// What was refused, in order.
    pub refused: Vec<(DropReason, usize)>,
    /// Whether the link has ended.
    pub is_closed: bool,
    /// Rings that were given up.
    pub rings_broken: u64,
    /// Requests that were refused.
    pub requests_refused: u64,
}

/// A link and everything around it.
struct Lab {
    link: VhostUserLink,
    /// The front end's end, unless it has hung up.
    socket: Option<OwnedFd>,
    file: OwnedFd,
    unsealed: OwnedFd,
    memory: Area,
    event: EventFd,
    /// A socket to be handed over in place of anything, and its other end, which sees whether all copies are closed.
    stray: OwnedFd,
    witness: OwnedFd,
    space: Vec<u8>,
    /// Messages that were sent and not yet heard, at most.
    unheard: usize,
    outcome: Outcome,
}

/// Does what `bytes` say.
///
/// # Panics
///
/// If something does not hold that always has to.
pub fn vhost_user(bytes: &[u8]) -> Outcome {
    let Some((flags, mut rest)) = bytes.split_first() else { return Outcome::default() };
    let mut lab = Lab::new();
    if flags & BLANK == 0 {
        lab.start(*flags);
    }
    while let Some(operation) = Operation::read(&mut rest) {
        lab.perform(operation);
    }
    lab.finish()
}

impl Lab {
    fn new() -> Lab {
        let (ours, theirs) = pair().expect("there are descriptors");
        let (stray, witness) = pair().expect("there are descriptors");
        let file = |seals| {
            let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
            let file = memfd_create("fuzzed-memory", flags).expect("there is memory");
            ftruncate(&file, MEMORY as i64).expect("there is memory");
            fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("a new file can be sealed");
            file
        };
        let sealed = file(SealFlag::F_SEAL_SHRINK);
        Lab {
            link: VhostUserLink::new(ours, Offers::default()).expect("there are descriptors"),
            socket: Some(theirs),
            memory: Area::of_file(&sealed, MEMORY).expect("there is memory"),
            file: sealed,
            unsealed: file(SealFlag::empty()),
            event: EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("there are descriptors"),
            stray,
            witness,
            space: vec![0; SPACE],
            unheard: 0,
            outcome: Outcome::default(),
        }
    }

    /// Says what a front end says whose guest's driver comes up.
    fn start(&mut self, flags: u8) {
        use super::features::bit;
        let mut features = Offers::default().features();
        for (flag, bits) in
            [(EVENT_IDX, bit::EVENT_IDX), (INDIRECT, bit::INDIRECT_DESC), (MERGEABLE, bit::MRG_RXBUF)]
        {
            features &= if flags & flag == 0 { !bits } else { u64::MAX };
        }
        if flags & LEGACY != 0 {
            features &= bit::EVENT_IDX | bit::INDIRECT_DESC | bit::MRG_RXBUF | bit::PROTOCOL_FEATURES;
        }
        let entry = RegionEntry { len: MEMORY as u64, ..RegionEntry::default() };
        self.tell(&Request::SetFeatures(features), 0);
        self.tell(&Request::SetMemTable(vec![entry]), 0);
        for number in 0..2u8 {
            let (ring, fd) = (u32::from(number), RingFd { ring: number, has_fd: true });
            let at = |part: usize| (usize::from(number) * RING_LEN + part) as u64;
            let addresses =
                RingAddresses { descriptors: at(DESCRIPTORS), used: at(USED), available: at(AVAILABLE) };
            self.tell(&Request::SetVringNum { ring, size: RING_SIZE.into() }, 0);
            self.tell(&Request::SetVringBase { ring, base: 0 }, 0);
            self.tell(&Request::SetVringAddr { ring, addresses }, 0);
            self.tell(&Request::SetVringKick(fd), 3);
            self.tell(&Request::SetVringCall(fd), 3);
            self.tell(&Request::SetVringEnable { ring, enable: 1 }, 0);
        }
        self.hear();
        assert!(self.link.has_peer(), "what is right is taken");
    }

    fn tell(&mut self, request: &Request, fd_kind: u8) {
        let payload = request.payload();
        let payload_len = payload.len() as u32;
        let header = Header { request: request.code(), is_reply: false, needs_reply: false, payload_len };
        self.send(&[&header.write(), &payload[..]].concat(), request.fds(), fd_kind);
    }

    /// Sends octets on the control socket, with so many descriptors of a kind.
    fn send(&mut self, message: &[u8], fds: usize, fd_kind: u8) {
        let Some(socket) = &self.socket else { return };
        let fd: BorrowedFd<'_> = match fd_kind % 4 {
            0 => self.file.as_fd(),
            1 => self.unsealed.as_fd(),
            2 => self.stray.as_fd(),
            _ => self.event.as_fd(),
        };
        let fds: Vec<RawFd> = vec![fd.as_raw_fd(); fds];
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // What is refused because the link is gone, or does not read, is not said.
        self.unheard += 1 + message.len() / 12;
        let _ = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], rights, flags, None);
    }

    fn perform(&mut self, operation: Operation<'_>) {
        let at = |ring: u8, part: usize| usize::from(ring % 2) * RING_LEN + part;
        match operation {
            Operation::Memory { at, octets } => {
                let at = usize::from(at).min(MEMORY - octets.len());
                self.memory.write(at, octets);
            }
            Operation::Describe { ring, index, descriptor } => {
                let Descriptor { address, len, flags, next } = descriptor;
                let at = at(ring, DESCRIPTORS) + 16 * usize::from(index % RING_SIZE as u8);
                self.memory.store_u64(at, address);
                let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
                self.memory.store_u64(at + 8, rest);
            }
            Operation::Offer { ring, head } => self.offer(at(ring, AVAILABLE), head),
            Operation::Request { code, needs_reply, fds, fd_kind, payload } => {
                let payload_len = payload.len() as u32;
                let header = Header { request: code.into(), is_reply: false, needs_reply, payload_len };
                self.send(&[&header.write(), payload].concat(), fds.into(), fd_kind);
            }
            Operation::Octets { fds, fd_kind, octets } => self.send(octets, fds.into(), fd_kind),
            Operation::Kick => {
                let _ = self.event.write(1);
            }
            Operation::Receive { space } => self.receive(usize::from(space) * 2),
            Operation::Write { octets } => self.write(octets),
            Operation::Frame { header, len } => {
                let frame = vec![len as u8; usize::from(len) + 1];
                let mut record = vec![0; records::prefix_len(header.is_some())];
                record.extend(frame);
                records::write_prefix(&mut record, header.as_ref());
                let end = record.len();
                if let Some(header) = header {
                    // The length of a TCP header, where the header says that one begins.
                    let at = 16 + usize::from(u16::from_le_bytes([header[6], header[7]])) + 12;
                    record[at.min(end - 1)] = 5 << 4;
                }
                self.write(&record);
            }
            Operation::Sleep { receives, writes } => {
                self.link.arm(receives, writes);
                self.link.disarm();
            }
            Operation::Refusals => self.take_refusals(),
            Operation::HangUp => self.socket = None,
        }
    }

    fn offer(&self, available: usize, head: u16) {
        use std::sync::atomic::Ordering::Relaxed;
        let index = self.memory.load_u16(available + 2, Relaxed);
        let slot = usize::from(index % RING_SIZE);
        self.memory.store_u16(available + 4 + 2 * slot, head, Relaxed);
        self.memory.store_u16(available + 2, index.wrapping_add(1), Relaxed);
    }

    /// Lets the link do all that it was asked.
    fn hear(&mut self) {
        for _ in 0..=std::mem::take(&mut self.unheard) / REQUESTS_PER_LOOK {
            self.link.serve();
        }
    }

    /// How far a ring is, if it runs, and its size.
    fn progress(&self, ring: usize) -> Option<(u16, u16)> {
        self.link.device.vrings[ring].ring.as_ref().map(|ring| (ring.base(), ring.size()))
    }

    fn receive(&mut self, space: usize) {
        // The front end first, so that only the guest changes anything afterwards.
        self.hear();
        let before = self.progress(FROM_GUEST);
        let (refusals, discarded) = (self.link.refusals.len(), self.link.device.counts.discarded);
        let space = &mut self.space[..space.min(SPACE)];
        let received = self.link.receive(space).expect("nothing but the link's end can go wrong");
        let frames = match received {
            Received::Records(octets) => check_records(&space[..octets], &self.link),
            Received::Nothing => 0,
            Received::Closed => {
                assert!(!self.link.has_peer() && !self.link.arm(true, true));
                0
            }
        };
        let refused = self.link.refusals.len() - refusals;
        let discarded = self.link.device.counts.discarded - discarded;
        let taken = match (before, self.progress(FROM_GUEST)) {
            (Some((before, size)), Some((after, _))) => {
                let taken = after.wrapping_sub(before);
                assert!(taken <= size, "more chains than the ring has");
                usize::from(taken)
            }
            _ => 0,
        };
        assert_eq!(frames + refused + discarded as usize, taken, "every chain is one thing");
        self.outcome.received += frames;
        self.drain();
    }

    fn write(&mut self, run: &[u8]) {
        self.hear();
        let before = self.progress(TO_GUEST);
        let (first, second) = run.split_at(records::split(run).1.min(run.len()));
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let wrote = self.link.write(&slices).expect("nothing can go wrong");
        let (mut done, mut records) = (0, 0);
        while done < wrote.octets {
            done += records::split(&run[done..]).1;
            records += 1;
        }
        assert_eq!(done, wrote.octets, "a part of a record");
        let given = records - usize::try_from(wrote.unsendable.frames).expect("there are few");
        if let (Some((before, size)), Some((after, _))) = (before, self.progress(TO_GUEST)) {
            let taken = after.wrapping_sub(before);
            assert!(taken <= size && given <= usize::from(taken), "a frame without a buffer");
        } else {
            assert_eq!(wrote, Wrote::default(), "a ring that does not run takes nothing");
        }
        self.outcome.given += given;
        self.outcome.unsendable += wrote.unsendable.frames;
    }

    /// Reads replies, of whatever they are.
    fn drain(&self) {
        let Some(socket) = &self.socket else { return };
        while recv(socket.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT).is_ok_and(|octets| octets > 0)
        {
        }
    }

    fn take_refusals(&mut self) {
        while let Some(Refusal { reason, len }) = self.link.take_refusal() {
            assert!(len <= u32::MAX as usize * usize::from(u16::MAX));
            self.outcome.refused.push((reason, len));
        }
    }

    /// Lets go of the link, of which nothing may be left.
    fn finish(mut self) -> Outcome {
        self.take_refusals();
        self.receive(SPACE);
        self.take_refusals();
        let Lab { link, socket, file, memory, stray, witness, mut outcome, .. } = self;
        let counts = link.device.counts;
        (outcome.rings_broken, outcome.requests_refused) = (counts.rings_broken, counts.requests_refused);
        outcome.is_closed = link.is_closed;
        drop((link, socket, memory, stray));
        // Only a file that is mapped nowhere can be sealed against writing (fcntl(2)).
        let sealed = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE));
        assert!(sealed.is_ok(), "a mapping is left: {sealed:?}");
        let end = loop {
            match recv(witness.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT) {
                Ok(octets) if octets > 0 => {}
                end => break end,
            }
        };
        assert!(end != Err(Errno::EAGAIN), "a descriptor is left open");
        outcome
    }
}

/// The records of a run are whole and good. Returns how many they are.
fn check_records(mut run: &[u8], link: &VhostUserLink) -> usize {
    let mut frames = 0;
    while !run.is_empty() {
        let (record, octets) = records::split(run);
        let record = record.expect("a link makes records");
        assert!(octets <= run.len() && record.frame.len() <= MAX_GUEST_FRAME_LEN);
        if let Some(header) = record.header {
            let offload = Offload::read(header, record.frame).expect("a header that can be true");
            assert!(link.device.features.may_send(&offload.expect("something is left to be done")));
        }
        run = &run[octets..];
        frames += 1;
    }
    frames
}

#[cfg(test)]
mod tests;
