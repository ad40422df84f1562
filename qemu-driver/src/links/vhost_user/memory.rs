//! The guest's memory: the regions that the front end hands over, mapped, and every access to them.
//!
//! The guest writes to this memory while it is read here. There is no reference to it, therefore, only addresses:
//! numbers are loaded and stored whole and once, atomically or volatile, and frames are copied out and in. What
//! has been copied is ours and does not change any more. All `unsafe` of the data path is in this file, and every
//! access to memory in it is checked against the mapping that it is in.
//!
//! The table is our own. `vm-memory` would do: but its slices end with the borrow of the table, so that a ring could
//! not keep them, and every one of the six accesses per frame would look its region up. Nor does it know of
//! a front end's addresses, in which rings are given.
#![allow(unsafe_code, reason = "memory that is shared with a guest")]

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;

use super::messages::RegionEntry;

/// Why a region cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MemoryError {
    /// No octets, or more than there are addresses.
    #[error("a region of {len} octets at {address:#x} that begins {offset:#x} octets into its file")]
    Extent {
        /// Its address in the guest.
        address: u64,
        /// Its length in octets.
        len: u64,
        /// Where it begins in its file.
        offset: u64,
    },
    /// The region goes on beyond its file.
    #[error("a region that ends at {end:#x} of a file of {file_len:#x} octets")]
    BeyondFile {
        /// Where the region ends in the file.
        end: u64,
        /// The file's length in octets.
        file_len: u64,
    },
    /// Somebody could cut the file off, and the next access would be SIGBUS.
    #[error(
        "the memory's file is not sealed against shrinking (memory-backend-memfd seals, other kinds do not)"
    )]
    Unsealed,
    /// The system said so.
    #[error("the memory cannot be mapped: {0}")]
    System(Errno),
}

/// A file's beginning in our memory, shared with other processes. Unmapped when nothing uses it any more.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is of no thread, and is accessed by address only, as memory that others write to.
unsafe impl Send for Mapping {}
// SAFETY: as above: what another thread does to it is no other than what a guest does.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` octets of a file that is as long and will never be shorter.
    fn new(file: &OwnedFd, len: NonZeroUsize) -> Result<Mapping, Errno> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: without a wanted address nothing that is mapped already is touched.
        let start = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Mapping { start: start.cast(), len: len.get() })
    }

    /// The address of `len` octets from `offset` on, as a multiple of `align`.
    #[inline]
    fn at(&self, offset: usize, len: usize, align: usize) -> *mut u8 {
        assert!(offset <= self.len && len <= self.len - offset, "an access beyond the mapping");
        assert!(offset.is_multiple_of(align), "a number that is not at its boundary");
        // SAFETY: the offset is inside the mapping, or at its end, as was checked.
        unsafe { self.start.as_ptr().add(offset) }
    }

    #[inline]
    fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len(), 1);
        // SAFETY: the source is inside the mapping; the target is ours and so cannot overlap it. The guest may write
        // meanwhile: then the copy is of no value to it, but it is a copy.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    #[inline]
    fn write(&self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len(), 1);
        // SAFETY: as for reading. No reference to the mapping's memory exists.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    /// A number of eight octets at any address, read once.
    #[inline]
    fn read_u64(&self, offset: usize) -> u64 {
        let from = self.at(offset, 8, 1);
        let bytes = if offset.is_multiple_of(8) {
            // SAFETY: inside the mapping, which begins at a page, and at a multiple of eight.
            return u64::from_le(unsafe { from.cast::<u64>().read_volatile() });
        } else {
            // SAFETY: inside the mapping; octets are anywhere.
            unsafe { from.cast::<[u8; 8]>().read_volatile() }
        };
        u64::from_le_bytes(bytes)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and what could access it is gone.
        let _ = unsafe { munmap(self.start.cast::<c_void>(), self.len) };
    }
}

/// A region, mapped.
#[derive(Debug)]
struct Region {
    guest_address: u64,
    front_address: u64,
    len: u64,
    /// Where it begins in the mapping.
    offset: usize,
    mapping: Arc<Mapping>,
}

impl Region {
    fn new(entry: &RegionEntry, file: &OwnedFd) -> Result<Region, MemoryError> {
        let RegionEntry { guest_address, len, front_address, file_offset } = *entry;
        let extent = MemoryError::Extent { address: guest_address, len, offset: file_offset };
        let is_endless = |address: u64| address.checked_add(len).is_none();
        if len == 0 || is_endless(guest_address) || is_endless(front_address) {
            return Err(extent);
        }
        let end = file_offset.checked_add(len).ok_or(extent)?;
        let seals = fcntl(file, FcntlArg::F_GET_SEALS).map_err(|_| MemoryError::Unsealed)?;
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK) {
            return Err(MemoryError::Unsealed);
        }
        // After the seal was seen: the file is never shorter again.
        let state = fstat(file).map_err(MemoryError::System)?;
        let file_len = u64::try_from(state.st_size).unwrap_or(0);
        if end > file_len {
            return Err(MemoryError::BeyondFile { end, file_len });
        }
        // From the file's beginning: offsets need not be at the boundaries of pages, and of huge ones least. Those must
        // be unmapped whole, which the block's size of such files is.
        let block = u64::try_from(state.st_blksize).unwrap_or(1).max(1);
        let whole = end.checked_next_multiple_of(block).ok_or(extent)?;
        let whole = usize::try_from(whole).ok().and_then(NonZeroUsize::new).ok_or(extent)?;
        let mapping = Arc::new(Mapping::new(file, whole).map_err(MemoryError::System)?);
        let offset = usize::try_from(file_offset).map_err(|_| extent)?;
        Ok(Region { guest_address, front_address, len, offset, mapping })
    }

    /// Where in the mapping `len` octets are that begin `distance` behind the region's beginning.
    #[inline]
    fn place(&self, distance: u64, len: u64) -> Option<usize> {
        // Both fit into what fits into the mapping.
        (distance < self.len && len <= self.len - distance).then(|| self.offset + distance as usize)
    }
}

