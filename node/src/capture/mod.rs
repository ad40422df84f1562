//! The capture of one rank: every frame of every port, written to a pcapng file while traffic goes on.
//!
//! The frame loop holds a [`Tap`] and copies each frame into a chunk of memory: no allocation, no lock, no
//! system call per frame. Full chunks go over a ring to a thread that turns them into pcapng and writes them;
//! empty chunks come back over another. When no chunk is free, or the disk takes no more, frames are missing
//! from the capture, but never silently: the file and the final [`Report`] say how many. Traffic never waits
//! for the capture.
//!
//! Ports and directions are the switch's: a frame that the guest sends is inbound on the guest's port, and
//! outbound on the transport's when it leaves for a peer. A dropped frame carries the reason as its comment.

mod chunk;
mod destination;
mod recorder;
mod report;
mod store;
mod tap;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;
use std::time::Duration;

use mvpnet_pcap::{Interface, SNAPLEN, Section};
use mvpnet_switch::{Rank, World};
use rtrb::RingBuffer;

use chunk::Chunk;
pub use destination::{Destination, DestinationError, StartError};
pub use mvpnet_pcap::Direction;
pub use report::{PortReport, Report};
pub use tap::Tap;

/// A port of the switch as the capture knows it: an interface of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Port {
    /// The guest's link.
    Guest = 0,
    /// The transport to the other ranks.
    Transport = 1,
}

impl Port {
    const COUNT: usize = 2;
}

/// Memory between the frame loop and the disk. It bridges the time in which the disk, or the processor, is
/// busy with something else; memory that traffic does not reach is never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How many chunks there are.
    pub chunks: usize,
    /// Bytes of frames in each. No frame is kept longer than this.
    pub chunk_bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { chunks: 16, chunk_bytes: 1 << 20 }
    }
}

/// What to capture, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the capture goes.
    pub destination: Destination,
    /// The rank whose ports these are.
    pub me: Rank,
    /// The job's size.
    pub world: World,
    /// The transport's name, such as `mpi`.
    pub transport: String,
    /// The job's name, if it has one.
    pub job: Option<String>,
    /// The memory that may be used.
    pub pool: Pool,
}

impl Options {
    fn section(&self) -> Section {
        let machine = nix::sys::utsname::uname().ok();
        let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
        let job = self.job.as_ref().map_or(String::new(), |job| format!(" of job {job}"));
        Section {
            hardware: machine.as_ref().map(|m| text(m.machine())),
            os: machine.as_ref().map(|m| format!("{} {}", text(m.sysname()), text(m.release()))),
            application: Some(format!("mvpnet {}", env!("CARGO_PKG_VERSION"))),
            comment: Some(format!("rank {} of {}{job}", self.me, self.world.size())),
        }
    }

    fn interfaces(&self) -> [Interface; Port::COUNT] {
        let me = self.me;
        let snaplen = SNAPLEN.min(u32::try_from(self.pool.chunk_bytes).unwrap_or(SNAPLEN));
        let guest = Interface {
            description: Some(format!("guest {} ({}) of rank {me}", me.host_name(), me.ipv4())),
            mac: Some(me.mac().octets()),
            snaplen,
            ..Interface::new(format!("rank{me}-guest"))
        };
        let transport = Interface {
            description: Some(format!("{} between rank {me} and the other ranks", self.transport)),
            snaplen,
            ..Interface::new(format!("rank{me}-{}", self.transport))
        };
        [guest, transport]
    }
}

/// Begins a capture: opens the destination, writes the file's header, starts the thread that writes frames.
///
/// A named pipe is opened by that thread, since that takes until someone reads from it.
pub fn start(options: &Options) -> Result<(Tap, Capture), StartError> {
    let output = options.destination.open()?;
    let interfaces = options.interfaces();
    let names = interfaces.iter().map(|interface| interface.name.clone()).collect::<Vec<_>>();
    let shared = Arc::new(Shared::default());
    let chunks = options.pool.chunks.max(2);
    let (full, full_end) = RingBuffer::new(chunks);
    let (mut free, free_end) = RingBuffer::new(chunks);
    for _ in 0..chunks {
        let added = free.push(Chunk::new(options.pool.chunk_bytes));
        debug_assert!(added.is_ok(), "the ring has a place for every chunk");
    }

    let work =
        thread::Work { section: options.section(), interfaces, full: full_end, free, shared: shared.clone() };
    let (thread, result) = thread::spawn(&options.destination, output, work)?;
    let tap = Tap::new(full, free_end, shared.clone(), thread.clone(), options.pool.chunk_bytes);
    Ok((tap, Capture { destination: options.destination.to_string(), names, shared, thread, result }))
}

/// A running capture, to be finished after its [`Tap`] is gone.
#[derive(Debug)]
pub struct Capture {
    destination: String,
    names: Vec<String>,
    shared: Arc<Shared>,
    thread: std::thread::Thread,
    result: mpsc::Receiver<Report>,
}

impl Capture {
    /// Writes out what the tap has recorded, closes the file, and says what is in it. Drop the [`Tap`] first:
    /// frames that it records from now on are missing.
    ///
    /// Waits for `at_most`, since a pipe that nobody reads from can take forever.
    pub fn finish(self, at_most: Duration) -> Report {
        self.shared.ask_to_end();
        self.thread.unpark();
        let report = self.result.recv_timeout(at_most);
        self.counted(report.unwrap_or_else(|_| Report::unfinished(&self.destination, &self.names)))
    }

    /// What was seen and written so far.
    pub fn so_far(&self) -> Report {
        self.counted(Report::unfinished(&self.destination, &self.names))
    }

    /// The counters know better than a report that was made before the tap was gone.
    fn counted(&self, mut report: Report) -> Report {
        for (port, counters) in report.ports.iter_mut().zip(&self.shared.ports) {
            port.seen = Shared::read(&counters.seen);
            port.written = Shared::read(&counters.written);
        }
        report
    }
}

/// What the frame loop and the writing thread both see. Each counter has one writer.
#[derive(Debug, Default)]
struct Shared {
    ports: [PortCounters; Port::COUNT],
    ending: AtomicBool,
}

/// Kept in a cache line of its own, so that counting on one side does not slow the other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct PortCounters {
    /// Frames that the tap was given.
    seen: AtomicU64,
    /// Those for which it had no chunk.
    unheld: AtomicU64,
    /// Those that are in the file.
    written: AtomicU64,
}

impl Shared {
    /// Counts one more. Only one thread writes each counter, so this needs no locked instruction.
    #[inline]
    fn count(counter: &AtomicU64) {
        use std::sync::atomic::Ordering::Relaxed;
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }

    fn read(counter: &AtomicU64) -> u64 {
        counter.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn ask_to_end(&self) {
        self.ending.store(true, std::sync::atomic::Ordering::Release);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(std::sync::atomic::Ordering::Acquire)
    }
}
