//! The other side of the memory: what a driver does to it.

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use super::*;

/// A file of `len` zeros in memory, sealed as qemu's memory-backend-memfd seals it.
pub(in super::super) fn sealed_file(len: usize) -> Result<OwnedFd, Errno> {
    let file = memfd_create("guest-memory", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    ftruncate(&file, i64::try_from(len).map_err(|_| Errno::EFBIG)?)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

impl Area {
    /// All of a file of `len` octets.
    pub(in super::super) fn of_file(file: &OwnedFd, len: usize) -> Result<Area, Errno> {
        let mapping = Mapping::new(file, NonZeroUsize::new(len).ok_or(Errno::EINVAL)?)?;
        Ok(Area { mapping: Arc::new(mapping), offset: 0, len })
    }

    #[inline]
    pub(in super::super) fn load_u32(&self, at: usize) -> u32 {
        // SAFETY: inside the mapping and at its boundary.
        u32::from_le(unsafe { AtomicU32::from_ptr(self.at(at, 4).cast()) }.load(Ordering::Relaxed))
    }

    #[inline]
    pub(in super::super) fn store_u64(&self, at: usize, number: u64) {
        // SAFETY: inside the mapping and at its boundary.
        unsafe { AtomicU64::from_ptr(self.at(at, 8).cast()) }.store(number.to_le(), Ordering::Relaxed);
    }

    /// Copies from the area, beginning at `at`.
    #[inline]
    pub(in super::super) fn read(&self, at: usize, into: &mut [u8]) {
        assert!(at + into.len() <= self.len, "a copy beyond the area");
        self.mapping.read(self.offset + at, into);
    }

    /// Copies into the area, beginning at `at`.
    #[inline]
    pub(in super::super) fn write(&self, at: usize, from: &[u8]) {
        assert!(at + from.len() <= self.len, "a copy beyond the area");
        self.mapping.write(self.offset + at, from);
    }
}
