//! One rank's side of the suite: sending, receiving and sleeping with a deadline, and meeting the others.

use std::collections::VecDeque;
use std::time::Duration;

use mvpnet_switch::Rank;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::frames::Frames;
use super::{Expectations, Medium, Rings};
use crate::doze::PENDING_BACKSTOP;
use crate::{Arm, Batch, MAX_FRAME_LEN, RecordKind, SendError, Transport, clock, records};

/// A record that has arrived on the data lane.
#[derive(Debug)]
pub(super) struct Arrival {
    pub from: Rank,
    pub kind: RecordKind,
    pub root: Option<u32>,
    /// The virtio-net header of an unfinished frame.
    pub offload: Option<Vec<u8>>,
    pub frame: Vec<u8>,
}

pub(super) struct Party<'a> {
    pub transport: &'a mut dyn Transport,
    pub expectations: Expectations,
    deadline: Duration,
    /// What meetings have been held.
    epoch: u32,
    pub arrivals: VecDeque<Arrival>,
    /// Control records that are not the suite's own.
    pub control: VecDeque<(Rank, Vec<u8>)>,
    meetings: Vec<(Rank, u32)>,
    /// Keeps batches instead of recycling them, like a guest that does not read.
    pub holds: bool,
    pub held: Vec<Batch>,
    frames: Frames,
    /// The last long sleep ended by itself.
    overslept: bool,
    /// Long sleeps that ended by themselves and found work.
    lost_rings: u32,
    /// Where the medium has no credits: bytes of frames sent to each rank and acknowledged by it.
    sent: Vec<(usize, usize)>,
    /// Bytes of frames received from each rank and acknowledged to it.
    received: Vec<(usize, usize)>,
}

/// A sleep instead of the backstop where most rings come.
const LONG_SLEEP: Duration = Duration::from_millis(500);
/// Lost rings in the whole suite that [`Rings::Mostly`] allows.
const MAX_LOST: u32 = 10;

/// First byte of the control records by which the ranks meet.
const MEETING: u8 = 0xff;
/// First byte of the control records that acknowledge frames, where the medium has no credits.
const ACKNOWLEDGEMENT: u8 = 0xfe;

impl<'a> Party<'a> {
    pub fn new(transport: &'a mut dyn Transport, expectations: Expectations) -> Self {
        let ranks = transport.world().size() as usize;
        Party {
            transport,
            expectations,
            deadline: Duration::ZERO,
            epoch: 0,
            arrivals: VecDeque::new(),
            control: VecDeque::new(),
            meetings: Vec::new(),
            holds: false,
            held: Vec::new(),
            frames: Frames::new(expectations.medium),
            overslept: false,
            lost_rings: 0,
            sent: vec![(0, 0); ranks],
            received: vec![(0, 0); ranks],
        }
    }

    /// A check begins.
    pub fn start(&mut self) {
        self.deadline = clock::now() + self.expectations.deadline;
    }

    pub fn me(&self) -> Rank {
        self.transport.me()
    }

    /// Rank `index`, which the check knows to exist.
    pub fn rank(&self, index: u32) -> Rank {
        self.transport.world().rank(index).expect("checks name ranks of the world")
    }

    pub fn size(&self) -> u32 {
        self.transport.world().size()
    }

    pub fn others(&self) -> Vec<Rank> {
        let me = self.me();
        self.transport.world().ranks().filter(|rank| *rank != me).collect()
    }

    /// The longest frame that can be sent.
    pub fn longest(&self) -> usize {
        MAX_FRAME_LEN.min(self.transport.max_frame_len())
    }

    /// The ranks whose number can be the root of a flood that this rank sends.
    pub fn roots(&self) -> Vec<Rank> {
        match self.expectations.medium {
            Medium::Reliable => self.transport.world().ranks().collect(),
            // There is no place for a root: it is the sender.
            Medium::Datagrams { .. } => vec![self.me()],
        }
    }