/// A run of octets in the guest's memory, inside one region of the table that found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    region: usize,
    offset: usize,
    len: usize,
}

impl Piece {
    /// Octets.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// Where it is in its region's file.
    #[cfg(test)]
    pub(super) fn offset(self) -> usize {
        self.offset
    }
}

/// The memory of a guest.
#[derive(Debug, Default)]
pub(super) struct GuestMemory {
    regions: Vec<Region>,
    /// The region that was asked for last: nearly always the next one too.
    last: usize,
}

impl GuestMemory {
    /// Maps a memory table with its files.
    pub(super) fn map(entries: &[RegionEntry], files: &[OwnedFd]) -> Result<GuestMemory, MemoryError> {
        let regions = entries.iter().zip(files).map(|(entry, file)| Region::new(entry, file));
        Ok(GuestMemory { regions: regions.collect::<Result<_, _>>()?, last: 0 })
    }

    /// Finds what a descriptor speaks of. `None` if it is not inside one region.
    #[inline]
    pub(super) fn piece(&mut self, address: u64, len: u32) -> Option<Piece> {
        let inside = |region: &Region| {
            let distance = address.wrapping_sub(region.guest_address);
            region.place(distance, u64::from(len))
        };
        let found = |region, offset| Piece { region, offset, len: len as usize };
        if let Some(offset) = self.regions.get(self.last).and_then(inside) {
            return Some(found(self.last, offset));
        }
        let (region, offset) =
            self.regions.iter().enumerate().find_map(|(n, region)| Some((n, inside(region)?)))?;
        self.last = region;
        Some(found(region, offset))
    }

    /// Finds a part of a ring, at an address of the front end's process.
    pub(super) fn area(&self, address: u64, len: usize, align: u64) -> Option<Area> {
        if !address.is_multiple_of(align) {
            return None;
        }
        let found = self.regions.iter().find_map(|region| {
            let distance = address.wrapping_sub(region.front_address);
            Some((region, region.place(distance, len as u64)?))
        });
        let (region, offset) = found?;
        // The front end's address is a multiple; the mapping's need not be, if the file's offset is odd.
        let is_aligned = (offset as u64).is_multiple_of(align);
        is_aligned.then(|| Area { mapping: region.mapping.clone(), offset, len })
    }

    /// Copies from the guest, beginning `skip` octets into the piece.
    #[inline]
    pub(super) fn read(&self, piece: Piece, skip: usize, into: &mut [u8]) {
        assert!(skip + into.len() <= piece.len, "a copy beyond its piece");
        self.regions[piece.region].mapping.read(piece.offset + skip, into);
    }

    /// Copies to the guest, beginning `skip` octets into the piece.
    #[inline]
    pub(super) fn write(&self, piece: Piece, skip: usize, from: &[u8]) {
        assert!(skip + from.len() <= piece.len, "a copy beyond its piece");
        self.regions[piece.region].mapping.write(piece.offset + skip, from);
    }

    /// A little-endian number, `skip` octets into the piece.
    #[inline]
    pub(super) fn read_u64(&self, piece: Piece, skip: usize) -> u64 {
        assert!(skip + 8 <= piece.len, "a number beyond its piece");
        self.regions[piece.region].mapping.read_u64(piece.offset + skip)
    }
}

/// A part of a ring. Keeps its mapping, whatever becomes of the memory table. All numbers are little-endian.
#[derive(Clone, Debug)]
pub(super) struct Area {
    mapping: Arc<Mapping>,
    offset: usize,
    len: usize,
}

impl Area {
    #[inline]
    fn at(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at + len <= self.len, "an access beyond the ring");
        self.mapping.at(self.offset + at, len, len)
    }

    #[inline]
    pub(super) fn load_u16(&self, at: usize, ordering: Ordering) -> u16 {
        // SAFETY: inside the mapping and at its boundary; all accesses to it from here are atomic.
        u16::from_le(unsafe { AtomicU16::from_ptr(self.at(at, 2).cast()) }.load(ordering))
    }

    #[inline]
    pub(super) fn store_u16(&self, at: usize, number: u16, ordering: Ordering) {
        // SAFETY: as for loading.
        unsafe { AtomicU16::from_ptr(self.at(at, 2).cast()) }.store(number.to_le(), ordering);
    }

    #[inline]
    pub(super) fn store_u32(&self, at: usize, number: u32) {
        // SAFETY: as for loading.
        unsafe { AtomicU32::from_ptr(self.at(at, 4).cast()) }.store(number.to_le(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn load_u64(&self, at: usize) -> u64 {
        // SAFETY: as for loading.
        u64::from_le(unsafe { AtomicU64::from_ptr(self.at(at, 8).cast()) }.load(Ordering::Relaxed))
    }
}

#[cfg(any(test, feature = "vhost-front"))]
mod driver;
#[cfg(any(test, feature = "vhost-front"))]
pub(super) use driver::sealed_file;
#[cfg(test)]
mod tests;
