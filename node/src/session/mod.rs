//! Sessions: byte streams between a client somewhere in the job and a service of a rank.
//!
//! A client is a program on the control socket of any of the job's processes, or a command in a guest. A service is a
//! command that runs in a guest, its console, or its ssh port. Every rank has a *hub* that joins the ends that
//! are here with each other, and with those at other ranks by messages that go straight from rank to rank.
//!
//! ```text
//! program --control socket--> hub of rank 0 --control records--> hub of rank 3 --> command in its guest
//! command in guest 1 --channel--> hub of rank 1 --+
//! ```
//!
//! Nothing is lost, and nothing grows without bound:
//! - A session has a [window](WINDOW) in each direction. Whoever sends data has to have credit of the end that reads it,
//!   wherever that is, so that a hub never has to wait for anybody in order to take something. A signal costs some
//!   credit too, of which a reserve is kept for signals: they pass where data waits.
//! - Between two ranks a second window covers all sessions together, small enough for the transport's own: what session
//!   messages there are never stands in the way of the job's others. What has no room waits at its hub.
//! - The frame loop has a room for session messages; a hub takes a permit for each, and gets it back when the transport
//!   has the message.
//! - A rank has at most so many sessions ([`MAX_SERVED`], [`MAX_CLIENTS`]); others are refused with a reason.
//!
//! A session is over when its service says so ([`Outcome`]), or when its client leaves, which ends the command.

mod client;
mod credit;
mod duplex;
mod ends;
mod frame;
mod handle;
mod hub;
mod names;
mod packet;
mod pairs;
mod request;
mod services;
#[cfg(test)]
mod tests;

pub use client::{Session, SessionEvent, SessionInput};
pub use frame::{Frame, FrameError};
pub(crate) use handle::Sessions;
pub(crate) use hub::Place;
pub(crate) use packet::Packet;
pub use request::{Outcome, Service, SessionRequest};
pub(crate) use services::{Commands, Facilities};

/// How much of a session's data may be on the way in one direction, in octets.
pub const WINDOW: u32 = 64 << 10;

/// The most data in one frame, in octets.
pub const MAX_DATA: usize = 16 << 10;

/// Sessions that a rank serves at a time.
pub const MAX_SERVED: usize = 256;

/// Sessions at a time whose clients are at one rank.
pub const MAX_CLIENTS: usize = 1024;
