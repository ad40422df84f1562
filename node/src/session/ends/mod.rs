//! The clients of a rank's hub.

mod call;
mod stream;

pub(super) use call::attend_call;
pub(super) use stream::attend_stream;
