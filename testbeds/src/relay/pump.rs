//! One rank of the relay: from its generator's link into drafts, from batches to the link.

use mvpnet_qemu_driver::links::vhost_user::MAX_RECORD_LEN;
use mvpnet_switch::Rank;
use mvpnet_transports::{BATCH_LEN, Batch, Draft, Lane, RecordKind, SendError, Transport};

use super::end::{End, Filled};

/// What one look at the link takes: a batch, or one record that is longer than that.
const ROOM: usize = if BATCH_LEN > MAX_RECORD_LEN { BATCH_LEN } else { MAX_RECORD_LEN };

/// One rank's two directions.
pub(super) struct Pump<T> {
    transport: T,
    peer: Rank,
    /// Until nothing more can come for our generator.
    end: Option<End>,
    draft: Draft,
    /// Bytes of the draft that wait for room at the peer.
    drafted: usize,
    /// The batch that is being written, and how much of it the link has taken.
    arrived: Option<(Batch, usize)>,
    sent: u64,
    received: u64,
    closed: Closed,
}

#[derive(Debug, Default)]
struct Closed {
    /// Our generator sends no more, and the peer was told.
    ours: bool,
    /// How many bytes the peer has sent in all, once its generator sends no more.
    theirs: Option<u64>,
    /// Our generator reads no more: what comes for it is thrown away.
    deaf: bool,
    /// Nothing of ours is under way any more.
    drained: bool,
}

impl<T: Transport> Pump<T> {
    pub(super) fn new(mut transport: T, end: End) -> anyhow::Result<Self> {
        let peer = transport.world().rank(1 - transport.me().index())?;
        let draft = transport.draft();
        let closed = Closed::default();
        Ok(Pump {
            transport,
            peer,
            end: Some(end),
            draft,
            drafted: 0,
            arrived: None,
            sent: 0,
            received: 0,
            closed,
        })
    }

    /// Whether both generators have ended and all that was under way has arrived.
    pub(super) fn is_over(&self) -> bool {
        let Closed { ours, theirs, drained, .. } = self.closed;
        ours && drained && self.arrived.is_none() && theirs.is_some_and(|all| self.received >= all)
    }

    /// The generator has ended.
    pub(super) fn note_the_end(&mut self) {
        self.end.iter_mut().for_each(End::note_the_end);
    }

    /// The transport, when it is over.
    pub(super) fn finish(self) -> T {
        self.transport
    }

    /// One look at each direction; whether there was anything to do.
    pub(super) fn turn(&mut self) -> anyhow::Result<bool> {
        let out = self.link_to_peer()?;
        let back = self.peer_to_link()?;
        self.closed.drained = self.transport.progress()?.bytes == 0;
        Ok(out | back)
    }

    fn link_to_peer(&mut self) -> anyhow::Result<bool> {
        if self.closed.ours {
            return Ok(false);
        }
        if self.drafted == 0 {
            let Some(end) = &mut self.end else { return self.tell_the_end() };
            match end.fill(&mut self.draft.bytes_mut()[..ROOM])? {
                Filled::Nothing => return Ok(false),
                Filled::Octets(octets) => self.drafted = octets,
                Filled::Closed => {
                    self.closed.deaf = true;
                    return self.tell_the_end();
                }
            }
        }
        match self.transport.send_draft(self.peer, &mut self.draft, self.drafted) {
            Ok(()) => {
                self.sent += std::mem::take(&mut self.drafted) as u64;
                Ok(true)
            }
            Err(SendError::Full) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Control records overtake bytes: this one says how many there were.
    fn tell_the_end(&mut self) -> anyhow::Result<bool> {
        let (me, all) = (self.transport.me(), self.sent.to_be_bytes());
        match self.transport.send(self.peer, RecordKind::Control, me, &all) {
            Ok(()) => {
                self.closed.ours = true;
                Ok(true)
            }
            Err(SendError::Full) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn peer_to_link(&mut self) -> anyhow::Result<bool> {
        if self.arrived.is_none() {
            let Some(batch) = self.transport.receive()? else { return Ok(false) };
            if batch.lane() == Lane::Control {
                self.hear_the_end(batch);
                return Ok(true);
            }
            self.arrived = Some((batch, 0));
        }
        let Some((batch, taken)) = &mut self.arrived else { return Ok(false) };
        let rest = &batch.bytes()[*taken..];
        let poured = match &mut self.end {
            Some(end) if !self.closed.deaf => end.pour(rest)?,
            _ => Some(rest.len()),
        };
        self.closed.deaf |= poured.is_none();
        *taken += poured.unwrap_or(rest.len());
        let whole = batch.bytes().len();
        if *taken == whole
            && let Some((batch, _)) = self.arrived.take()
        {
            self.received += whole as u64;
            self.transport.recycle(batch);
        }
        self.let_go_of_the_link();
        Ok(poured != Some(0))
    }

    fn hear_the_end(&mut self, batch: Batch) {
        let told = batch.records().flatten().find_map(|record| {
            let all = batch.bytes()[record.frame].first_chunk()?;
            Some(u64::from_be_bytes(*all))
        });
        self.closed.theirs = told.or(self.closed.theirs);
        self.transport.recycle(batch);
        self.let_go_of_the_link();
    }

    /// A generator that only reads ends when nothing more can come.
    fn let_go_of_the_link(&mut self) {
        if self.closed.theirs.is_some_and(|all| self.received >= all) {
            self.end = self.end.take().and_then(End::shut);
        }
    }
}