    /// The root of flood `number` of those that `from` has sent to [`Party::roots`].
    pub fn root(&self, from: Rank, number: u32) -> u32 {
        match self.expectations.medium {
            Medium::Reliable => number,
            Medium::Datagrams { .. } => from.index(),
        }
    }

    /// [`Frames::frame`].
    pub fn frame(&self, number: u32, len: usize) -> Vec<u8> {
        self.frames.frame(number, len)
    }

    /// [`Frames::is_frame`].
    pub fn is_frame(&self, frame: &[u8], number: u32, len: usize) -> bool {
        self.frames.is_frame(frame, number, len)
    }

    /// Sends; waits for room where there is none.
    pub fn send(&mut self, to: Rank, kind: RecordKind, root: Rank, payload: &[u8]) -> Result<(), String> {
        if kind != RecordKind::Control {
            self.pace(to, payload.len())?;
        }
        self.retry(|transport| transport.send(to, kind, root, payload))
    }

    /// Sends a run; waits for room where there is none.
    pub fn send_run(&mut self, to: Rank, run: &[u8]) -> Result<(), String> {
        self.pace(to, records(run).flatten().map(|record| record.frame.len()).sum())?;
        self.retry(|transport| transport.send_run(to, run))
    }

    /// Where the medium has no credits: waits until so many bytes may be on the way to a rank.
    fn pace(&mut self, to: Rank, len: usize) -> Result<(), String> {
        let Medium::Datagrams { window } = self.expectations.medium else { return Ok(()) };
        let at = to.index() as usize;
        self.until("frames to be acknowledged", |party| {
            let (sent, acknowledged) = party.sent[at];
            Ok(sent == acknowledged || sent - acknowledged + len <= window)
        })?;
        self.sent[at].0 += len;
        Ok(())
    }

    /// Where the medium has no credits: acknowledges what has been received.
    fn acknowledge(&mut self) -> Result<(), String> {
        if self.expectations.medium == Medium::Reliable {
            return Ok(());
        }
        for (rank, (received, acknowledged)) in self.transport.world().ranks().zip(&mut self.received) {
            if received == acknowledged {
                continue;
            }
            let mut note = vec![ACKNOWLEDGEMENT];
            note.extend_from_slice(&(*received as u64).to_be_bytes());
            match self.transport.send(rank, RecordKind::Control, self.transport.me(), &note) {
                Ok(()) => *acknowledged = *received,
                Err(SendError::Full) => {}
                Err(error) => return Err(format!("send: {error}")),
            }
        }
        Ok(())
    }

