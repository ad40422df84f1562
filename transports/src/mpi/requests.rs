//! What MPI is working on: sends, receives and the barrier at the end, each with the buffer that it reads or
//! writes.
//!
//! MPI owns a buffer from the moment that its request is made until a test says that it is complete (MPI 3.1,
//! §3.7.2). So request and buffer are made, tested and given back together, and what is still active when
//! these types are dropped, on a panic for instance, is leaked and not freed.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};

use mpi::ffi;

use super::ffi::{Mpi, MpiError, Probed, TAG, check};
use crate::batch::Buffer;

/// Sends that are not complete.
#[derive(Default)]
pub(super) struct Sends {
    /// In step with `flights`: MPI_Testsome wants them side by side.
    requests: Vec<ffi::MPI_Request>,
    flights: Vec<Flight>,
    indices: Vec<c_int>,
}

struct Flight {
    /// Whose send it is, as the caller numbers its peers.
    slot: usize,
    buffer: Buffer,
}

impl Sends {
    /// Starts to send a buffer's message to rank `to` (MPI 3.1, §3.7.2). Where that fails the buffer comes
    /// back.
    pub fn start(
        &mut self,
        mpi: &Mpi,
        to: u32,
        slot: usize,
        buffer: Buffer,
    ) -> Result<(), (MpiError, Buffer)> {
        let message = buffer.message();
        let count = c_int::try_from(message.len()).expect("a batch is shorter than 2 GiB");
        let to = c_int::try_from(to).expect("the rank came from MPI, which counts in int");
        let data = message.as_ptr().cast::<c_void>();
        let mut request = MaybeUninit::uninit();
        // SAFETY: `data` points into the buffer's heap block, which stays where it is while the buffer moves
        // into `flights` and is neither changed nor freed before the request is complete (see the module's
        // doc).
        let result = unsafe {
            ffi::MPI_Isend(data, count, ffi::RSMPI_UINT8_T, to, TAG, mpi.comm, request.as_mut_ptr())
        };
        if let Err(error) = check("MPI_Isend", result) {
            return Err((error, buffer));
        }
        // SAFETY: MPI_Isend succeeded and has written the request.
        self.requests.push(unsafe { request.assume_init() });
        self.flights.push(Flight { slot, buffer });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Bytes of records in flight.
    pub fn bytes(&self) -> usize {
        self.flights.iter().map(|flight| flight.buffer.records().len()).sum()
    }

    /// Lets MPI work and gives back what is complete (MPI 3.1, §3.7.5).
    pub fn test(&mut self, mut complete: impl FnMut(usize, Buffer)) -> Result<(), MpiError> {
        if self.requests.is_empty() {
            return Ok(());
        }
        self.indices.resize(self.requests.len(), 0);
        let mut done = 0;
        let count = c_int::try_from(self.requests.len()).expect("there are fewer sends than 2^31");
        // SAFETY: `requests` and `indices` both have `count` elements; statuses may be ignored (MPI 3.1,
        // §3.2.6).
        let result = unsafe {
            let statuses = ffi::RSMPI_STATUSES_IGNORE;
            ffi::MPI_Testsome(
                count,
                self.requests.as_mut_ptr(),
                &mut done,
                self.indices.as_mut_ptr(),
                statuses,
            )
        };
        check("MPI_Testsome", result)?;
        // MPI_UNDEFINED, which is negative, says that no request was active.
        let done = usize::try_from(done).unwrap_or(0);
        let indices = &mut self.indices[..done];
        // From the end, so that a removal moves no element that is still to be looked at.
        indices.sort_unstable();
        for index in indices.iter().rev() {
            let index = usize::try_from(*index).expect("indices of MPI_Testsome are positions in its array");
            self.requests.swap_remove(index);
            let Flight { slot, buffer } = self.flights.swap_remove(index);
            complete(slot, buffer);
        }
        Ok(())
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        // Active requests still read the buffers.
        mem::forget(mem::take(&mut self.flights));
    }
}

/// Receives in the order in which their messages were matched.
#[derive(Default)]
pub(super) struct Receives {
    queue: VecDeque<Receive>,
}

/// A message that is being received.
struct Receive {
    /// `None` once complete.
    request: Option<ffi::MPI_Request>,
    source: u32,
    /// Length of the message, which may be less than the buffer was given.
    len: usize,
    /// Whether [`Receives::overhear`] has shown it.
    is_overheard: bool,
    buffer: Buffer,
}

/// A message that has been received whole.
pub(super) struct Received {
    pub source: u32,
    pub len: usize,
    pub buffer: Buffer,
}

impl Receives {
    /// Starts to receive a matched message into a buffer that has room for it (MPI 3.1, §3.8.3), and sees
    /// whether it is there already, as short messages are.
    pub fn start(&mut self, probed: Probed, len: usize, mut buffer: Buffer) -> Result<(), MpiError> {
        let Probed { mut message, source, .. } = probed;
        let room = buffer
            .message_mut(len.max(crate::batch::BATCH_HEADER_LEN))
            .expect("the caller chose the buffer by the length");
        let count = c_int::try_from(room.len()).expect("a batch is shorter than 2 GiB");
        let data = room.as_mut_ptr().cast::<c_void>();
        let mut request = MaybeUninit::uninit();
        // SAFETY: `message` was matched and is received once; `data` is valid for `count` bytes in the
        // buffer's heap block, which stays where it is while the buffer moves into `queue` and is not touched
        // before the request is complete.
        let result =
            unsafe { ffi::MPI_Imrecv(data, count, ffi::RSMPI_UINT8_T, &mut message, request.as_mut_ptr()) };
        check("MPI_Imrecv", result)?;
        // SAFETY: MPI_Imrecv succeeded and has written the request.
        let request = unsafe { request.assume_init() };
        self.queue.push_back(Receive { request: Some(request), source, len, is_overheard: false, buffer });
        self.queue.back_mut().map_or(Ok(()), Receive::test)
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether a message is complete.
    pub fn has_complete(&mut self) -> Result<bool, MpiError> {
        for receive in &mut self.queue {
            receive.test()?;
            if receive.request.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows every message that is complete, once, without giving it away.
    pub fn overhear(&mut self, mut hear: impl FnMut(u32, usize, &Buffer)) -> Result<(), MpiError> {
        for receive in self.queue.iter_mut().filter(|receive| !receive.is_overheard) {
            receive.test()?;
            if receive.request.is_none() {
                receive.is_overheard = true;
                hear(receive.source, receive.len, &receive.buffer);
            }
        }
        Ok(())
    }

    /// The first message that is complete and not behind another of the same sender.
    pub fn next(&mut self) -> Result<Option<Received>, MpiError> {
        for at in 0..self.queue.len() {
            let receive = &mut self.queue[at];
            receive.test()?;
            let source = receive.source;
            if receive.request.is_none() && self.queue.iter().take(at).all(|earlier| earlier.source != source)
            {
                let Receive { source, len, buffer, .. } =
                    self.queue.remove(at).expect("the position is in the queue");
                return Ok(Some(Received { source, len, buffer }));
            }
        }
        Ok(None)
    }
}

impl Receive {
    fn test(&mut self) -> Result<(), MpiError> {
        if let Some(request) = &mut self.request
            && test(request)?
        {
            self.request = None;
        }
        Ok(())
    }
}

impl Drop for Receives {
    fn drop(&mut self) {
        // Active requests still write to the buffers.
        mem::forget(mem::take(&mut self.queue));
    }
}

/// A barrier that does not block (MPI 3.1, §5.12.1).
pub(super) struct Barrier {
    request: ffi::MPI_Request,
}

impl Barrier {
    pub fn enter(mpi: &Mpi) -> Result<Self, MpiError> {
        let mut request = MaybeUninit::uninit();
        // SAFETY: the communicator is live and `request` a valid place for a handle.
        check("MPI_Ibarrier", unsafe { ffi::MPI_Ibarrier(mpi.comm, request.as_mut_ptr()) })?;
        // SAFETY: MPI_Ibarrier succeeded and has written the request.
        Ok(Barrier { request: unsafe { request.assume_init() } })
    }

    /// Whether all ranks have entered.
    pub fn is_passed(&mut self) -> Result<bool, MpiError> {
        test(&mut self.request)
    }
}

fn test(request: &mut ffi::MPI_Request) -> Result<bool, MpiError> {
    let mut flag = 0;
    // SAFETY: the request is active, or null after it was complete, which MPI_Test takes as complete (MPI
    // 3.1, §3.7.3).
    check("MPI_Test", unsafe { ffi::MPI_Test(request, &mut flag, ffi::RSMPI_STATUS_IGNORE) })?;
    Ok(flag != 0)
}
