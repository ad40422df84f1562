//! How a bridge's control plane and its loop talk: commands one way (channel + eventfd, so that a sleeping loop
//! wakes), events the other.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mvpnet_transports::vxlan::Tunnel;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use super::notice::Notice;
use super::status::Status;

/// What the control plane asks of a loop.
#[derive(Debug)]
pub enum Command {
    /// Say how you do.
    Status(oneshot::Sender<Status>),
    /// These are the tunnels from now on. Those that stay keep what was learned and counted.
    Tunnels {
        /// All of them.
        tunnels: Vec<Tunnel>,
        /// Told what was changed, and what could not be.
        done: oneshot::Sender<Changed>,
    },
    /// Send what is queued, and return.
    Stop,
}

/// What new peers have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Tunnels that there were not.
    pub added: usize,
    /// Tunnels that there are no more.
    pub removed: usize,
    /// Tunnels that lead elsewhere.
    pub moved: usize,
    /// What cannot be done, in words.
    pub refused: Vec<String>,
}

/// What a loop tells its control plane.
#[derive(Debug)]
pub enum Event {
    /// Something that people need to know.
    Notice(Notice),
}

/// The control plane's end.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: Sender<Command>,
    bell: Arc<EventFd>,
}

impl Handle {
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
pub fn mailbox() -> Result<(Handle, Mailbox, mpsc::UnboundedReceiver<Event>), nix::errno::Errno> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (commands, inbox) = channel();
    let (events, heard) = mpsc::unbounded_channel();
    let handle = Handle { commands, bell: Arc::clone(&bell) };
    Ok((handle, Mailbox { commands: inbox, bell, events }, heard))
}
