//! The MPI library: initialisation, the calls that all ranks make together, probing, and the end. With
//! [`requests`](super::requests) the only place that calls MPI.

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use mpi::ffi;
use thiserror::Error;

use crate::TransportError;

/// The tag of all messages; the duplicated communicator keeps them apart from anybody else's.
pub(super) const TAG: c_int = 0;

/// An MPI call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{call} failed: {reason}")]
pub struct MpiError {
    call: &'static str,
    reason: String,
}

impl From<MpiError> for TransportError {
    fn from(MpiError { call, reason }: MpiError) -> Self {
        TransportError::Failed { call, reason }
    }
}

impl MpiError {
    pub(super) fn reason(self) -> String {
        self.reason
    }
}

/// Turns a return code into a result.
pub(super) fn check(call: &'static str, code: c_int) -> Result<(), MpiError> {
    // MPI 3.1, §8.4: MPI_SUCCESS is zero.
    if code == 0 { Ok(()) } else { Err(MpiError { call, reason: error_text(code) }) }
}

fn error_text(code: c_int) -> String {
    // MPI 3.1, §8.3: at least MPI_MAX_ERROR_STRING, which is 256 in OpenMPI, 512 in MPICH, 1024 in Intel MPI.
    let mut text = [0u8; 8192];
    let mut len = 0;
    // SAFETY: the buffer is longer than any implementation's MPI_MAX_ERROR_STRING and `len` is a valid place
    // for an int.
    let result = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast::<c_char>(), &mut len) };
    match usize::try_from(len).ok().and_then(|len| text.get(..len)) {
        Some(text) if result == 0 => String::from_utf8_lossy(text).trim().replace('\n', "; "),
        _ => format!("MPI error {code}"),
    }
}

/// What the MPI library calls itself (MPI 3.1, §8.1.1); may be asked before initialisation.
pub fn library_version() -> String {
    // SAFETY: reads a constant that the C side initialises at load time.
    let max = unsafe { ffi::RSMPI_MAX_LIBRARY_VERSION_STRING };
    let mut text = vec![0u8; usize::try_from(max).unwrap_or(0) + 1];
    let mut len = 0;
    // SAFETY: the buffer has MPI_MAX_LIBRARY_VERSION_STRING bytes and one more, `len` is a valid place for an
    // int.
    let result = unsafe { ffi::MPI_Get_library_version(text.as_mut_ptr().cast::<c_char>(), &mut len) };
    let text = text.get(..usize::try_from(len).unwrap_or(0)).filter(|_| result == 0).unwrap_or_default();
    String::from_utf8_lossy(text).trim_end_matches(['\0', '\n']).to_owned()
}

/// What [`Mpi::init`] can fail with.
pub(super) enum StartError {
    AlreadyInitialized,
    Threads,
    Mpi(MpiError),
}

impl From<MpiError> for StartError {
    fn from(error: MpiError) -> Self {
        StartError::Mpi(error)
    }
}

/// MPI, initialised, and a communicator of our own over all ranks whose errors return. Stays on the thread
/// that made it, as MPI_THREAD_FUNNELED demands (MPI 3.1, §12.4.3).
pub(super) struct Mpi {
    pub comm: ffi::MPI_Comm,
    _stays_on_its_thread: PhantomData<*const ()>,
}

/// A message that [`Mpi::probe`] has matched and that must be received.
pub(super) struct Probed {
    pub message: ffi::MPI_Message,
    pub source: u32,
    /// Bytes, or `None` where the library cannot say.
    pub len: Option<usize>,
}

