//! The few MPI calls of the relay, over `mpi::ffi`: rsmpi's own requests borrow their buffers for a scope, which a
//! ring of buffers that are used again and again does not fit.

use std::{marker::PhantomData, mem::MaybeUninit, ptr};

use anyhow::ensure;
use mpi::ffi;

/// The longest message.
pub const MESSAGE: usize = 64 << 10;
/// Sends under way at once.
const SLOTS: usize = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Bytes of the link.
    Bytes = 0,
    /// The receiver has consumed some more messages.
    Consumed = 1,
    /// No more bytes will come.
    Closed = 2,
}

/// MPI, initialised; only on the thread that did it.
pub struct Mpi {
    one_thread: PhantomData<*const ()>,
}

fn succeeded(what: &str, code: i32) -> anyhow::Result<()> {
    ensure!(code == ffi::MPI_SUCCESS as i32, "{what} failed with code {code}");
    Ok(())
}

impl Mpi {
    /// Initialises MPI (MPI-4.0 §11.2.1).
    pub fn init() -> anyhow::Result<Mpi> {
        // SAFETY: called once, before any other MPI call; null arguments are allowed (MPI-4.0 §11.2.1).
        succeeded("MPI_Init", unsafe { ffi::MPI_Init(ptr::null_mut(), ptr::null_mut()) })?;
        Ok(Mpi { one_thread: PhantomData })
    }

    /// This process's rank.
    pub fn rank(&self) -> anyhow::Result<i32> {
        let mut rank = 0;
        // SAFETY: MPI is initialised, the communicator is predefined, the result's address is valid.
        succeeded("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(ffi::RSMPI_COMM_WORLD, &mut rank) })?;
        Ok(rank)
    }

    /// How many ranks there are.
    pub fn size(&self) -> anyhow::Result<i32> {
        let mut size = 0;
        // SAFETY: as for `rank`.
        succeeded("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(ffi::RSMPI_COMM_WORLD, &mut size) })?;
        Ok(size)
    }

    /// The sending side towards a rank.
    pub fn outbound(&self, peer: i32) -> Outbound<'_> {
        let slots = (0..SLOTS).map(|_| Slot { bytes: vec![0; MESSAGE].into_boxed_slice(), request: None });
        Outbound { slots: slots.collect(), next: 0, peer, mpi: PhantomData }
    }

    /// The receiving side from a rank.
    pub fn inbound(&self, peer: i32) -> Inbound<'_> {
        Inbound { bytes: vec![0; MESSAGE].into_boxed_slice(), peer, mpi: PhantomData }
    }

    /// Ends MPI (MPI-4.0 §11.2.2).
    pub fn finalize(self) -> anyhow::Result<()> {
        // SAFETY: MPI is initialised, and `Outbound` and `Inbound` borrow `self`, so no request is left.
        succeeded("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
    }
}

struct Slot {
    bytes: Box<[u8]>,
    request: Option<ffi::MPI_Request>,
}

impl Slot {
    /// Whether the slot's send, if any, is complete.
    fn free(&mut self) -> anyhow::Result<bool> {
        let Some(request) = &mut self.request else { return Ok(true) };
        let mut done = 0;
        let mut status = MaybeUninit::uninit();
        // SAFETY: the request is one that MPI_Isend gave and that no call has completed; the addresses are valid.
        succeeded("MPI_Test", unsafe { ffi::MPI_Test(request, &mut done, status.as_mut_ptr()) })?;
        if done != 0 {
            self.request = None;
        }
        Ok(done != 0)
    }
}

/// A ring of buffers that are sent in turn.
pub struct Outbound<'a> {
    slots: Vec<Slot>,
    next: usize,
    peer: i32,
    mpi: PhantomData<&'a Mpi>,
}

impl Outbound<'_> {
    /// The buffer of the next message, unless its last one is still under way.
    pub fn slot(&mut self) -> anyhow::Result<Option<&mut [u8]>> {
        let slot = &mut self.slots[self.next];
        Ok(if slot.free()? { Some(&mut slot.bytes) } else { None })
    }

    /// Sends the first `len` bytes of the buffer that [`Outbound::slot`] gave.
    pub fn send(&mut self, len: usize, tag: Tag) -> anyhow::Result<()> {
        let slot = &mut self.slots[self.next];
        ensure!(slot.request.is_none() && len <= MESSAGE, "the slot is not free for {len} bytes");
        let mut request = MaybeUninit::uninit();
        // SAFETY: the buffer is on the heap, as long as `len` at least, and neither read nor written by us until
        // MPI_Test has completed the request: `slot` gives it out only then, and `drop` waits for it.
        let code = unsafe {
            ffi::MPI_Isend(
                slot.bytes.as_ptr().cast(),
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
        slot.request = Some(unsafe { request.assume_init() });
        self.next = (self.next + 1) % self.slots.len();
        Ok(())
    }

    /// Whether nothing is under way.
    pub fn idle(&mut self) -> anyhow::Result<bool> {
        for slot in &mut self.slots {
            if !slot.free()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Outbound<'_> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if !matches!(slot.free(), Ok(true)) {
                // MPI may still read it: better lost than reused.
                std::mem::forget(std::mem::take(&mut slot.bytes));
            }
        }
    }
}

/// A buffer for the message that came last.
pub struct Inbound<'a> {
    bytes: Box<[u8]>,
    peer: i32,
    mpi: PhantomData<&'a Mpi>,
}

impl Inbound<'_> {
    /// Receives a message if there is one: what it is, and its length in [`Inbound::bytes`].
    pub fn receive(&mut self) -> anyhow::Result<Option<(Tag, usize)>> {
        let mut found = 0;
        let mut message = MaybeUninit::uninit();
        let mut status = MaybeUninit::uninit();
        // SAFETY: all addresses are valid; any tag is asked for by MPI's own constant (MPI-4.0 §3.8.2).
        let code = unsafe {
            ffi::MPI_Improbe(
                self.peer,
                ffi::RSMPI_ANY_TAG,
                ffi::RSMPI_COMM_WORLD,
                &mut found,
                message.as_mut_ptr(),
                status.as_mut_ptr(),
            )
        };
        succeeded("MPI_Improbe", code)?;
        if found == 0 {
            return Ok(None);
        }
        // SAFETY: a probe that found a message has set both.
        let (mut message, mut status) = unsafe { (message.assume_init(), status.assume_init()) };
        let mut len = 0;
        // SAFETY: the status is the one of the probe.
        succeeded("MPI_Get_count", unsafe { ffi::MPI_Get_count(&status, ffi::RSMPI_UINT8_T, &mut len) })?;
        ensure!(
            (0..=MESSAGE as i32).contains(&len),
            "a message of {len} bytes is over the limit of {MESSAGE}"
        );
        let tag = match status.MPI_TAG {
            0 => Tag::Bytes,
            1 => Tag::Consumed,
            2 => Tag::Closed,
            tag => anyhow::bail!("a message with the unknown tag {tag}"),
        };
        // SAFETY: the buffer has room for `len` bytes, as just compared, and the call returns when they are there.
        let code = unsafe {
            ffi::MPI_Mrecv(self.bytes.as_mut_ptr().cast(), len, ffi::RSMPI_UINT8_T, &mut message, &mut status)
        };
        succeeded("MPI_Mrecv", code)?;
        Ok(Some((tag, len as usize)))
    }

    /// What the last message brought.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
