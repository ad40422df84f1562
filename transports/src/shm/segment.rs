//! One rank's share of memory: a memfd, which leaves no file behind, mapped by its owner and by neighbours.
//!
//! Its parts, each on pages of its own: the head with the door, a pair of rings per neighbour of the host, in the order
//! of their ranks, and the blocks. Neighbours open it through `/proc/PID/fd`, which the system allows to processes of the
//! same user that see each other's pid, and believe it only when the job's key stands in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;

use super::door::DoorWords;
use super::ring::RingWords;
use super::sync::{AtomicU32, Ordering};
use crate::batch::{BATCH_HEADER_LEN, LARGE_ROOM};

/// A random number that only the ranks of one job know.
pub(crate) type Key = [u8; 16];

const PAGE_LEN: usize = 4096;

/// Bytes of a block: a batch header and room for the longest record, on whole pages.
pub(super) const BLOCK_LEN: usize = (BATCH_HEADER_LEN + LARGE_ROOM).next_multiple_of(PAGE_LEN);

/// The beginning of a segment. Atomics only: other processes write here.
#[repr(C)]
struct Head {
    rank: AtomicU32,
    key: [AtomicU32; 4],
    door: DoorWords,
}

/// The rings of the segment's owner towards one neighbour.
#[repr(C)]
pub(super) struct PairWords {
    /// What the owner sends.
    pub parcels: RingWords,
    /// The blocks that come back.
    pub spent: RingWords,
}

const _: () = assert!(size_of::<Head>() <= PAGE_LEN && size_of::<PairWords>() <= PAGE_LEN);

/// A segment, mapped.
#[derive(Debug)]
pub(crate) struct Segment {
    start: NonNull<u8>,
    len: NonZeroUsize,
    pairs: usize,
    blocks: usize,
}

// SAFETY: the mapping belongs to no thread. What is reached through `&self` is atomics and the addresses of blocks, of
// which `Block` says who may use them.
unsafe impl Send for Segment {}
// SAFETY: as for Send.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes rank `rank`'s own segment, for so many neighbours (itself included) and with so many blocks. Memory is taken
    /// as it is used. The descriptor is what neighbours open; it has to stay open as long as they may come.
    ///
    /// # Errors
    /// What the system calls said.
    pub fn create(key: &Key, rank: u32, pairs: usize, blocks: usize) -> io::Result<(Self, OwnedFd)> {
        let fd = memfd_create("mvpnet", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let len = Segment::len_of(pairs, blocks);
        ftruncate(&fd, i64::try_from(len.get()).map_err(io::Error::other)?)?;
        // Memory that cannot shrink cannot be taken away from under a neighbour.
        fcntl(
            &fd,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
        )?;
        let segment = Segment::map(&fd, pairs, blocks)?;
        segment.head().rank.store(rank, Ordering::Relaxed);
        for (word, bytes) in segment.head().key.iter().zip(key_words(key)) {
            word.store(bytes, Ordering::Relaxed);
        }
        Ok((segment, fd))
    }

    /// Maps the segment that rank `rank` made and announced.
    ///
    /// # Errors
    /// It cannot be opened, or is not what was announced.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "threads need not look for each other"))]
    pub fn open(
        announced: &Announced,
        key: &Key,
        rank: u32,
        pairs: usize,
        blocks: usize,
    ) -> io::Result<Self> {
        let file = announced.open(OpenOptions::new().read(true).write(true))?;
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        let len = Segment::len_of(pairs, blocks).get() as u64;
        if !seals.contains(SealFlag::F_SEAL_SHRINK) || file.metadata()?.len() != len {
            return Err(io::Error::other("not a segment of ours"));
        }
        let segment = Segment::map(&file, pairs, blocks)?;
        let head = segment.head();
        let is_ours = head.rank.load(Ordering::Relaxed) == rank
            && head.key.iter().zip(key_words(key)).all(|(word, bytes)| word.load(Ordering::Relaxed) == bytes);
        if is_ours { Ok(segment) } else { Err(io::Error::other("a segment of another job")) }
    }

    fn len_of(pairs: usize, blocks: usize) -> NonZeroUsize {
        let len = PAGE_LEN * (1 + pairs) + BLOCK_LEN * blocks;
        NonZeroUsize::new(len).expect("a segment has a head")
    }

    fn map(fd: impl AsFd, pairs: usize, blocks: usize) -> io::Result<Self> {
        let len = Segment::len_of(pairs, blocks);
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping at an address that the system chooses; no memory of ours is touched.
        let start = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, fd, 0)? };
        Ok(Segment { start: start.cast(), len, pairs, blocks })
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping is page-aligned, a page long at least, lives as long as `self` and is of a file that is
        // sealed against shrinking; any bytes are a valid `Head`, which has atomics only, so others may write to it.
        unsafe { self.start.cast().as_ref() }
    }

    /// The owner's door.
    pub(super) fn door(&self) -> &DoorWords {
        &self.head().door
    }

    /// The owner's rings towards its host's rank number `index`; `None` where it has no such neighbour.
    pub(super) fn pair(&self, index: usize) -> Option<&PairWords> {
        if index >= self.pairs {
            return None;
        }
        // SAFETY: page 1 + `index` is inside the mapping, by its length; otherwise as for `head`.
        Some(unsafe { self.start.byte_add(PAGE_LEN * (1 + index)).cast().as_ref() })
    }

    /// Where a block begins; `None` where there is none of that number.
    pub(super) fn block(&self, index: u32) -> Option<NonNull<u8>> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.blocks)?;
        // SAFETY: the block is inside the mapping, by its length.
        Some(unsafe { self.start.byte_add(PAGE_LEN * (1 + self.pairs) + BLOCK_LEN * index) })
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: `start` is what mmap returned for this length, and no reference into it outlives `self`. Failure is
        // impossible for a mapping that exists, and harmless.
        let _ = unsafe { munmap(self.start.cast(), self.len.get()) };
    }
}

