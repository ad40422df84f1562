//! A page of memory that the ranks of one host share: where a rank says that it sleeps.
//!
//! The page is a memfd, which leaves no file behind. Peers open it through `/proc/PID/fd`, which the system
//! allows to processes of the same user that see each other's pid, and believe it only when the job's key
//! stands in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;

/// A random number that only the ranks of one job know.
pub(super) type Key = [u8; 16];

/// Smaller than a page of any machine, and mapped as one.
const PAGE_LEN: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");

/// `sleep`, the owner's rank, and the key in four words. Atomics only: other processes write here.
#[repr(C)]
struct Layout {
    sleep: AtomicU32,
    rank: AtomicU32,
    key: [AtomicU32; 4],
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// A rank's page, mapped by itself or by a peer.
pub(super) struct SleepPage {
    start: NonNull<Layout>,
}

impl SleepPage {
    /// Makes this rank's own page. The descriptor is what peers open; it has to stay open as long as they may
    /// come.
    pub fn create(key: &Key, rank: u32) -> io::Result<(Self, OwnedFd)> {
        let fd = memfd_create("mvpnet-sleep", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&fd, 4096)?;
        // A page that cannot shrink cannot take the memory away from under a peer.
        fcntl(
            &fd,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
        )?;
        let page = SleepPage::map(&fd)?;
        page.layout().rank.store(rank, Ordering::Relaxed);
        for (word, bytes) in page.layout().key.iter().zip(key_words(key)) {
            word.store(bytes, Ordering::Relaxed);
        }
        Ok((page, fd))
    }

    /// Maps the page that rank `rank` made, process `pid` holds as descriptor `fd` and whose inode is
    /// `inode`.
    pub fn open(pid: u32, fd: i32, inode: u64, key: &Key, rank: u32) -> io::Result<Self> {
        let file = open_of(pid, fd, inode, OpenOptions::new().read(true).write(true))?;
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SealFlag::F_SEAL_SHRINK) || file.metadata()?.len() < PAGE_LEN.get() as u64 {
            return Err(io::Error::other("not a page of ours"));
        }
        let page = SleepPage::map(&file)?;
        let layout = page.layout();
        let is_ours = layout.rank.load(Ordering::Relaxed) == rank
            && layout
                .key
                .iter()
                .zip(key_words(key))
                .all(|(word, bytes)| word.load(Ordering::Relaxed) == bytes);
        if is_ours { Ok(page) } else { Err(io::Error::other("a page of another job")) }
    }

    fn map(fd: impl AsFd) -> io::Result<Self> {
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping at an address that the system chooses; no memory of ours is touched.
        let start = unsafe { mmap(None, PAGE_LEN, prot, MapFlags::MAP_SHARED, fd, 0)? };
        Ok(SleepPage { start: start.cast() })
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is page-aligned, 4096 bytes long, lives as long as `self` and is of a file that
        // is sealed against shrinking; any bytes are a valid `Layout`, which has atomics only, so other
        // processes may write to it.
        unsafe { self.start.as_ref() }
    }

    /// This rank goes to sleep; the caller looks for work afterwards. The fence pairs with that of
    /// [`SleepPage::take_sleep`]: either the sleeper finds the work or the waker finds the sleeper.
    pub fn sleep(&self) {
        self.layout().sleep.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// This rank is awake. True where a peer had taken the sleep away, and so rings or has rung.
    pub fn wake(&self) -> bool {
        self.layout().sleep.swap(AWAKE, Ordering::AcqRel) == AWAKE
    }

    /// Called by a peer that has sent: true where the rank slept and this caller is the one to ring.
    pub fn take_sleep(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleep = &self.layout().sleep;
        sleep.load(Ordering::Relaxed) != AWAKE && sleep.swap(AWAKE, Ordering::AcqRel) != AWAKE
    }
}

impl Drop for SleepPage {
    fn drop(&mut self) {
        // SAFETY: `start` is what mmap returned for this length, and no reference into it outlives `self`.
        // Failure is impossible for a mapping that exists, and harmless.
        let _ = unsafe { munmap(self.start.cast(), PAGE_LEN.get()) };
    }
}

/// Opens what another process has open, and makes sure that it is what that process announced.
pub(super) fn open_of(pid: u32, fd: i32, inode: u64, how: &OpenOptions) -> io::Result<File> {
    let file = how.open(format!("/proc/{pid}/fd/{fd}"))?;
    if file.metadata()?.ino() == inode {
        Ok(file)
    } else {
        Err(io::Error::other("not what the peer announced"))
    }
}

/// The number and inode under which a peer finds an open descriptor.
pub(super) fn announce(fd: &OwnedFd) -> io::Result<(i32, u64)> {
    let stat = nix::sys::stat::fstat(fd)?;
    Ok((fd.as_raw_fd(), stat.st_ino))
}

fn key_words(key: &Key) -> [u32; 4] {
    let (words, _) = key.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_ne_bytes(words[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> (SleepPage, (i32, u64), OwnedFd) {
        let (page, fd) = SleepPage::create(&[7; 16], 3).expect("a memfd");
        let found = announce(&fd).expect("an open descriptor");
        (page, found, fd)
    }

    #[test]
    fn a_peer_sees_the_sleep_and_only_one_takes_it() {
        let (mine, (fd, inode), _held) = page();
        let peer = SleepPage::open(std::process::id(), fd, inode, &[7; 16], 3).expect("its own page");
        assert!(!peer.take_sleep());
        mine.sleep();
        assert!(peer.take_sleep());
        assert!(!peer.take_sleep());
        assert!(mine.wake());
        mine.sleep();
        assert!(!mine.wake());
    }

    #[test]
    fn a_page_of_another_job_or_rank_is_refused() {
        let (_mine, (fd, inode), _held) = page();
        let pid = std::process::id();
        assert!(SleepPage::open(pid, fd, inode, &[8; 16], 3).is_err());
        assert!(SleepPage::open(pid, fd, inode, &[7; 16], 2).is_err());
        assert!(SleepPage::open(pid, fd, inode + 1, &[7; 16], 3).is_err());
    }
}
