//! The ways to move bytes from socket to socket. All block: what they wait with is part of what is compared.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};

/// What one read takes.
const LEN: usize = 64 << 10;
/// Buffers of the ways that have several.
const BUFFERS: u16 = 8;
/// The group of provided buffers.
const GROUP: u16 = 1;
/// What completions of other than receives are marked with, besides the number of the buffer.
const SENT: u64 = 1 << 32;
const PROVIDED: u64 = 2 << 32;

/// How a relay does it.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// recv, send.
    Plain,
    /// One receive or send at a time, submitted and waited for by one call.
    Single,
    /// A multishot receive into provided buffers; each buffer is sent, and provided again by a linked request.
    Multishot,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Plain, Way::Single, Way::Multishot];

    pub fn name(self) -> &'static str {
        match self {
            Way::Plain => "recv, send",
            Way::Single => "io_uring, one request at a time",
            Way::Multishot => "io_uring, multishot, provided buffers, linked",
        }
    }

    /// Moves bytes until there are no more.
    pub fn relay(self, from: &UnixStream, to: &UnixStream) -> io::Result<()> {
        match self {
            Way::Plain => plain(from, to),
            Way::Single => single(from, to),
            Way::Multishot => Multishot::new(from, to)?.run(),
        }?;
        to.shutdown(Shutdown::Write)
    }
}

fn plain(mut from: &UnixStream, mut to: &UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; LEN];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn single(from: &UnixStream, to: &UnixStream) -> io::Result<()> {
    let mut ring = IoUring::new(8)?;
    let mut buffer = vec![0_u8; LEN];
    loop {
        let received = opcode::Recv::new(Fd(from.as_raw_fd()), buffer.as_mut_ptr(), LEN as u32).build();
        let received = done(&mut ring, &received)?;
        if received == 0 {
            return Ok(());
        }
        let mut sent = 0;
        while sent < received {
            let rest = &buffer[sent..received];
            let send = opcode::Send::new(Fd(to.as_raw_fd()), rest.as_ptr(), rest.len() as u32).build();
            sent += done(&mut ring, &send)?;
        }
    }
}

/// Submits a request and waits for it.
fn done(ring: &mut IoUring, request: &squeue::Entry) -> io::Result<usize> {
    push(ring, request)?;
    ring.submit_and_wait(1)?;
    let completion = ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?;
    count(completion.result())
}

fn push(ring: &mut IoUring, request: &squeue::Entry) -> io::Result<()> {
    // SAFETY: buffers and descriptors of requests outlive the ring, or are waited for before they are used otherwise: all
    // callers own both until the request is complete, and a buffer that is provided is not touched.
    unsafe { ring.submission().push(request) }.map_err(io::Error::other)
}

fn count(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Several buffers in the kernel's hands.
struct Multishot {
    // Before the buffers: what is under way ends with the ring.
    ring: IoUring,
    buffers: Vec<u8>,
    from: RawFd,
    to: RawFd,
    /// What has come and is not sent, in its order: stream sockets may not overtake themselves.
    waiting: std::collections::VecDeque<(u16, usize)>,
    is_sending: bool,
    is_receiving: bool,
    is_over: bool,
}

impl Multishot {
    fn new(from: &UnixStream, to: &UnixStream) -> io::Result<Self> {
        Ok(Multishot {
            ring: IoUring::new(64)?,
            buffers: vec![0; LEN * usize::from(BUFFERS)],
            from: from.as_raw_fd(),
            to: to.as_raw_fd(),
            waiting: std::collections::VecDeque::new(),
            is_sending: false,
            is_receiving: false,
            is_over: false,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let all = self.provide(0, BUFFERS);
        push(&mut self.ring, &all)?;
        while !(self.is_over && self.waiting.is_empty() && !self.is_sending) {
            if !self.is_receiving && !self.is_over && self.waiting.len() < usize::from(BUFFERS) / 2 {
                let receive = opcode::RecvMulti::new(Fd(self.from), GROUP).build();
                push(&mut self.ring, &receive)?;
                self.is_receiving = true;
            }
            self.send_next()?;
            self.ring.submit_and_wait(1)?;
            let completions: Vec<cqueue::Entry> = self.ring.completion().collect();
            completions.into_iter().try_for_each(|completion| self.take(&completion))?;
        }
        Ok(())
    }

    fn take(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        match completion.user_data() {
            data if data & SENT != 0 => {
                count(completion.result())?;
                self.is_sending = false;
            }
            data if data & PROVIDED != 0 => {
                count(completion.result())?;
            }
            _ => {
                self.is_receiving = cqueue::more(completion.flags());
                match (completion.result(), cqueue::buffer_select(completion.flags())) {
                    (1.., Some(buffer)) => {
                        self.waiting.push_back((buffer, count(completion.result())?));
                    }
                    (0, _) => self.is_over = true,
                    // No buffer is left: there will be one again.
                    (result, _) if result == -ENOBUFS => {}
                    (result, _) => return Err(io::Error::from_raw_os_error(-result)),
                }
            }
        }
        Ok(())
    }

    /// Sends the buffer that came first, whole, and provides it again behind that.
    fn send_next(&mut self) -> io::Result<()> {
        if self.is_sending {
            return Ok(());
        }
        let Some((buffer, len)) = self.waiting.pop_front() else { return Ok(()) };
        let at = usize::from(buffer) * LEN;
        let send = opcode::Send::new(Fd(self.to), self.buffers[at..].as_ptr(), len as u32);
        let send = send.flags(MSG_WAITALL).build().user_data(SENT).flags(squeue::Flags::IO_LINK);
        push(&mut self.ring, &send)?;
        let provide = self.provide(buffer, 1);
        push(&mut self.ring, &provide)?;
        self.is_sending = true;
        Ok(())
    }

    fn provide(&mut self, first: u16, count: u16) -> squeue::Entry {
        let at = self.buffers[usize::from(first) * LEN..].as_mut_ptr();
        opcode::ProvideBuffers::new(at, LEN as i32, count, GROUP, first).build().user_data(PROVIDED)
    }
}

const ENOBUFS: i32 = nix::libc::ENOBUFS;
const MSG_WAITALL: i32 = nix::libc::MSG_WAITALL;