/// Where another process finds an open descriptor: the process, the number, and the inode, by which it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub pid: u32,
    pub number: i32,
    pub inode: u64,
}

impl Announced {
    /// How others find what this process has open.
    ///
    /// # Errors
    /// What fstat(2) said.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "threads need not look for each other"))]
    pub fn of(fd: &OwnedFd) -> io::Result<Self> {
        let inode = nix::sys::stat::fstat(fd)?.st_ino;
        Ok(Announced { pid: std::process::id(), number: fd.as_raw_fd(), inode })
    }

    /// Opens it, and makes sure that it is what was announced.
    ///
    /// # Errors
    /// The process is gone or another user's, or has something else open there.
    pub fn open(&self, how: &OpenOptions) -> io::Result<File> {
        let Announced { pid, number, inode } = self;
        let file = how.open(format!("/proc/{pid}/fd/{number}"))?;
        if file.metadata()?.ino() == *inode {
            Ok(file)
        } else {
            Err(io::Error::other("not what the neighbour announced"))
        }
    }
}

fn key_words(key: &Key) -> [u32; 4] {
    let (words, _) = key.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_ne_bytes(words[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_sees_what_the_owner_writes() {
        let (mine, fd) = Segment::create(&[7; 16], 3, 2, 4).expect("a memfd");
        let theirs = Segment::open(&Announced::of(&fd).expect("open"), &[7; 16], 3, 2, 4).expect("its own");
        mine.door().leave(1);
        let mut heard = Vec::new();
        theirs.door().take_mail(|index| heard.push(index));
        assert_eq!(heard, [1]);
        assert!(theirs.pair(1).is_some() && theirs.pair(2).is_none());
        assert!(theirs.block(3).is_some() && theirs.block(4).is_none());
    }

    #[test]
    fn a_segment_of_another_job_rank_or_shape_is_refused() {
        let (_mine, fd) = Segment::create(&[7; 16], 3, 2, 4).expect("a memfd");
        let announced = Announced::of(&fd).expect("open");
        assert!(Segment::open(&announced, &[8; 16], 3, 2, 4).is_err());
        assert!(Segment::open(&announced, &[7; 16], 2, 2, 4).is_err());
        assert!(Segment::open(&announced, &[7; 16], 3, 3, 4).is_err());
        let other = Announced { inode: announced.inode + 1, ..announced };
        assert!(Segment::open(&other, &[7; 16], 3, 2, 4).is_err());
    }
}
