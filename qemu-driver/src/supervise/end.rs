//! How a guest ended.

use std::fmt;

use super::protocol::ProcessEnd;
use crate::qmp::ShutdownCause;

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestEnd {
    /// How its process ended; `None` if that is not known because its keeper was killed, or if the process
    /// cannot be killed.
    pub process: Option<ProcessEnd>,
    /// Why qemu ended it, if qemu said so.
    pub cause: Option<ShutdownCause>,
}

impl GuestEnd {
    /// Whether the guest switched itself off, asked to or not: the only end that is no failure.
    pub fn powered_off(&self) -> bool {
        self.process == Some(ProcessEnd::Code(0)) && self.cause == Some(ShutdownCause::Guest)
    }
}

impl fmt::Display for GuestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.process, self.cause) {
            (_, Some(ShutdownCause::GuestPanic)) => f.write_str("the guest's kernel panicked"),
            (Some(ProcessEnd::Code(0)), Some(ShutdownCause::Guest)) => f.write_str("the guest powered off"),
            (Some(ProcessEnd::Code(0)), _) => f.write_str("qemu was told to quit"),
            (Some(end), _) => write!(f, "qemu ended with {end}"),
            (None, _) => f.write_str("how qemu ended is not known: its keeper was killed, or it cannot be"),
        }
    }
}
