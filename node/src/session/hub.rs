//! The hub of a rank: one task that knows all sessions with an end here, and passes on what their ends say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mvpnet_qemu_driver::agent::{ExecError, GuestCall};
use mvpnet_switch::{Rank, World};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

use super::duplex::{Duplex, EndId, Outlet};
use super::ends;
use super::frame::Frame;
use super::handle::Event;
use super::names::rank_called;
use super::packet::Packet;
use super::pairs::Pairs;
use super::services::{self, Facilities, Presence};
use super::{MAX_CLIENTS, MAX_SERVED, Outcome, Service, SessionRequest};
use crate::control::{Answer, Stream};
use crate::frame_loop::{Command, LoopHandle, SESSION_ROOM};
use crate::job::Numbers;

/// The longest request: it has to fit into a control record.
const MAX_REQUEST: usize = 24 << 10;

/// How long clients may take to hear that the job is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Who a rank is, for its hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) me: Rank,
    pub(crate) world: World,
    pub(crate) numbers: Numbers,
}

/// What the task knows.
pub(super) struct Hub {
    place: Place,
    handle: LoopHandle,
    events: mpsc::UnboundedSender<Event>,
    pairs: Pairs,
    room: Arc<Semaphore>,
    clients: BTreeMap<u32, ClientEnd>,
    next_id: u32,
    served: BTreeMap<(Rank, u32), mpsc::UnboundedSender<Frame>>,
    /// What the guest has to offer while it runs. Dropping it tells the services that it does no more.
    guest: Option<(Facilities, watch::Sender<()>)>,
    ends: JoinSet<()>,
}

struct ClientEnd {
    to: Rank,
    frames: mpsc::UnboundedSender<Frame>,
}

impl Hub {
    /// A hub without sessions, which hears what is said to `events`.
    pub(super) fn new(place: Place, handle: LoopHandle, events: mpsc::UnboundedSender<Event>) -> Self {
        Self {
            place,
            handle,
            events,
            pairs: Pairs::default(),
            room: Arc::new(Semaphore::new(SESSION_ROOM)),
            clients: BTreeMap::new(),
            next_id: 0,
            served: BTreeMap::new(),
            guest: None,
            ends: JoinSet::new(),
        }
    }

    /// Does its work until the rank's part in the job is over.
    pub(super) async fn live(
        mut self,
        mut heard: mpsc::UnboundedReceiver<Event>,
        mut called: mpsc::Receiver<GuestCall>,
    ) {
        loop {
            tokio::select! {
                event = heard.recv() => match event {
                    Some(Event::Over(done)) => {
                        self.end().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(event) => self.on_event(event),
                    // It has a sender of its own.
                    None => return,
                },
                Some(call) = called.recv() => self.on_call(call),
                Ok(room) = Arc::clone(&self.room).acquire_owned(), if self.pairs.has_next() => {
                    if let Some((to, payload)) = self.pairs.next() {
                        self.handle.send(Command::Session { to, payload, room });
                    }
                }
                // Those that are over need no memory.
                Some(_) = self.ends.join_next() => {}
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Packet { from, packet, len } => {
                self.pairs.took(from, &packet, len);
                match packet {
                    Packet::Open { id, service } => self.open(from, id, service),
                    Packet::ToService { id, frame } => self.for_service(from, id, frame),
                    Packet::ToClient { id, frame } => self.for_client(from, id, frame),
                    Packet::Ack { .. } => {}
                }
            }
            Event::PeerGone(rank) => self.on_peer_gone(rank),
            Event::Attach { request, answer, stream } => self.on_attach(request, answer, stream),
            Event::Said { end: EndId::Client(id), frame } => self.client_said(id, frame),
            Event::Said { end: EndId::Service(rank, id), frame } => self.service_said(rank, id, frame),
            Event::Guest(facilities) => {
                self.guest = facilities.map(|facilities| (facilities, watch::channel(()).0));
            }
            Event::Over(_) => {}
        }
    }

    /// The job's rank that has this number.
    fn rank_of(&self, number: u32) -> Result<Rank, String> {
        let Place { world, numbers, .. } = self.place;
        let index = number.checked_sub(numbers.first());
        index.and_then(|index| world.rank(index).ok()).ok_or_else(|| {
            let (first, last) = (numbers.first(), numbers.shown(world.size() - 1));
            if first == last {
                format!("this job has no rank {number}: it has rank {first} only")
            } else {
                format!("this job has no rank {number}: its ranks are {first} to {last}")
            }
        })
    }

    fn on_attach(
        &mut self,
        request: SessionRequest,
        answer: oneshot::Sender<Answer>,
        stream: oneshot::Receiver<Stream>,
    ) {
        let SessionRequest { rank, service } = request;
        let opened = self.rank_of(rank).and_then(|to| self.new_client(to, service));
        let (id, frames) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                let _ = answer.send(Answer::Refused(why));
                return;
            }
        };
        let outlet = Outlet::new(self.events.clone(), EndId::Client(id));
        // Who asked may have gone: then no stream comes.
        let _ = answer.send(Answer::Session);
        self.ends.spawn(ends::attend_stream(stream, frames, outlet).in_current_span());
    }