    fn retry(&mut self, send: impl Fn(&mut dyn Transport) -> Result<(), SendError>) -> Result<(), String> {
        loop {
            match send(self.transport) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) => {
                    if !self.pump()? {
                        self.sleep("room to send")?;
                    }
                }
                Err(error) => return Err(format!("send: {error}")),
            }
        }
    }

    /// Progress, then takes in what has come. True where anything has.
    pub fn pump(&mut self) -> Result<bool, String> {
        let mut any = false;
        let _pending = self.transport.progress().map_err(|error| error.to_string())?;
        while let Some(batch) = self.transport.receive().map_err(|error| error.to_string())? {
            any = true;
            self.take_in(&batch)?;
            if self.holds && batch.lane() == crate::Lane::Data {
                self.held.push(batch);
            } else {
                self.transport.recycle(batch);
            }
        }
        self.acknowledge()?;
        self.lost_rings += u32::from(std::mem::take(&mut self.overslept) && any);
        let _pending = self.transport.progress().map_err(|error| error.to_string())?;
        Ok(any)
    }

    fn take_in(&mut self, batch: &Batch) -> Result<(), String> {
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            let (from, kind, frame) = (batch.from(), record.kind, &batch.bytes()[record.frame]);
            match kind {
                RecordKind::Control if frame.first() == Some(&MEETING) && frame.len() == 5 => {
                    let epoch = frame[1..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                    self.meetings.push((from, epoch));
                }
                RecordKind::Control if frame.first() == Some(&ACKNOWLEDGEMENT) && frame.len() == 9 => {
                    let bytes = frame[1..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    self.sent[from.index() as usize].1 = bytes as usize;
                }
                RecordKind::Control => self.control.push_back((from, frame.to_vec())),
                _ => {
                    self.received[from.index() as usize].0 += frame.len();
                    let (root, frame) = (record.root, frame.to_vec());
                    let offload = record.offload.map(|at| batch.bytes()[at].to_vec());
                    self.arrivals.push_back(Arrival { from, kind, root, offload, frame })
                }
            }
        }
        Ok(())
    }

    /// Gives back what was held.
    pub fn let_go(&mut self) -> Result<(), String> {
        self.holds = false;
        for batch in std::mem::take(&mut self.held) {
            self.transport.recycle(batch);
        }
        self.pump().map(|_| ())
    }

    /// Works and sleeps until `done`.
    pub fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Result<bool, String>,
    ) -> Result<(), String> {
        loop {
            let came = self.pump()?;
            if done(self)? {
                return Ok(());
            }
            if !came {
                self.sleep(what)?;
            }
        }
    }

    /// The next frame.
    pub fn next_arrival(&mut self) -> Result<Arrival, String> {
        self.until("a frame", |party| Ok(!party.arrivals.is_empty()))?;
        self.arrivals.pop_front().ok_or_else(|| "no frame".into())
    }

    /// Yields, until the deadline.
    pub fn nap(&self, what: &str) -> Result<(), String> {
        if clock::now() > self.deadline {
            return Err(format!("waited in vain for {what}; {:?}", self.transport.stats()));
        }
        std::thread::yield_now();
        Ok(())
    }

    /// Sleeps as a rank does, but without the backstop where no ring may be lost.
    pub fn sleep(&mut self, what: &str) -> Result<(), String> {
        let now = clock::now();
        let Some(left) = self.deadline.checked_sub(now) else {
            return Err(format!("waited in vain for {what}; {:?}", self.transport.stats()));
        };
        let Arm::Sleep { at_most } = self.transport.arm() else { return Ok(()) };
        let sleep = match self.expectations.rings {
            _ if at_most <= PENDING_BACKSTOP => at_most,
            Rings::Surely => left,
            Rings::Mostly => LONG_SLEEP,
            Rings::Perhaps => at_most,
        };
        let result = ppoll(
            &mut [PollFd::new(self.transport.doorbell(), PollFlags::POLLIN)],
            Some(TimeSpec::from_duration(sleep.min(left))),
            None,
        );
        self.overslept = result == Ok(0) && sleep == LONG_SLEEP;
        self.transport.disarm();
        match result {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(format!("poll: {error}")),
        }
    }

    /// At the end of the suite.
    pub fn check_rings(&self) -> Result<(), String> {
        let lost = self.lost_rings;
        if lost > MAX_LOST { Err(format!("{lost} times there was work and no ring")) } else { Ok(()) }
    }

    /// Sends everything off.
    pub fn flush(&mut self) -> Result<(), String> {
        loop {
            self.pump()?;
            if self.transport.progress().map_err(|error| error.to_string())?.bytes == 0 {
                return Ok(());
            }
            self.sleep("sends to be handed over")?;
        }
    }

    /// All ranks meet: nobody goes on before everybody has come here.
    pub fn meet(&mut self) -> Result<(), String> {
        self.epoch += 1;
        let epoch = self.epoch;
        let (me, zero) = (self.me(), self.rank(0));
        let mut note = vec![MEETING];
        note.extend_from_slice(&epoch.to_be_bytes());
        if me != zero {
            self.send(zero, RecordKind::Control, me, &note)?;
            self.until("the meeting to end", |party| Ok(party.meetings.contains(&(zero, epoch))))?;
        } else {
            let others = self.others();
            self.until("all to meet", |party| {
                Ok(others.iter().all(|rank| party.meetings.contains(&(*rank, epoch))))
            })?;
            for rank in others {
                self.send(rank, RecordKind::Control, me, &note)?;
            }
        }
        self.meetings.retain(|(_, met)| *met > epoch);
        self.flush()?;
        Ok(())
    }
}
