//! How the control plane and a frame loop talk: commands one way (channel + eventfd, so that a sleeping
//! loop wakes), events the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_switch::Rank;
use mvpnet_transports::link::Change;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

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
    /// The guest asked for the job's end with an ARP request for the shutdown address.
    ShutdownAddress,
    /// The guest's end of the link is closed or unusable.
    GuestGone,
    /// The transport failed and the loop has ended.
    TransportFailed(String),
}

/// The control plane's end.
#[derive(Clone, Debug)]
pub struct LoopHandle {
    commands: Sender<Command>,
    bell: Arc<EventFd>,
}

impl LoopHandle {
    /// Asks for `command`. A loop that has ended ignores it.
    pub fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // The counter saturates long after the loop has been woken.
            let _ = self.bell.write(1);
        }
    }
}

/// The loop's end.
#[derive(Debug)]
pub struct Mailbox {
    commands: Receiver<Command>,
    bell: Arc<EventFd>,
    events: mpsc::UnboundedSender<Event>,
}

impl Mailbox {
    /// The next command, if one waits.
    pub(super) fn next(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// Tells the control plane; one that is gone does not listen.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Readable when commands wait.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes the bell's ring off; commands are read afterwards, so none is missed.
    pub(super) fn quiet(&self) {
        let _ = self.bell.read();
    }
}

/// A connected pair of ends, and the events that the control plane reads.
///
/// # Errors
/// No descriptor left for the eventfd.
pub fn mailbox() -> Result<(LoopHandle, Mailbox, mpsc::UnboundedReceiver<Event>), nix::errno::Errno> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (commands, inbox) = channel();
    let (events, heard) = mpsc::unbounded_channel();
    let handle = LoopHandle { commands, bell: Arc::clone(&bell) };
    Ok((handle, Mailbox { commands: inbox, bell, events }, heard))
}
