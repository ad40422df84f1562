//! The few MPI calls of the messages, over `mpi::ffi`: rsmpi's own requests borrow their buffers for a scope, which
//! buffers that are used again and again do not fit.

use std::{marker::PhantomData, mem::MaybeUninit, ptr};

use anyhow::{bail, ensure};
use mpi::ffi;

/// The longest message.
pub(super) const MESSAGE: usize = 64 << 10;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// Bytes.
    Bytes = 0,
    /// No more bytes will come.
    Closed = 1,
}

/// MPI, initialised; only on the thread that did it.
pub(super) struct Mpi {
    one_thread: PhantomData<*const ()>,
}

fn succeeded(what: &str, code: i32) -> anyhow::Result<()> {
    ensure!(code == ffi::MPI_SUCCESS as i32, "{what} failed with code {code}");
    Ok(())
}

impl Mpi {
    /// Initialises MPI (MPI-4.0 §11.2.1).
    pub(super) fn init() -> anyhow::Result<Mpi> {
        // SAFETY: called once, before any other MPI call; null arguments are allowed (MPI-4.0 §11.2.1).
        succeeded("MPI_Init", unsafe { ffi::MPI_Init(ptr::null_mut(), ptr::null_mut()) })?;
        Ok(Mpi { one_thread: PhantomData })
    }

    /// This process's rank.
    pub(super) fn rank(&self) -> anyhow::Result<i32> {
        let mut rank = 0;
        // SAFETY: MPI is initialised, the communicator is predefined, the result's address is valid.
        succeeded("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(ffi::RSMPI_COMM_WORLD, &mut rank) })?;
        Ok(rank)
    }

    /// How many ranks there are.
    pub(super) fn size(&self) -> anyhow::Result<i32> {
        let mut size = 0;
        // SAFETY: as for `rank`.
        succeeded("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(ffi::RSMPI_COMM_WORLD, &mut size) })?;
        Ok(size)
    }

    /// A buffer for messages to or from a rank.
    pub(super) fn slot(&self, peer: i32) -> Slot<'_> {
        Slot { bytes: vec![0; MESSAGE].into_boxed_slice(), request: None, peer, mpi: PhantomData }
    }

    /// Ends MPI (MPI-4.0 §11.2.2).
    pub(super) fn finalize(self) -> anyhow::Result<()> {
        // SAFETY: MPI is initialised, and slots borrow `self`, so no request is left.
        succeeded("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
    }
}

/// A buffer that is sent from or received into again and again.
pub(super) struct Slot<'a> {
    bytes: Box<[u8]>,
    request: Option<ffi::MPI_Request>,
    peer: i32,
    mpi: PhantomData<&'a Mpi>,
}

impl Slot<'_> {
    /// Whether a message is under way.
    pub(super) fn is_active(&self) -> bool {
        self.request.is_some()
    }

    /// Looks whether the message under way is complete: what it was, and its length.
    pub(super) fn test(&mut self) -> anyhow::Result<Option<(Tag, usize)>> {
        let Some(request) = &mut self.request else { return Ok(None) };
        let mut done = 0;
        let mut status = MaybeUninit::uninit();
        // SAFETY: the request is one that MPI gave and that no call has completed; the addresses are valid.
        succeeded("MPI_Test", unsafe { ffi::MPI_Test(request, &mut done, status.as_mut_ptr()) })?;
        if done == 0 {
            return Ok(None);
        }
        self.request = None;
        // SAFETY: a test that found the request complete has set it; every field of it is an integer.
        let status = unsafe { status.assume_init() };
        let mut len = 0;
        // SAFETY: the status is the one of the test.
        succeeded("MPI_Get_count", unsafe { ffi::MPI_Get_count(&status, ffi::RSMPI_UINT8_T, &mut len) })?;
        // A completed send's status says nothing, and nobody asks for it.
        let tag = if status.MPI_TAG == Tag::Closed as i32 { Tag::Closed } else { Tag::Bytes };
        Ok(Some((tag, usize::try_from(len).unwrap_or(0))))
    }

    /// Starts to send the first `len` bytes.
    pub(super) fn send(&mut self, len: usize, tag: Tag) -> anyhow::Result<()> {
        self.must_be_free(len)?;
        let mut request = MaybeUninit::uninit();
        // SAFETY: the buffer is on the heap, as long as `len` at least, and neither touched nor freed until MPI_Test has
        // completed the request: `must_be_free` and `drop` see to it.
        let code = unsafe {
            ffi::MPI_Isend(
                self.bytes.as_ptr().cast(),
                len as i32,
                ffi::RSMPI_UINT8_T,
                self.peer,
                tag as i32,
                ffi::RSMPI_COMM_WORLD,
                request.as_mut_ptr(),
            )
        };
        succeeded("MPI_Isend", code)?;
        // SAFETY: a successful MPI_Isend has set it.
        self.request = Some(unsafe { request.assume_init() });
        Ok(())
    }

    /// Starts to receive a message.
    pub(super) fn receive(&mut self) -> anyhow::Result<()> {
        self.must_be_free(MESSAGE)?;
        let mut request = MaybeUninit::uninit();
        // SAFETY: as for `send`; any tag is asked for by MPI's own constant (MPI-4.0 §3.2.4).
        let code = unsafe {
            ffi::MPI_Irecv(
                self.bytes.as_mut_ptr().cast(),
                MESSAGE as i32,
                ffi::RSMPI_UINT8_T,
                self.peer,
                ffi::RSMPI_ANY_TAG,
                ffi::RSMPI_COMM_WORLD,
                request.as_mut_ptr(),
            )
        };
        succeeded("MPI_Irecv", code)?;
        // SAFETY: a successful MPI_Irecv has set it.
        self.request = Some(unsafe { request.assume_init() });
        Ok(())
    }

    fn must_be_free(&self, len: usize) -> anyhow::Result<()> {
        if self.is_active() || len > self.bytes.len() {
            bail!("the slot is not free for {len} bytes");
        }
        Ok(())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.test().is_err() || self.is_active() {
            // MPI may still use it: better lost than reused.
            std::mem::forget(std::mem::take(&mut self.bytes));
        }
    }
}