    fn on_call(&mut self, call: GuestCall) {
        let GuestCall { host, request, input, output, end } = call;
        let opened = rank_called(&host, self.place.numbers.network())
            .ok_or_else(|| format!("no guest is called {host}"))
            .and_then(|rank| self.rank_of(rank.index()))
            .and_then(|to| self.new_client(to, Service::Exec(request)));
        match opened {
            Ok((id, frames)) => {
                let outlet = Outlet::new(self.events.clone(), EndId::Client(id));
                let duplex = Duplex::new(frames, outlet);
                self.ends.spawn(ends::attend_call(input, output, end, duplex).in_current_span());
            }
            Err(why) => drop(end.send(Err(ExecError::Refused(why)))),
        }
    }

    /// A session between a client here and a rank, and what the client is to hear.
    fn new_client(
        &mut self,
        to: Rank,
        service: Service,
    ) -> Result<(u32, mpsc::UnboundedReceiver<Frame>), String> {
        if self.clients.len() >= MAX_CLIENTS {
            return Err(format!("{MAX_CLIENTS} sessions begin at this rank already; wait until some end"));
        }
        let len = Packet::Open { id: 0, service: service.clone() }.encode().len();
        if len > MAX_REQUEST {
            return Err(format!(
                "the command line and environment have {len} octets; at most {MAX_REQUEST} can be sent to a guest"
            ));
        }
        while self.clients.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let (frames, heard) = mpsc::unbounded_channel();
        self.clients.insert(id, ClientEnd { to, frames });
        if to == self.place.me {
            self.open(to, id, service);
        } else {
            self.pairs.push(to, &Packet::Open { id, service });
        }
        Ok((id, heard))
    }

    /// Serves a client of rank `from`, which may be this one.
    fn open(&mut self, from: Rank, id: u32, service: Service) {
        let number = self.place.numbers.of(self.place.me);
        let refusal = if self.served.len() >= MAX_SERVED {
            Some(format!("rank {number} has {MAX_SERVED} sessions already; wait until some end"))
        } else if self.served.contains_key(&(from, id)) {
            Some("that session is open already".into())
        } else if self.guest.is_none() {
            Some(format!("the guest of rank {number} does not run"))
        } else {
            None
        };
        let (Some((facilities, running)), None) = (&self.guest, &refusal) else {
            let why = Outcome::Failed(refusal.unwrap_or_default());
            return self.towards_client(from, id, Frame::Done(why));
        };
        let presence = Presence { number, off: running.subscribe() };
        let facilities = facilities.clone();
        let (frames, heard) = mpsc::unbounded_channel();
        let duplex = Duplex::new(heard, Outlet::new(self.events.clone(), EndId::Service(from, id)));
        tracing::debug!("{} for rank {from}", service.name());
        self.served.insert((from, id), frames);
        self.ends.spawn(services::serve(service, facilities, presence, duplex).in_current_span());
    }

    fn client_said(&mut self, id: u32, frame: Frame) {
        let Some(client) = self.clients.get(&id) else { return };
        let to = client.to;
        if frame == Frame::Close {
            self.clients.remove(&id);
        }
        if to == self.place.me {
            self.for_service(to, id, frame);
        } else {
            self.pairs.push(to, &Packet::ToService { id, frame });
        }
    }

    fn service_said(&mut self, rank: Rank, id: u32, frame: Frame) {
        if !self.served.contains_key(&(rank, id)) {
            return;
        }
        if matches!(frame, Frame::Done(_)) {
            self.served.remove(&(rank, id));
        }
        self.towards_client(rank, id, frame);
    }

    fn towards_client(&mut self, rank: Rank, id: u32, frame: Frame) {
        if rank == self.place.me {
            self.for_client(rank, id, frame);
        } else {
            self.pairs.push(rank, &Packet::ToClient { id, frame });
        }
    }

    /// What comes after the end of a session is for nobody.
    fn for_service(&mut self, from: Rank, id: u32, frame: Frame) {
        let over = frame == Frame::Close;
        if let Some(frames) = self.served.get(&(from, id)) {
            let _ = frames.send(frame);
        }
        if over {
            self.served.remove(&(from, id));
        }
    }

    fn for_client(&mut self, from: Rank, id: u32, frame: Frame) {
        let Some(client) = self.clients.get(&id).filter(|client| client.to == from) else { return };
        let over = matches!(frame, Frame::Done(_));
        let _ = client.frames.send(frame);
        if over {
            self.clients.remove(&id);
        }
    }

    fn on_peer_gone(&mut self, rank: Rank) {
        self.pairs.forget(rank);
        self.served.retain(|(client, _), _| *client != rank);
        let number = self.place.numbers.of(rank);
        for (_, client) in self.clients.extract_if(.., |_, client| client.to == rank) {
            let why = format!("rank {number} has left the job");
            let _ = client.frames.send(Frame::Done(Outcome::Failed(why)));
        }
    }

    async fn end(&mut self) {
        self.guest = None;
        self.served.clear();
        for (_, client) in std::mem::take(&mut self.clients) {
            let _ = client.frames.send(Frame::Done(Outcome::Failed("the job has ended".into())));
        }
        let _ = timeout(LAST_WORDS, async { while self.ends.join_next().await.is_some() {} }).await;
        self.ends.abort_all();
    }
}
