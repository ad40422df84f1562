//! `mvpnet-bare-relay GENERATOR`: what MPI itself can carry between two guests' stream links, as a baseline.
//!
//! Run by `mpirun -n 2`, each rank starts its generator with a socketpair in place of qemu's and moves bytes: what is
//! there to read, up to 64 KiB, becomes one message; what a message brings is written; when there is nothing to do
//! it yields the core. It looks at no frame, so it cannot switch, count, drop, capture or sleep. The only thing that
//! it does beyond that is to keep its peer from running ahead of it without bound, which MPI leaves to its users.
//!
//! It ends when either generator has closed its link and all that was under way has arrived.

mod ffi;

use std::{
    ffi::OsString,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use command_fds::{CommandFdExt, FdMapping};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, send, shutdown},
};

use self::ffi::{Inbound, MESSAGE, Mpi, Outbound, Tag};

/// Messages that the peer may have under way before it hears that some were consumed.
const AHEAD: u64 = 64;
/// How many consumed messages are reported at once.
const REPORT: u64 = 16;
/// How long a generator and MPI may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// The program, on its arguments without its name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let [generator] = &args[..] else {
        eprintln!("usage: mpirun -n 2 mvpnet-bare-relay GENERATOR");
        return ExitCode::from(2);
    };
    match relay(generator) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mvpnet-bare-relay: {error:#}");
            // Without finalize, so that mpirun ends the other rank too.
            std::process::exit(1)
        }
    }
}

fn relay(generator: &OsString) -> anyhow::Result<()> {
    let mpi = Mpi::init()?;
    let (rank, size) = (mpi.rank()?, mpi.size()?);
    ensure!(size == 2, "needs two ranks, has {size}; was it built for another MPI than this mpirun's?");
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = start(generator, rank, theirs.into())?;
    let mut pump = Pump {
        socket: ours,
        outbound: mpi.outbound(1 - rank),
        inbound: mpi.inbound(1 - rank),
        waiting: 0..0,
        sent: 0,
        consumed: 0,
        reported: 0,
        peer_consumed: 0,
        closed: Closed::default(),
    };
    while !pump.over()? {
        if !pump.turn()? {
            std::thread::yield_now();
        }
    }
    drop(pump);
    watch_the_end();
    let result = reap(&mut child);
    mpi.finalize()?;
    result
}

/// Starts the generator as mvpnet starts a guest.
fn start(generator: &OsString, rank: i32, link: OwnedFd) -> anyhow::Result<Child> {
    const LINK: i32 = 3;
    let mut command = Command::new(generator);
    command
        .arg("-netdev")
        .arg(format!("stream,id=mvp,addr.type=fd,addr.str={LINK}"))
        .args(["-device", &format!("virtio-net-pci,netdev=mvp,mac=52:55:00:00:00:{rank:02x}")])
        .args(["-device", "virtio-net-pci,netdev=user,mac=52:56:00:00:00:02"])
        .fd_mappings(vec![FdMapping { parent_fd: link, child_fd: LINK }])?;
    command.spawn().with_context(|| format!("cannot start {}", generator.display()))
}

#[derive(Debug, Default)]
struct Closed {
    /// Our generator sends no more, and the peer was told.
    ours: bool,
    /// The peer's generator sends no more.
    theirs: bool,
    /// Our generator reads no more: what comes for it is thrown away.
    deaf: bool,
}

struct Pump<'a> {
    socket: UnixStream,
    outbound: Outbound<'a>,
    inbound: Inbound<'a>,
    /// The part of the last message that the socket has not taken.
    waiting: std::ops::Range<usize>,
    sent: u64,
    consumed: u64,
    reported: u64,
    peer_consumed: u64,
    closed: Closed,
}

impl Pump<'_> {
    fn over(&mut self) -> anyhow::Result<bool> {
        Ok(self.closed.ours && self.closed.theirs && self.waiting.is_empty() && self.outbound.idle()?)
    }

    /// One look at each direction; whether there was anything to do.
    fn turn(&mut self) -> anyhow::Result<bool> {
        let out = self.socket_to_mpi()?;
        let back = self.mpi_to_socket()?;
        Ok(out | back)
    }

    fn socket_to_mpi(&mut self) -> anyhow::Result<bool> {
        if self.closed.ours || self.sent >= self.peer_consumed + AHEAD {
            return Ok(false);
        }
        let Some(slot) = self.outbound.slot()? else { return Ok(false) };
        match recv(self.socket.as_raw_fd(), slot, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Ok(0) | Err(Errno::ECONNRESET) => {
                self.closed.ours = true;
                self.outbound.send(0, Tag::Closed)?;
                Ok(true)
            }
            Ok(count) => {
                self.sent += 1;
                self.outbound.send(count, Tag::Bytes)?;
                Ok(true)
            }
            Err(error) => Err(error).context("cannot read the generator's link"),
        }
    }

    fn mpi_to_socket(&mut self) -> anyhow::Result<bool> {
        let mut worked = self.report()?;
        if self.waiting.is_empty() {
            let Some((tag, len)) = self.inbound.receive()? else { return Ok(worked) };
            worked = true;
            match tag {
                Tag::Bytes => {
                    self.consumed += 1;
                    self.waiting = 0..len;
                }
                Tag::Consumed => self.peer_consumed += REPORT,
                Tag::Closed => {
                    self.closed.theirs = true;
                    // A generator that has gone already needs not be told.
                    let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
                }
            }
        }
        if self.closed.deaf {
            self.waiting = 0..0;
        }
        while !self.waiting.is_empty() {
            let bytes = &self.inbound.bytes()[self.waiting.clone()];
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => {
                    self.waiting.start += count;
                    worked = true;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    self.closed.deaf = true;
                    self.waiting = 0..0;
                }
                Err(error) => return Err(error).context("cannot write to the generator's link"),
            }
        }
        Ok(worked)
    }

    /// Tells the peer that messages were consumed, when there is a slot for it.
    fn report(&mut self) -> anyhow::Result<bool> {
        if self.consumed < self.reported + REPORT || self.outbound.slot()?.is_none() {
            return Ok(false);
        }
        self.reported += REPORT;
        self.outbound.send(0, Tag::Consumed)?;
        Ok(true)
    }
}

/// MPI's own end can hang: the process does not wait for it for ever.
fn watch_the_end() {
    std::thread::spawn(|| {
        #[allow(clippy::disallowed_methods, reason = "a watchdog over the end of the process")]
        std::thread::sleep(ENDING + ENDING);
        std::process::exit(0);
    });
}

#[allow(clippy::disallowed_methods, reason = "waiting for a child, with a limit")]
fn reap(child: &mut Child) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < ENDING {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the generator ended with {status}");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    bail!("the generator did not end within {ENDING:?} and was killed")
}

const _: () = assert!(MESSAGE == 64 << 10, "the baseline is messages of 64 KiB");
