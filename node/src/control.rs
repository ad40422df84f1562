//! Control sockets: how another program on the host asks a running job how it is, and has it do something, and a
//! running bridge how it does.
//!
//! A control socket is a unix socket in a directory that only its user can enter, named by the process id:
//! `$XDG_RUNTIME_DIR/mvpnet/PID.sock`, or `/tmp/mvpnet-UID/PID.sock` where there is no such directory. That is the
//! socket of a job's rank 0, and of all of `mvpnet up`; those of its other processes end in `.rank.sock`, and what only
//! rank 0 can answer they have answered by it, so that a job can be asked on every host that it is on. That of a bridge
//! ends in `.bridge.sock`. Only the user whose job it is gets an answer.
//!
//! One connection is one request and one answer, each a line of JSON; after a request for a
//! [session](crate::session) the connection goes on as that. The socket lives as long as the job or the bridge, and a
//! keeper removes it if the process dies. Beside it lies a [record](Record) of each rank, for what is to be done when
//! nobody answers any more: [`Known`] is what sockets and records say together. For what else a process of a job needs as
//! long as it lives there is a directory, `PID.job`.
//!
//! What jobs are asked is here; what bridges are asked is in [`bridge`](crate::bridge).

mod client;
mod directory;
mod garbage;
mod known;
mod place;
mod protocol;
mod record;
mod remains;
mod server;

pub use client::{AskError, ask, ask_within, running, socket_of};
pub(crate) use client::{ask_all, ask_one, open_session};
pub use directory::{DirectoryError, JobDirectory};
pub use garbage::{Garbage, clear, garbage, remove_garbage};
pub use known::{Known, known};
pub use place::Kind;
pub(crate) use place::directories;
pub(crate) use protocol::Reply;
pub use protocol::{Answer, JobInfo, JobState, JobStatus, RankState, RankStatus, Request, line};
pub use record::{Found, Record};
pub use remains::{Members, Remains};
pub(crate) use server::{Asked, Control, Stream};
