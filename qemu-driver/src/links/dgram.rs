//! The dgram link: one frame per datagram (`net/dgram.c`), many datagrams per system call.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, UnixAddr, connect, recvmmsg, sendmmsg};

use super::{Item, MAX_GUEST_FRAME_LEN, PREFIX_LEN, Received, Wrote, prefix};

/// Datagrams per system call. The kernel's own queue holds `net.unix.max_dgram_qlen` + 1 of them, ten by
/// default and 512 at most on common systems.
const BURST: usize = 64;

/// Octets of one receive slot: the record of the longest frame and one octet that shows a longer one.
const SLOT_LEN: usize = PREFIX_LEN + MAX_GUEST_FRAME_LEN + 1;

/// The rank's end of a `-netdev dgram` link.
pub struct DgramLink {
    socket: OwnedFd,
    /// qemu's own path, until this socket is connected to it.
    unconnected: Option<PathBuf>,
    slots: Box<[u8]>,
    /// Length of the frame in each slot of the last burst, and the next slot to take.
    frame_lens: [usize; BURST],
    next: usize,
    count: usize,
    headers: MultiHeaders<()>,
}

impl std::fmt::Debug for DgramLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DgramLink")
            .field("socket", &self.socket)
            .field("waiting", &(self.count - self.next))
            .finish()
    }
}

impl DgramLink {
    pub(super) fn new(socket: OwnedFd, guest_path: Option<&Path>) -> Self {
        Self {
            socket,
            unconnected: guest_path.map(Path::to_path_buf),
            // Untouched pages of a zeroed allocation cost no memory: only slots that held long frames do.
            slots: vec![0; SLOT_LEN * BURST].into_boxed_slice(),
            frame_lens: [0; BURST],
            next: 0,
            count: 0,
            headers: MultiHeaders::preallocate(BURST, None),
        }
    }

    pub(super) fn receive(&mut self) -> Result<Received, Errno> {
        self.next = 0;
        self.count = 0;
        let mut slots = self.slots.chunks_exact_mut(SLOT_LEN);
        let mut slices: [[IoSliceMut<'_>; 1]; BURST] = std::array::from_fn(|_| {
            let slot = slots.next().expect("there are BURST slots");
            [IoSliceMut::new(&mut slot[PREFIX_LEN..])]
        });
        let fd = self.socket.as_raw_fd();
        match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => {
                for (frame_len, message) in self.frame_lens.iter_mut().zip(messages) {
                    *frame_len = message.bytes;
                    self.count += 1;
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
            Err(Errno::ECONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error),
        }
        if self.count == 0 { Ok(Received::Nothing) } else { Ok(Received::Data) }
    }

    #[inline]
    pub(super) fn next_item(&mut self) -> Option<Item> {
        if self.next == self.count {
            return None;
        }
        let frame_len = self.frame_lens[self.next];
        let start = self.next * SLOT_LEN;
        self.next += 1;
        let Ok(length) = u32::try_from(frame_len) else { return Some(Item::BadLength(frame_len)) };
        if frame_len == 0 || frame_len > MAX_GUEST_FRAME_LEN {
            return Some(Item::BadLength(frame_len));
        }
        self.slots[start..start + PREFIX_LEN].copy_from_slice(&length.to_be_bytes());
        Some(Item::Record(start..start + PREFIX_LEN + frame_len))
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.slots
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
                Ok(Wrote { octets, unsendable_frames: 0 })
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(Wrote::default()),
            // The first frame is longer than the socket takes: it is done with, the others may pass.
            Err(Errno::EMSGSIZE) => {
                Ok(Wrote { octets: PREFIX_LEN + frames[0][0].len(), unsendable_frames: 1 })
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
        let end = (PREFIX_LEN + prefix(self.rest)).min(self.rest.len());
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
        assert_eq!(link.receive(), Ok(Received::Nothing));
        for len in [60, 1514, 9014] {
            guest.send(&vec![0xab; len]).unwrap();
        }
        assert_eq!(link.receive(), Ok(Received::Data));
        for len in [60, 1514, 9014] {
            let Some(Item::Record(range)) = link.next_item() else { panic!("no record") };
            assert_eq!(link.bytes()[range], run(&[&vec![0xab; len]]));
        }
        assert_eq!(link.next_item(), None);
    }

    #[test]
    fn each_record_of_each_slice_leaves_as_one_datagram() {
        let (mut link, guest) = link();
        let first = run(&[&[1; 60], &[2; 100]]);
        let second = run(&[&[3; 1514]]);
        let wrote = link.write(&[IoSlice::new(&first), IoSlice::new(&second)]).unwrap();
        assert_eq!(wrote, Wrote { octets: first.len() + second.len(), unsendable_frames: 0 });
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
    fn a_datagram_longer_than_any_frame_is_a_bad_length() {
        let (mut link, guest) = link();
        guest.send(&vec![0; MAX_GUEST_FRAME_LEN + 100]).unwrap();
        guest.send(&[]).unwrap();
        link.receive().unwrap();
        assert_eq!(link.next_item(), Some(Item::BadLength(MAX_GUEST_FRAME_LEN + 1)));
        assert_eq!(link.next_item(), Some(Item::BadLength(0)));
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
        assert_eq!(link.receive(), Ok(Received::Data));
        assert_eq!(link.write(&[IoSlice::new(&run(&[&[1; 60]]))]).unwrap().octets, 64);
        assert_eq!(guest.recv(&mut [0; 100]).unwrap(), 60);
    }
}
