//! The dgram link: one frame per datagram (`net/dgram.c`), many datagrams per system call.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use mvpnet_switch::Tally;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, UnixAddr, connect, recvmmsg, sendmmsg};

use super::filled::{Filled, prefix};
use super::{Item, MAX_GUEST_FRAME_LEN, PREFIX_LEN, Received, Refusal, Wrote};

/// Datagrams per system call. The kernel's own queue holds `net.unix.max_dgram_qlen` + 1 of them, ten by
/// default and 512 at most on common systems.
const BURST: usize = 64;

/// Octets of one receive slot: the longest frame and one octet that shows a longer one.
const SLOT_LEN: usize = MAX_GUEST_FRAME_LEN + 1;

/// The rank's end of a `-netdev dgram` link.
pub struct DgramLink {
    socket: OwnedFd,
    /// qemu's own path, until this socket is connected to it.
    unconnected: Option<PathBuf>,
    slots: Box<[u8]>,
    /// Length of the datagram in each slot of the last burst, and the slots that are not in a space yet.
    datagram_lens: [usize; BURST],
    waiting: Range<usize>,
    /// What is not yet taken of the caller's space.
    records: Filled,
    /// Lengths that no frame has, of datagrams of the last burst.
    bad_lens: Vec<usize>,
    headers: MultiHeaders<()>,
}

impl std::fmt::Debug for DgramLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DgramLink").field("socket", &self.socket).field("waiting", &self.waiting).finish()
    }
}

impl DgramLink {
    pub(super) fn new(socket: OwnedFd, guest_path: Option<&Path>) -> Self {
        Self {
            socket,
            unconnected: guest_path.map(Path::to_path_buf),
            // Untouched pages of a zeroed allocation cost no memory: only slots that held long frames do.
            slots: vec![0; SLOT_LEN * BURST].into_boxed_slice(),
            datagram_lens: [0; BURST],
            waiting: 0..0,
            records: Filled::default(),
            bad_lens: Vec::with_capacity(BURST),
            headers: MultiHeaders::preallocate(BURST, None),
        }
    }

    pub(super) fn receive(&mut self, space: &mut [u8]) -> Result<Received, Errno> {
        self.records.set(0);
        if self.waiting.is_empty() {
            match self.receive_burst() {
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
                Err(Errno::ECONNRESET) => return Ok(Received::Closed),
                Err(error) => return Err(error),
            }
        }
        while let Some(slot) = self.waiting.next() {
            let frame_len = self.datagram_lens[slot];
            let Some(length) = record_len(frame_len) else {
                self.bad_lens.push(frame_len);
                continue;
            };
            let start = self.records.end();
            let Some(record) = space.get_mut(start..start + PREFIX_LEN + frame_len) else {
                self.waiting.start = slot;
                break;
            };
            let (prefix, frame) = record.split_at_mut(PREFIX_LEN);
            prefix.copy_from_slice(&length.to_be_bytes());
            frame.copy_from_slice(&self.slots[slot * SLOT_LEN..][..frame_len]);
            self.records.set(start + PREFIX_LEN + frame_len);
        }
        Ok(Received::Data)
    }

