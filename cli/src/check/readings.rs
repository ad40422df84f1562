//! What guests say of themselves, as the probe prints it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The guest's clock, at the moment at which this came.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct Now {
    /// Seconds since 1970.
    pub(super) now: f64,
}

/// A guest by itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Facts {
    /// What it calls itself.
    pub(super) host: String,
    /// Names that do not lead where they should.
    pub(super) wrong_names: Vec<WrongName>,
    /// What cloud-init says; none: there is no cloud-init.
    pub(super) cloud_init: Option<CloudInit>,
    /// The cluster's interface, if it was found.
    pub(super) nic: Option<Nic>,
    /// What there is of MPI.
    pub(super) mpi: Vec<Mpi>,
    /// The MPI of Python's mpi4py, if there is one.
    pub(super) mpi4py: Option<String>,
    /// How far its clock is before ours, in seconds; measured here.
    #[serde(skip)]
    pub(super) ahead: f64,
}

/// A name that does not lead where it should.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct WrongName {
    pub(super) name: String,
    pub(super) wanted: String,
    /// Addresses, or what is said instead.
    pub(super) found: Vec<String>,
}

/// `cloud-init status --long`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct CloudInit {
    /// None: it took too long.
    pub(super) code: Option<i32>,
    pub(super) text: String,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Nic {
    pub(super) name: String,
    pub(super) mtu: u32,
}

/// An MPI that a guest has.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Mpi {
    pub(super) launcher: String,
    pub(super) compiler: Option<String>,
    /// What the launcher says of its version.
    pub(super) says: String,
}

/// The way to another guest's sshd.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct SshReading {
    pub(super) peer: String,
    /// Nobody listens.
    pub(super) refused: bool,
    /// ssh's exit code; none: it took too long, or was not tried.
    pub(super) code: Option<i32>,
    /// All that it printed, or why it was not tried.
    pub(super) said: String,
    pub(super) seconds: f64,
}

/// Packets to another guest: `answered`, `nothing`, or what the system says to them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct PathReading {
    pub(super) peer: String,
    /// Of the interface that they leave by.
    pub(super) mtu: u32,
    /// A short one.
    pub(super) small: String,
    /// As long as the MTU.
    pub(super) full: String,
    /// One octet more.
    pub(super) over: String,
}

/// The lines of a probe's output that are of this kind.
pub(super) fn lines<T: DeserializeOwned>(output: &[u8]) -> Vec<T> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
