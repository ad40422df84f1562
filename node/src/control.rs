//! Control sockets: how another program on the host asks a running job, at its rank 0, what is set, and sets it,
//! and a running bridge how it does.
//!
//! A control socket is a unix socket in a directory that only its user can enter, named by the process id:
//! `$XDG_RUNTIME_DIR/mvpnet/PID.sock`, or `/tmp/mvpnet-UID/PID.sock` where there is no such directory; that of a
//! bridge ends in `.bridge.sock`. One connection is one request and one answer, each a line of JSON; after a request for
//! a [session](crate::session) the connection goes on as that. The socket lives as long as the job or the bridge, and a keeper removes it if the process dies.
//!
//! Beside the sockets each process of a job has a directory for what else it needs as long as it lives, `PID.job`.
//!
//! What jobs are asked is here; what bridges are asked is in [`bridge`](crate::bridge).

mod client;
mod directory;
mod place;
mod protocol;
mod server;

pub use client::{AskError, ask, running};
pub(crate) use client::{ask_all, ask_one, open_session};
pub use directory::{DirectoryError, JobDirectory};
pub use place::Kind;
pub(crate) use protocol::Reply;
pub use protocol::{Answer, JobInfo, Request, line};
pub(crate) use server::{Asked, Control, Stream};
