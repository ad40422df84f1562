//! Where blocks end up: a file or a pipe that always holds whole blocks only, and a trailer that can be
//! replaced.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Port;

/// How many of the last blocks can be given up again, to make room for a trailer of a few hundred bytes.
const TAIL: usize = 64;

/// What bytes are written to.
pub(super) trait Medium {
    /// Writes some of the bytes and says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Takes back everything behind the first `len` bytes. Not every medium can.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

/// An opened destination.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// Where the capture begins, if the file is one that can be cut.
    start: Option<u64>,
}

impl Output {
    /// Takes a file as it is now: the capture begins at its current position.
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        let start = if file.metadata()?.is_file() { Some(file.stream_position()?) } else { None };
        Ok(Self { file, start })
    }
}

impl Medium for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Whoever shares our standard output may have made it non-blocking.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(nix::Error::EINTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                other => return other,
            }
        }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let start = self.start.ok_or(ErrorKind::Unsupported)?;
        self.file.set_len(start + len)?;
        self.file.seek(SeekFrom::Start(start + len)).map(drop)
    }
}

/// One block: where it ends, and the packet that it holds, if it holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Bytes from the beginning of what it is written with.
    pub(super) end: usize,
    pub(super) packet: Option<PacketBlock>,
}

/// The packet of a block, as far as the books need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketBlock {
    pub(super) port: Port,
    /// The count of missing packets that the block carries.
    pub(super) missed: u64,
}

/// Why blocks could not be appended.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: io::Error,
    /// How many of the blocks are there nevertheless.
    pub(super) kept: usize,
    /// Whether the store still ends with a whole block, so that it can be written to again.
    pub(super) intact: bool,
}

/// A medium with whole blocks on it.
#[derive(Debug)]
pub(super) struct Store<M> {
    medium: M,
    /// Bytes of blocks, without the trailer.
    len: u64,
    trailer_len: u64,
    /// The last blocks, with their lengths.
    tail: VecDeque<(u64, PacketBlock)>,
}

impl<M: Medium> Store<M> {
    pub(super) fn new(medium: M) -> Self {
        Self { medium, len: 0, trailer_len: 0, tail: VecDeque::with_capacity(TAIL) }
    }

    /// Appends blocks; a trailer that is there goes away.
    pub(super) fn append(&mut self, bytes: &[u8], blocks: &[Block]) -> Result<(), Refused> {
        if let Err(error) = self.remove_trailer() {
            return Err(Refused { error, kept: 0, intact: false });
        }
        let (written, outcome) = self.write_all(bytes);
        let kept = blocks.partition_point(|block| block.end <= written);
        let kept_len = blocks[..kept].last().map_or(0, |block| block.end);
        self.len += kept_len as u64;
        self.remember(&blocks[..kept]);
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => {
                // Even when nothing is to be cut: a medium that cannot be cut is one that cannot be trusted
                // again.
                let intact = self.medium.cut(self.len).is_ok();
                Err(Refused { error, kept, intact })
            }
        }
    }

    /// Writes `bytes` behind the blocks, in place of the trailer that is there: all of them or none.
    pub(super) fn replace_trailer(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.remove_trailer().map_err(|error| Refused { error, kept: 0, intact: false })?;
        let (_, outcome) = self.write_all(bytes);
        match outcome {
            Ok(()) => self.trailer_len = bytes.len() as u64,
            Err(error) => return Err(Refused { error, kept: 0, intact: self.medium.cut(self.len).is_ok() }),
        }
        Ok(())
    }

    /// Takes back the last packets, enough of them to free `room` bytes if that many are known, and says
    /// which.
    pub(super) fn give_up(&mut self, room: u64) -> io::Result<Vec<PacketBlock>> {
        let (mut count, mut freed) = (0, 0);
        for (len, _) in self.tail.iter().rev() {
            if freed >= room {
                break;
            }
            freed += len;
            count += 1;
        }
        self.medium.cut(self.len - freed)?;
        self.len -= freed;
        Ok(self.tail.drain(self.tail.len() - count..).map(|(_, packet)| packet).collect())
    }

    fn remove_trailer(&mut self) -> io::Result<()> {
        if self.trailer_len > 0 {
            self.medium.cut(self.len)?;
            self.trailer_len = 0;
        }
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.medium.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn remember(&mut self, blocks: &[Block]) {
        let recent = blocks.len().saturating_sub(TAIL);
        let mut start = if recent == 0 { 0 } else { blocks[recent - 1].end };
        for block in &blocks[recent..] {
            match block.packet {
                Some(packet) => {
                    if self.tail.len() == TAIL {
                        self.tail.pop_front();
                    }
                    self.tail.push_back(((block.end - start) as u64, packet));
                }
                // What comes before a header or an interface's description is not to be given up.
                None => self.tail.clear(),
            }
            start = block.end;
        }
    }
}
