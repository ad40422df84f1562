//! The control socket of a running job: how another program on the host of rank 0 asks what is set, and sets it.
//!
//! It is a unix socket in a directory that only its user can enter, named by the process id of rank 0:
//! `$XDG_RUNTIME_DIR/mvpnet/PID.sock`, or `/tmp/mvpnet-UID/PID.sock` where there is no such directory. One
//! connection is one request and one answer, each a line of JSON. It lives as long as the job, and a keeper removes
//! it if rank 0 dies.

mod client;
mod place;
mod protocol;
mod server;

pub use client::{AskError, ask, running};
pub use protocol::{Answer, JobInfo, Request};
pub(crate) use server::{Asked, Control};