impl Mpi {
    /// Initialises MPI, once in the life of the process, before it has other threads. While that lasts `variable` is in the
    /// environment.
    pub fn init(variable: Option<(&str, &str)>) -> Result<Self, StartError> {
        let mut is_initialized = 0;
        // SAFETY: may be called at any time; the argument is a valid place for an int.
        check("MPI_Initialized", unsafe { ffi::MPI_Initialized(&mut is_initialized) })?;
        if is_initialized != 0 {
            return Err(StartError::AlreadyInitialized);
        }
        let mut provided = 0;
        if let Some((name, value)) = variable {
            // SAFETY: no other thread reads the environment; there is none yet.
            unsafe { std::env::set_var(name, value) };
        }
        // SAFETY: MPI is not initialised; null for both arguments is allowed since MPI-2 (MPI 3.1, §8.7).
        let (result, wanted) = unsafe {
            let wanted = ffi::RSMPI_THREAD_FUNNELED;
            (ffi::MPI_Init_thread(ptr::null_mut(), ptr::null_mut(), wanted, &mut provided), wanted)
        };
        if let Some((name, _)) = variable {
            // SAFETY: threads that MPI has begun do not change the environment, and what it reads of it it has read.
            unsafe { std::env::remove_var(name) };
        }
        check("MPI_Init_thread", result)?;
        // MPI 3.1, §12.4.3: the levels are ordered.
        if provided < wanted {
            return Err(StartError::Threads);
        }
        // SAFETY: MPI is initialised; both are predefined handles.
        check("MPI_Comm_set_errhandler", unsafe {
            ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN)
        })?;
        let mut comm = MaybeUninit::uninit();
        // SAFETY: `comm` is a valid place for a handle. The new communicator takes over the error handler
        // (MPI 3.1, §8.3).
        check("MPI_Comm_dup", unsafe { ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, comm.as_mut_ptr()) })?;
        // SAFETY: MPI_Comm_dup succeeded and has written the handle.
        let comm = unsafe { comm.assume_init() };
        Ok(Mpi { comm, _stays_on_its_thread: PhantomData })
    }

    pub fn rank(&self) -> Result<u32, MpiError> {
        let mut rank = 0;
        // SAFETY: the communicator is live, `rank` is a valid place for an int.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.comm, &mut rank) })?;
        Ok(u32::try_from(rank).expect("ranks are not negative (MPI 3.1, §6.2)"))
    }

    pub fn size(&self) -> Result<u32, MpiError> {
        let mut size = 0;
        // SAFETY: the communicator is live, `size` is a valid place for an int.
        check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(self.comm, &mut size) })?;
        Ok(u32::try_from(size).expect("sizes are not negative (MPI 3.1, §6.2)"))
    }

    /// Gives rank 0's bytes to all. Every rank calls it, with the same length.
    pub fn broadcast(&self, bytes: &mut [u8]) -> Result<(), MpiError> {
        let count = c_int::try_from(bytes.len()).expect("only short values are broadcast");
        let data = bytes.as_mut_ptr().cast::<c_void>();
        // SAFETY: `data` is valid for `count` bytes until the call, which blocks, returns.
        check("MPI_Bcast", unsafe { ffi::MPI_Bcast(data, count, ffi::RSMPI_UINT8_T, 0, self.comm) })
    }

    /// Collects the bytes of all ranks, in rank order. Every rank calls it, with the same length.
    pub fn gather_to_all(&self, mine: &[u8], ranks: usize) -> Result<Vec<u8>, MpiError> {
        let count = c_int::try_from(mine.len()).expect("only short values are gathered");
        let mut all = vec![0u8; mine.len() * ranks];
        let (from, to) = (mine.as_ptr().cast::<c_void>(), all.as_mut_ptr().cast::<c_void>());
        // SAFETY: `from` is valid for `count` bytes and `to` for `count` bytes from each of the
        // communicator's `ranks`, until the call, which blocks, returns; they do not overlap.
        check("MPI_Allgather", unsafe {
            ffi::MPI_Allgather(from, count, ffi::RSMPI_UINT8_T, to, count, ffi::RSMPI_UINT8_T, self.comm)
        })?;
        Ok(all)
    }

    /// Matches a message that has arrived, from anybody (MPI 3.1, §3.8.2).
    pub fn probe(&self) -> Result<Option<Probed>, MpiError> {
        let mut flag = 0;
        let mut message = MaybeUninit::uninit();
        let mut status = MaybeUninit::uninit();
        // SAFETY: the communicator is live and all three are valid places for what is written.
        check("MPI_Improbe", unsafe {
            ffi::MPI_Improbe(
                ffi::RSMPI_ANY_SOURCE,
                TAG,
                self.comm,
                &mut flag,
                message.as_mut_ptr(),
                status.as_mut_ptr(),
            )
        })?;
        if flag == 0 {
            return Ok(None);
        }
        // SAFETY: with a true flag MPI_Improbe has written message and status (MPI 3.1, §3.8.2).
        let (message, status): (_, ffi::MPI_Status) =
            unsafe { (message.assume_init(), status.assume_init()) };
        let mut count = 0;
        // SAFETY: `status` is that of a matched message, `count` a valid place for an int.
        check("MPI_Get_count", unsafe { ffi::MPI_Get_count(&status, ffi::RSMPI_UINT8_T, &mut count) })?;
        let source =
            u32::try_from(status.MPI_SOURCE).expect("the source of a message is a rank (MPI 3.1, §3.2.5)");
        Ok(Some(Probed { message, source, len: usize::try_from(count).ok() }))
    }

    /// Ends MPI (MPI 3.1, §8.7). Every rank calls it; may hang where a peer has died.
    pub fn finalize(self) -> Result<(), MpiError> {
        // SAFETY: MPI is initialised, this is the thread that did it, and `self` is the only way to MPI.
        check("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
    }
}

/// Ends the process at once: no destructors, no buffered output, no exit handlers, which a library that hangs
/// would hang too.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) may be called from any thread at any time.
    unsafe { libc::_exit(code) }
}

/// A descriptor of our own for what descriptor `number` is open on, which the MPI library inherited and
/// keeps.
pub(super) fn duplicate(number: RawFd) -> Option<OwnedFd> {
    if number < 0 {
        return None;
    }
    // SAFETY: the borrow lives for this call only, in which fcntl(2) says where the number is not open.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().ok()
}

/// Makes descriptor `number` mean what `fd` is open on.
pub(super) fn replace(number: RawFd, fd: &OwnedFd) -> bool {
    // SAFETY: dup2(2) takes two integers. The caller knows that `number` belongs to the MPI library, which
    // only reads, writes and closes it, and may do so with another socket as well.
    unsafe { libc::dup2(fd.as_raw_fd(), number) == number }
}
