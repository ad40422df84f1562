//! Hubs of several ranks over the memory transport, with real frame loops and clients on real sockets; what runs commands
//! is made up.

mod fabric;
mod guest_calls;
mod limits;
mod streams;
