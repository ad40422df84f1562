//! How a control plane and its loop talk: commands one way (channel + eventfd, so that a sleeping loop wakes), events
//! the other. What is said is the loop's matter.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc;

/// The control plane's end.
#[derive(Debug)]
pub struct Handle<C> {
    commands: Sender<C>,
    bell: Arc<EventFd>,
}

impl<C> Handle<C> {
    /// Asks for `command`. A loop that has ended ignores it.
    pub fn send(&self, command: C) {
        if self.commands.send(command).is_ok() {
            // The counter saturates long after the loop has been woken.
            let _ = self.bell.write(1);
        }
    }
}

// Derived, it would want commands that can be cloned.
impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), bell: Arc::clone(&self.bell) }
    }
}

/// The loop's end.
#[derive(Debug)]
pub struct Mailbox<C, E> {
    commands: Receiver<C>,
    bell: Arc<EventFd>,
    events: mpsc::UnboundedSender<E>,
}

impl<C, E> Mailbox<C, E> {
    /// The next command, if one waits.
    pub(crate) fn next(&mut self) -> Option<C> {
        self.commands.try_recv().ok()
    }

    /// Tells the control plane; one that is gone does not listen.
    pub(crate) fn tell(&self, event: E) {
        let _ = self.events.send(event);
    }

    /// Readable when commands wait.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes the bell's ring off; commands are read afterwards, so none is missed.
    pub(crate) fn quiet(&self) {
        let _ = self.bell.read();
    }
}

/// Both ends, and the events that the control plane reads.
pub type Ends<C, E> = (Handle<C>, Mailbox<C, E>, mpsc::UnboundedReceiver<E>);

/// A connected pair of ends.
///
/// # Errors
/// No descriptor left for the eventfd.
pub fn mailbox<C, E>() -> Result<Ends<C, E>, nix::errno::Errno> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (commands, inbox) = channel();
    let (events, heard) = mpsc::unbounded_channel();
    let handle = Handle { commands, bell: Arc::clone(&bell) };
    Ok((handle, Mailbox { commands: inbox, bell, events }, heard))
}
