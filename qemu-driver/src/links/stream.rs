//! The stream link: records back to back on a byte stream, as qemu writes them (`net/stream.c`).

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendmsg};
use nix::unistd::read;

use super::{Item, MAX_GUEST_FRAME_LEN, PREFIX_LEN, Received, Wrote, prefix};

/// Octets asked for by one read. 64 KiB fills one batch; twice that measured no better.
const READ_LEN: usize = 64 * 1024;

/// The rank's end of a `-netdev stream` link.
#[derive(Debug)]
pub struct StreamLink {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    /// Whole and partial records not yet taken are at `start..end`.
    start: usize,
    end: usize,
    broken: bool,
}

impl StreamLink {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let capacity = READ_LEN + PREFIX_LEN + MAX_GUEST_FRAME_LEN;
        Self { socket, buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0, broken: false }
    }

    pub(super) fn receive(&mut self) -> Result<Received, Errno> {
        // What is left is less than one record, so READ_LEN octets always fit behind it.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match read(&self.socket, &mut self.buffer[self.end..self.end + READ_LEN]) {
            Ok(0) | Err(Errno::ECONNRESET) => Ok(Received::Closed),
            Ok(n) => {
                self.end += n;
                Ok(Received::Data)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }

    #[inline]
    pub(super) fn next_item(&mut self) -> Option<Item> {
        let waiting = &self.buffer[self.start..self.end];
        if waiting.len() < PREFIX_LEN {
            return None;
        }
        let frame_len = prefix(waiting);
        if frame_len > MAX_GUEST_FRAME_LEN {
            // Where the next record begins is unknown from here on.
            self.broken = true;
            self.start = self.end;
            return Some(Item::BadLength(frame_len));
        }
        let record_len = PREFIX_LEN + frame_len;
        if waiting.len() < record_len {
            return None;
        }
        let record = self.start..self.start + record_len;
        self.start = record.end;
        Some(if frame_len == 0 { Item::BadLength(0) } else { Item::Record(record) })
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<Wrote, Errno> {
        use std::os::fd::AsRawFd;
        // sendmsg rather than writev: MSG_NOSIGNAL keeps a vanished qemu from raising SIGPIPE.
        match sendmsg::<()>(self.socket.as_raw_fd(), slices, &[], MsgFlags::MSG_NOSIGNAL, None) {
            Ok(octets) => Ok(Wrote { octets, unsendable_frames: 0 }),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Wrote::default()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{LinkKind, pair};
    use nix::unistd::write;

    fn record(frame: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        bytes
    }

    fn link() -> (StreamLink, OwnedFd) {
        let (ours, guest) = pair(LinkKind::Stream).unwrap();
        crate::links::ends::make_non_blocking(&ours).unwrap();
        (StreamLink::new(ours), guest)
    }

    fn taken(link: &mut StreamLink) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(item) = link.next_item() {
            let Item::Record(range) = item else { panic!("unexpected {item:?}") };
            frames.push(link.bytes()[range][PREFIX_LEN..].to_vec());
        }
        frames
    }

    #[test]
    fn takes_whole_records_and_keeps_a_partial_one_for_the_next_read() {
        let (mut link, guest) = link();
        let mut bytes = record(&[1; 60]);
        bytes.extend(record(&[2; 1514]));
        let (first, rest) = bytes.split_at(100);
        write(&guest, first).unwrap();
        assert_eq!(link.receive(), Ok(Received::Data));
        assert_eq!(taken(&mut link), vec![vec![1; 60]]);
        assert_eq!(link.receive(), Ok(Received::Nothing));
        write(&guest, rest).unwrap();
        assert_eq!(link.receive(), Ok(Received::Data));
        assert_eq!(taken(&mut link), vec![vec![2; 1514]]);
    }

    #[test]
    fn the_longest_frame_passes_and_one_octet_more_breaks_the_link() {
        let (mut link, guest) = link();
        let writer = std::thread::spawn(move || {
            let bytes = record(&vec![7; MAX_GUEST_FRAME_LEN]);
            let mut sent = 0;
            while sent < bytes.len() {
                sent += write(&guest, &bytes[sent..]).unwrap();
            }
            guest
        });
        let mut frames = Vec::new();
        while frames.is_empty() {
            link.receive().unwrap();
            frames = taken(&mut link);
        }
        assert_eq!(frames[0].len(), MAX_GUEST_FRAME_LEN);
        let guest = writer.join().unwrap();
        write(&guest, &u32::try_from(MAX_GUEST_FRAME_LEN + 1).unwrap().to_be_bytes()).unwrap();
        link.receive().unwrap();
        assert_eq!(link.next_item(), Some(Item::BadLength(MAX_GUEST_FRAME_LEN + 1)));
        assert!(link.is_broken());
        assert_eq!(link.next_item(), None);
    }

    #[test]
    fn a_length_of_zero_is_refused_without_losing_the_framing() {
        let (mut link, guest) = link();
        let mut bytes = record(&[]);
        bytes.extend(record(&[3; 20]));
        write(&guest, &bytes).unwrap();
        link.receive().unwrap();
        assert_eq!(link.next_item(), Some(Item::BadLength(0)));
        assert_eq!(taken(&mut link), vec![vec![3; 20]]);
    }

    #[test]
    fn a_closed_guest_is_told_apart_from_a_silent_one() {
        let (mut link, guest) = link();
        assert_eq!(link.receive(), Ok(Received::Nothing));
        drop(guest);
        assert_eq!(link.receive(), Ok(Received::Closed));
        assert_eq!(link.write(&[IoSlice::new(&record(&[1; 60]))]), Err(Errno::EPIPE));
    }

    #[test]
    fn a_full_socket_takes_a_part_or_nothing() {
        let (mut link, _guest) = link();
        let run = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            let wrote = link.write(&[IoSlice::new(&run)]).unwrap().octets;
            if wrote == 0 {
                break;
            }
            total += wrote;
        }
        assert!(total > 0);
    }
}
