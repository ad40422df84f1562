//! What the control plane of a rank and its frame loop say to each other.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_switch::{Control, Rank};
use mvpnet_transports::link::Change;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::mailbox;

/// Parts of sessions that may wait in a loop at a time: so many permits its control plane gives out.
pub const SESSION_ROOM: usize = 1024;

/// The rank's end of a guest link, on its way to the loop.
#[derive(Debug)]
pub struct GuestEnd {
    /// How frames are framed on it.
    pub kind: LinkKind,
    /// The socket.
    pub socket: OwnedFd,
    /// Where qemu binds its own end, for a datagram link over paths.
    pub guest_path: Option<PathBuf>,
}

/// What the control plane asks of a loop.
#[derive(Debug)]
pub enum Command {
    /// Serve this guest from now on.
    Attach(GuestEnd),
    /// Let go of the guest.
    Detach,
    /// Carry `payload` to the control plane of rank `to`.
    Message {
        /// Whom it is for.
        to: Rank,
        /// What it says; the loop does not look at it.
        payload: Vec<u8>,
    },
    /// The same for a part of a session. There are many, so that they have a bounded room among all messages.
    Session {
        /// Whom it is for.
        to: Rank,
        /// What it says.
        payload: Vec<u8>,
        /// Its place in the room, free again when the transport has taken it.
        room: OwnedSemaphorePermit,
    },
    /// Let this happen to the links that end here. What happens to guests is not the loop's business.
    Change {
        /// What happens.
        change: Change,
        /// Where the links' chances begin; only the first counts.
        seed: u64,
        /// Told when it has happened.
        applied: oneshot::Sender<()>,
    },
    /// Send a copy of the counters: the switch's by name, the transport's with `transport.` in front, what
    /// faults did with `faults.`.
    Counters(oneshot::Sender<Vec<(String, u64)>>),
    /// Drain and return.
    Stop,
}

/// What a loop tells its control plane.
#[derive(Debug)]
pub enum Event {
    /// The control plane of rank `from` says this.
    Message {
        /// Who says it.
        from: Rank,
        /// What it says.
        payload: Vec<u8>,
    },
    /// This rank has left the job: what was for it is lost.
    PeerGone(Rank),
    /// The guest asked for the job's end with an ARP request for the shutdown address.
    ShutdownAddress,
    /// The guest's end of the link is closed or unusable.
    GuestGone,
    /// The transport failed and the loop has ended.
    TransportFailed(String),
}

impl Event {
    /// What the control plane is told of what a guest has told the job; of the rest there is nothing to be done.
    pub(super) fn of(control: Control) -> Option<Event> {
        match control {
            Control::Shutdown => Some(Event::ShutdownAddress),
            Control::DhcpRelease | Control::DhcpDecline => None,
        }
    }
}

/// The control plane's end.
pub type LoopHandle = mailbox::Handle<Command>;

/// The loop's end.
pub type Mailbox = mailbox::Mailbox<Command, Event>;
