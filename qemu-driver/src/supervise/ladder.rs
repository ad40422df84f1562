//! How a guest is stopped: asked first, then told, then killed.

use std::fmt;
use std::time::Duration;

use super::end::GuestEnd;
use crate::accel::Accel;

/// The steps and the time that each gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopLadder {
    /// After the ACPI power button is pressed, until SIGINT. Zero leaves the step out, as for a guest that
    /// cannot have booted yet.
    pub powerdown_grace: Duration,
    /// How often the button is pressed in that time: a guest that still boots does not notice the first.
    pub powerdown_every: Duration,
    /// After SIGINT to qemu, or SIGTERM to a program without a monitor, until SIGKILL.
    pub terminate_grace: Duration,
}

/// What it took to stop a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// The step after which the guest ended.
    pub step: StopStep,
    /// How it ended.
    pub end: GuestEnd,
    /// How long it took.
    pub elapsed: Duration,
}

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStep {
    /// None: the guest had ended before.
    AlreadyEnded,
    /// The ACPI power button.
    PowerDown,
    /// SIGINT to qemu, or SIGTERM to a program without a monitor.
    Terminate,
    /// SIGKILL to qemu.
    Kill,
}

impl StopLadder {
    /// One minute to shut down, two under software emulation.
    pub fn default_for(accel: Accel) -> StopLadder {
        let minutes = match accel {
            Accel::Kvm => 1,
            Accel::Tcg => 2,
        };
        StopLadder {
            powerdown_grace: Duration::from_secs(60 * minutes),
            powerdown_every: Duration::from_secs(5),
            terminate_grace: Duration::from_secs(10),
        }
    }

    /// Begins with SIGINT.
    pub fn without_powerdown(self) -> StopLadder {
        StopLadder { powerdown_grace: Duration::ZERO, ..self }
    }
}

impl fmt::Display for StopStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopStep::AlreadyEnded => "it had ended before",
            StopStep::PowerDown => "ACPI power-down",
            StopStep::Terminate => "it was told to quit",
            StopStep::Kill => "SIGKILL",
        })
    }
}
