//! The stream link: records back to back on a byte stream, as qemu writes them (`net/stream.c`).

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mvpnet_switch::Tally;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendmsg};
use nix::unistd::read;

use super::{Item, MAX_GUEST_FRAME_LEN, PREFIX_LEN, Received, Refusal, Wrote};

/// Octets asked for by one read. 64 KiB fills one batch; twice that measured no better.
const READ_LEN: usize = 64 * 1024;

/// The rank's end of a `-netdev stream` link.
#[derive(Debug)]
pub struct StreamLink {
    socket: OwnedFd,
    /// What is not yet taken of the caller's space.
    start: usize,
    end: usize,
    /// The beginning of a record whose rest has not come yet, which the next space begins with.
    partial: Vec<u8>,
    broken: bool,
}

impl StreamLink {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let partial = Vec::with_capacity(PREFIX_LEN + MAX_GUEST_FRAME_LEN);
        Self { socket, start: 0, end: 0, partial, broken: false }
    }

    pub(super) fn receive(&mut self, space: &mut [u8]) -> Result<Received, Errno> {
        let begun = self.partial.len();
        let room = space.len().min(READ_LEN.max(begun + 1));
        (self.start, self.end) = (0, 0);
        match read(&self.socket, &mut space[begun..room]) {
            Ok(0) | Err(Errno::ECONNRESET) => Ok(Received::Closed),
            Ok(n) => {
                space[..begun].copy_from_slice(&self.partial);
                self.partial.clear();
                self.end = begun + n;
                Ok(Received::Data)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }

    #[inline]
    pub(super) fn next_item(&mut self, space: &[u8]) -> Option<Item> {
        let waiting = &space[self.start..self.end];
        let Some((prefix, rest)) = waiting.split_first_chunk::<PREFIX_LEN>() else {
            return self.keep(waiting);
        };
        let frame_len = u32::from_be_bytes(*prefix) as usize;
        if rest.len() < frame_len || frame_len == 0 {
            return self.odd_item(waiting, frame_len);
        }
        let record = self.start..self.start + PREFIX_LEN + frame_len;
        self.start = record.end;
        Some(Item::Record(record))
    }

    /// What is no whole record.
    #[cold]
    fn odd_item(&mut self, waiting: &[u8], frame_len: usize) -> Option<Item> {
        if frame_len > MAX_GUEST_FRAME_LEN {
            // Where the next record begins is unknown from here on.
            self.broken = true;
            self.start = self.end;
            return Some(Item::Refused(Refusal::bad_length(frame_len)));
        }
        if frame_len > 0 {
            return self.keep(waiting);
        }
        self.start += PREFIX_LEN;
        Some(Item::Refused(Refusal::bad_length(0)))
    }

    /// Keeps the beginning of a record until the next read.
    fn keep(&mut self, waiting: &[u8]) -> Option<Item> {
        self.partial.extend_from_slice(waiting);
        self.start = self.end;
        None
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<Wrote, Errno> {
        use std::os::fd::AsRawFd;
        // sendmsg rather than writev: MSG_NOSIGNAL keeps a vanished qemu from raising SIGPIPE.
        match sendmsg::<()>(self.socket.as_raw_fd(), slices, &[], MsgFlags::MSG_NOSIGNAL, None) {
            Ok(octets) => Ok(Wrote { octets, unsendable: Tally::default() }),
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

    fn space() -> Vec<u8> {
        vec![0; PREFIX_LEN + MAX_GUEST_FRAME_LEN]
    }

    fn taken(link: &mut StreamLink, space: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(item) = link.next_item(space) {
            let Item::Record(range) = item else { panic!("unexpected {item:?}") };
            frames.push(space[range][PREFIX_LEN..].to_vec());
        }
        frames
    }

    #[test]
    fn takes_whole_records_and_keeps_a_partial_one_for_the_next_read() {
        let (mut link, guest) = link();
        let mut space = space();
        let mut bytes = record(&[1; 60]);
        bytes.extend(record(&[2; 1514]));
        let (first, rest) = bytes.split_at(100);
        write(&guest, first).unwrap();
        assert_eq!(link.receive(&mut space), Ok(Received::Data));
        assert_eq!(taken(&mut link, &space), vec![vec![1; 60]]);
        assert_eq!(link.receive(&mut space), Ok(Received::Nothing));
        write(&guest, rest).unwrap();
        assert_eq!(link.receive(&mut space), Ok(Received::Data));
        assert_eq!(taken(&mut link, &space), vec![vec![2; 1514]]);
    }

    #[test]
    fn the_longest_frame_passes_and_one_octet_more_breaks_the_link() {
        let (mut link, guest) = link();
        let mut space = space();
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
            link.receive(&mut space).unwrap();
            frames = taken(&mut link, &space);
        }
        assert_eq!(frames[0].len(), MAX_GUEST_FRAME_LEN);
        let guest = writer.join().unwrap();
        write(&guest, &u32::try_from(MAX_GUEST_FRAME_LEN + 1).unwrap().to_be_bytes()).unwrap();
        link.receive(&mut space).unwrap();
        assert_eq!(link.next_item(&space), Some(Item::Refused(Refusal::bad_length(MAX_GUEST_FRAME_LEN + 1))));
        assert!(link.is_broken());
        assert_eq!(link.next_item(&space), None);
    }

    #[test]
    fn a_length_of_zero_is_refused_without_losing_the_framing() {
        let (mut link, guest) = link();
        let mut space = space();
        let mut bytes = record(&[]);
        bytes.extend(record(&[3; 20]));
        write(&guest, &bytes).unwrap();
        link.receive(&mut space).unwrap();
        assert_eq!(link.next_item(&space), Some(Item::Refused(Refusal::bad_length(0))));
        assert_eq!(taken(&mut link, &space), vec![vec![3; 20]]);
    }

    #[test]
    fn a_closed_guest_is_told_apart_from_a_silent_one() {
        let (mut link, guest) = link();
        let mut space = space();
        assert_eq!(link.receive(&mut space), Ok(Received::Nothing));
        drop(guest);
        assert_eq!(link.receive(&mut space), Ok(Received::Closed));
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
