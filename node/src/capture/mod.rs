//! The capture of a rank or a bridge: every frame of every port, written to a pcapng file while traffic goes on.
//!
//! The frame loop holds a [`Tap`] and copies each frame into a chunk of memory: no allocation, no lock, no
//! system call per frame. Full chunks go over a ring to a thread that turns them into pcapng and writes them;
//! empty chunks come back over another. When no chunk is free, or the disk takes no more, frames are missing
//! from the capture, but never silently: the file and the final [`Report`] say how many. Traffic never waits
//! for the capture.
//!
//! Ports and directions are the switch's: a frame that the guest sends is inbound on the guest's port, and
//! outbound on the transport's when it leaves for a peer. A dropped frame carries the reason as its comment.
//! Which ports there are, and how the file calls them, is said by a [`Layout`].

mod chunk;
mod destination;
mod layout;
mod recorder;
mod report;
mod store;
mod tap;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;
use std::time::Duration;

use rtrb::RingBuffer;

use chunk::Chunk;
pub use destination::{Destination, DestinationError, StartError};
pub use layout::{Layout, Options, Port};
pub use mvpnet_pcap::Direction;
pub use report::{PortReport, Report};
pub use tap::Tap;

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

/// Begins the capture of a rank: see [`start_at`].
pub fn start(options: &Options) -> Result<(Tap, Capture), StartError> {
    start_at(&options.destination, options.layout(), options.pool)
}

/// Begins a capture: opens the destination, writes the file's header, starts the thread that writes frames.
///
/// A named pipe is opened by that thread, since that takes until someone reads from it.
pub fn start_at(destination: &Destination, layout: Layout, pool: Pool) -> Result<(Tap, Capture), StartError> {
    let output = destination.open()?;
    let section = layout.section();
    let interfaces = layout.interfaces(pool);
    let names = interfaces.iter().map(|interface| interface.name.clone()).collect::<Vec<_>>();
    let shared = Arc::new(Shared::new(interfaces.len()));
    let chunks = pool.chunks.max(2);
    let (full, full_end) = RingBuffer::new(chunks);
    let (mut free, free_end) = RingBuffer::new(chunks);
    for _ in 0..chunks {
        let added = free.push(Chunk::new(pool.chunk_bytes));
        debug_assert!(added.is_ok(), "the ring has a place for every chunk");
    }

    let work = thread::Work { section, interfaces, full: full_end, free, shared: shared.clone() };
    let (thread, result) = thread::spawn(destination, output, work)?;
    let tap = Tap::new(full, free_end, shared.clone(), thread.clone(), pool.chunk_bytes);
    Ok((tap, Capture { destination: destination.to_string(), names, shared, thread, result }))
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
#[derive(Debug)]
struct Shared {
    ports: Box<[PortCounters]>,
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
    fn new(ports: usize) -> Self {
        Self { ports: (0..ports).map(|_| PortCounters::default()).collect(), ending: AtomicBool::new(false) }
    }

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
