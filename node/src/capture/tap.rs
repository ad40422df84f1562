//! The frame loop's end of a capture: copies frames into chunks, hands full ones on, and counts what has no
//! room.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use mvpnet_switch::DropReason;
use rtrb::{Consumer, Producer};

use super::chunk::{Chunk, Entry};
use super::{Direction, Port, Shared};

/// How long a frame may wait in memory before it is handed on to be written. It bounds what a capture lacks
/// whose rank was killed.
const FLUSH_AFTER: Duration = Duration::from_millis(250);

/// Records frames. Dropping it hands on what it still holds and ends the capture.
#[derive(Debug)]
pub struct Tap {
    current: Option<Chunk>,
    full: Producer<Chunk>,
    free: Consumer<Chunk>,
    /// Frames per port that had no room since the last one that had.
    missed: Box<[u64]>,
    snaplen: usize,
    shared: Arc<Shared>,
    thread: Thread,
}

impl Tap {
    pub(super) fn new(
        full: Producer<Chunk>,
        free: Consumer<Chunk>,
        shared: Arc<Shared>,
        thread: Thread,
        snaplen: usize,
    ) -> Self {
        let missed = vec![0; shared.ports.len()].into();
        Self { current: None, full, free, missed, snaplen, shared, thread }
    }

    /// Records a frame that crossed `port` at `time_ns` nanoseconds since 1970; `dropped` is why it went no
    /// further.
    #[inline]
    pub fn record(
        &mut self,
        port: Port,
        direction: Direction,
        time_ns: u64,
        frame: &[u8],
        dropped: Option<DropReason>,
    ) {
        let counters = &self.shared.ports[port.index()];
        Shared::count(&counters.seen);
        let kept = &frame[..frame.len().min(self.snaplen)];
        let original_len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let missed = self.missed[port.index()];
        match self.chunk_with_room(kept.len(), time_ns) {
            Some(chunk) => {
                chunk.push(Entry { time_ns, missed, original_len, port, direction, dropped }, kept);
                self.missed[port.index()] = 0;
            }
            None => {
                Shared::count(&self.shared.ports[port.index()].unheld);
                self.missed[port.index()] += 1;
            }
        }
    }

    /// Hands on what has waited long enough at `now_ns`. To be called whenever the frame loop has nothing to
    /// do, and again after [`next_flush`](Self::next_flush); under load, `record` sees to it.
    pub fn flush_due(&mut self, now_ns: u64) {
        if self.next_flush(now_ns) == Some(Duration::ZERO) {
            self.flush();
        }
    }

    /// In how long [`flush_due`](Self::flush_due) will have something to do; none while nothing waits.
    pub fn next_flush(&self, now_ns: u64) -> Option<Duration> {
        let first = self.current.as_ref()?.first_time_ns()?;
        Some(FLUSH_AFTER.saturating_sub(Duration::from_nanos(now_ns.saturating_sub(first))))
    }

    /// Hands on everything at once, and wakes the thread that writes. That costs a system call and a chunk:
    /// it is for the end, not for every time that the frame loop is idle.
    pub fn flush(&mut self) {
        if let Some(chunk) = self.current.take_if(|chunk| chunk.first_time_ns().is_some()) {
            let pushed = self.full.push(chunk);
            debug_assert!(pushed.is_ok(), "the ring has a place for every chunk");
            self.thread.unpark();
        }
    }

    #[inline]
    fn chunk_with_room(&mut self, len: usize, now_ns: u64) -> Option<&mut Chunk> {
        if let Some(chunk) = &self.current {
            let fits = chunk.fits(len);
            // A chunk that is due but has room is kept if it would be the last.
            if !fits || (self.next_flush(now_ns) == Some(Duration::ZERO) && !self.free.is_empty()) {
                self.flush();
            }
        }
        if self.current.is_none() {
            self.current = self.free.pop().ok();
        }
        self.current.as_mut()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.flush();
        self.shared.ask_to_end();
        self.thread.unpark();
    }
}
