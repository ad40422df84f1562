//! The way to a rank's hub, for the rest of the rank.

use mvpnet_qemu_driver::agent::GuestCall;
use mvpnet_switch::Rank;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::SessionRequest;
use super::duplex::EndId;
use super::frame::Frame;
use super::hub::{Hub, Place};
use super::packet::Packet;
use super::services::Facilities;
use crate::control::{Answer, Stream};
use crate::frame_loop::LoopHandle;

/// Calls of the guest that may wait for the hub; others are refused. `mpirun` makes one for each host at once.
const CALLS: usize = 256;

/// The way to a rank's hub. Clones lead to the same.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    events: mpsc::UnboundedSender<Event>,
    calls: mpsc::Sender<GuestCall>,
}

/// What a hub hears of.
#[derive(Debug)]
pub(super) enum Event {
    /// A packet of another rank's hub, and how long it was.
    Packet { from: Rank, packet: Packet, len: usize },
    /// That rank has left the job.
    PeerGone(Rank),
    /// A program on a control socket of this process wants a session.
    Attach { request: SessionRequest, answer: oneshot::Sender<Answer>, stream: oneshot::Receiver<Stream> },
    /// An end says something.
    Said { end: EndId, frame: Frame },
    /// The guest runs, or runs no more.
    Guest(Option<Facilities>),
    /// The rank's part in the job is over.
    Over(oneshot::Sender<()>),
}

impl Sessions {
    /// Starts the hub of a rank. To be called inside a tokio runtime.
    pub(crate) fn start(place: Place, handle: LoopHandle) -> Self {
        let (events, heard) = mpsc::unbounded_channel();
        let (calls, called) = mpsc::channel(CALLS);
        let hub = Hub::new(place, handle, events.clone());
        tokio::spawn(hub.live(heard, called).in_current_span());
        Self { events, calls }
    }

    /// Another rank's hub says this.
    pub(crate) fn packet(&self, from: Rank, packet: Packet, len: usize) {
        self.tell(Event::Packet { from, packet, len });
    }

    /// A rank has left the job.
    pub(crate) fn peer_gone(&self, rank: Rank) {
        self.tell(Event::PeerGone(rank));
    }

    /// Answers a request for a session that came over a control socket, whose connection becomes the session.
    pub(crate) fn attach(
        &self,
        request: SessionRequest,
        answer: oneshot::Sender<Answer>,
        stream: oneshot::Receiver<Stream>,
    ) {
        self.tell(Event::Attach { request, answer, stream });
    }

    /// The guest runs and can be reached by these ways; or it does not.
    pub(crate) fn guest(&self, facilities: Option<Facilities>) {
        self.tell(Event::Guest(facilities));
    }

    /// Where calls of the guest's commands go.
    pub(crate) fn calls(&self) -> mpsc::Sender<GuestCall> {
        self.calls.clone()
    }

    /// Ends all sessions, and waits a moment until their clients know.
    pub(crate) async fn close(&self) {
        let (over, done) = oneshot::channel();
        self.tell(Event::Over(over));
        let _ = done.await;
    }

    fn tell(&self, event: Event) {
        // A hub that is over has no sessions.
        let _ = self.events.send(event);
    }
}
