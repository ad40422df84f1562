//! What a bridge's control plane and its loop say to each other.

use mvpnet_transports::vxlan::Tunnel;
use tokio::sync::oneshot;

use super::notice::Notice;
use super::status::Status;
use crate::mailbox;

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
pub type Handle = mailbox::Handle<Command>;

/// The loop's end.
pub type Mailbox = mailbox::Mailbox<Command, Event>;