    fn receive_burst(&mut self) -> Result<(), Errno> {
        let mut slots = self.slots.chunks_exact_mut(SLOT_LEN);
        let mut slices: [[IoSliceMut<'_>; 1]; BURST] = std::array::from_fn(|_| {
            let slot = slots.next().expect("there are BURST slots");
            [IoSliceMut::new(slot)]
        });
        let fd = self.socket.as_raw_fd();
        let messages = recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        self.waiting = 0..0;
        for (datagram_len, message) in self.datagram_lens.iter_mut().zip(messages) {
            *datagram_len = message.bytes;
            self.waiting.end += 1;
        }
        if self.waiting.is_empty() { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn next_item(&mut self, space: &[u8]) -> Option<Item> {
        if let Some(len) = self.bad_lens.pop() {
            return Some(Item::Refused(Refusal::bad_length(len)));
        }
        self.records.next_item(space)
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<Wrote, Errno> {
        let mut frames: [[IoSlice<'_>; 1]; BURST] = std::array::from_fn(|_| [IoSlice::new(&[])]);
        let mut count = 0;
        let records = slices.iter().flat_map(|slice| Records { rest: slice });
        for (frame, slot) in records.zip(frames.iter_mut()) {
            *slot = [IoSlice::new(frame)];
            count += 1;
        }
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let offered = frames[..count].iter();
        match sendmmsg(fd, &mut self.headers, offered, [None::<()>; BURST], [], flags) {
            Ok(sent) => {
                let octets = frames.iter().take(sent.count()).map(|[f]| PREFIX_LEN + f.len()).sum();
                Ok(Wrote { octets, unsendable: Tally::default() })
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(Wrote::default()),
            // The first frame is longer than the socket takes: it is done with, the others may pass.
            Err(Errno::EMSGSIZE) => {
                let bytes = frames[0][0].len();
                let unsendable = Tally { frames: 1, bytes: bytes as u64 };
                Ok(Wrote { octets: PREFIX_LEN + bytes, unsendable })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn has_peer(&mut self) -> bool {
        let Some(path) = &self.unconnected else { return true };
        let connected = UnixAddr::new(path).and_then(|peer| connect(self.socket.as_raw_fd(), &peer)).is_ok();
        if connected {
            self.unconnected = None;
        }
        connected
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The length of the record of a datagram, where a frame has its length.
fn record_len(frame_len: usize) -> Option<u32> {
    u32::try_from(frame_len).ok().filter(|_| (1..=MAX_GUEST_FRAME_LEN).contains(&frame_len))
}

/// Frames of a run of whole records.
struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.len() < PREFIX_LEN {
            return None;
        }
        let end = (PREFIX_LEN + prefix(self.rest) as usize).min(self.rest.len());
        let (record, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(&record[PREFIX_LEN..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{LinkKind, pair};
    use std::os::unix::net::UnixDatagram;

    fn link() -> (DgramLink, UnixDatagram) {
        let (ours, guest) = pair(LinkKind::Dgram).unwrap();
        (DgramLink::new(ours, None), UnixDatagram::from(guest))
    }

    fn space() -> Vec<u8> {
        vec![0; PREFIX_LEN + MAX_GUEST_FRAME_LEN]
    }

    fn run(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    #[test]
    fn a_burst_of_datagrams_becomes_records_in_order() {
        let (mut link, guest) = link();
        let mut space = space();
        assert_eq!(link.receive(&mut space), Ok(Received::Nothing));
        for len in [60, 1514, 9014] {
            guest.send(&vec![0xab; len]).unwrap();
        }
        assert_eq!(link.receive(&mut space), Ok(Received::Data));
        for len in [60, 1514, 9014] {
            let Some(Item::Record(range)) = link.next_item(&space) else { panic!("no record") };
            assert_eq!(space[range], run(&[&vec![0xab; len]]));
        }
        assert_eq!(link.next_item(&space), None);
    }

    #[test]
    fn each_record_of_each_slice_leaves_as_one_datagram() {
        let (mut link, guest) = link();
        let first = run(&[&[1; 60], &[2; 100]]);
        let second = run(&[&[3; 1514]]);
        let wrote = link.write(&[IoSlice::new(&first), IoSlice::new(&second)]).unwrap();
        assert_eq!(wrote, Wrote { octets: first.len() + second.len(), unsendable: Tally::default() });
        let mut buffer = [0; 2000];
        for (len, byte) in [(60, 1), (100, 2), (1514, 3)] {
            assert_eq!(guest.recv(&mut buffer).unwrap(), len);
            assert!(buffer[..len].iter().all(|b| *b == byte));
        }
    }

    #[test]
    fn a_full_queue_takes_nothing_more_and_loses_nothing() {
        let (mut link, guest) = link();
        let frame = run(&[&[1; 60]]);
        let mut sent = 0;
        while link.write(&[IoSlice::new(&frame)]).unwrap().octets > 0 {
            sent += 1;
        }
        guest.set_nonblocking(true).unwrap();
        let mut received = 0;
        while guest.recv(&mut [0; 100]).is_ok() {
            received += 1;
        }
        assert_eq!(sent, received);
    }

    #[test]
    fn what_has_no_room_in_the_space_comes_with_the_next() {
        let (mut link, guest) = link();
        for byte in 1..=5 {
            guest.send(&[byte; 1000]).unwrap();
        }
        let mut space = vec![0; 2500];
        let mut frames = Vec::new();
        while link.receive(&mut space) == Ok(Received::Data) {
            while let Some(Item::Record(range)) = link.next_item(&space) {
                frames.push(space[range][PREFIX_LEN]);
            }
        }
        assert_eq!(frames, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_datagram_longer_than_any_frame_is_a_bad_length() {
        let (mut link, guest) = link();
        let mut space = space();
        guest.send(&vec![0; MAX_GUEST_FRAME_LEN + 100]).unwrap();
        guest.send(&[]).unwrap();
        link.receive(&mut space).unwrap();
        let mut lens = [link.next_item(&space), link.next_item(&space)];
        lens.sort_by_key(|item| *item == Some(Item::Refused(Refusal::bad_length(0))));
        assert_eq!(
            lens,
            [MAX_GUEST_FRAME_LEN + 1, 0].map(|len| Some(Item::Refused(Refusal::bad_length(len))))
        );
        assert_eq!(link.next_item(&space), None);
    }

    #[test]
    fn a_path_socket_gets_its_peer_when_qemu_has_bound_it() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("switch"), dir.path().join("qemu"));
        let socket = crate::links::bind_dgram(&ours).unwrap();
        let mut link = DgramLink::new(socket, Some(&theirs));
        assert!(!link.has_peer());
        let guest = UnixDatagram::bind(&theirs).unwrap();
        guest.send_to(&[9; 60], &ours).unwrap();
        assert!(link.has_peer());
        assert_eq!(link.receive(&mut space()), Ok(Received::Data));
        assert_eq!(link.write(&[IoSlice::new(&run(&[&[1; 60]]))]).unwrap().octets, 64);
        assert_eq!(guest.recv(&mut [0; 100]).unwrap(), 60);
    }
}
