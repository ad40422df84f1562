//! A cluster under test, simulated or real: one test for both.
//!
//! A test that is written against [`Cluster`] runs on a [`SimCluster`] in milliseconds, on virtual time, and unchanged
//! on real guests under qemu (`QemuCluster` in the testbeds crate). Faults are the same [`Change`]s on both, made by
//! the same link model.
//!
//! ```
//! use std::time::Duration;
//! use mvpnet_sim::cluster::{Cluster, ClusterError, SimCluster};
//!
//! fn a_partition_parts_and_heals(cluster: &mut dyn Cluster) -> Result<(), ClusterError> {
//!     cluster.ping(0, 1)?;
//!     cluster.partition(&[&[0], &[1, 2]])?;
//!     assert!(cluster.ping(0, 1).is_err_and(|error| error.is_no_answer()));
//!     cluster.ping(1, 2)?;
//!     cluster.heal()?;
//!     cluster.ping(0, 1)?;
//!     cluster.set_link(0, 1, "latency=50ms")?;
//!     assert!(cluster.ping(0, 1)? >= Duration::from_millis(100));
//!     assert_eq!(cluster.exec(2, "hostname")?.stdout, "n0002\n");
//!     Ok(())
//! }
//!
//! a_partition_parts_and_heals(&mut SimCluster::new(1, 3)?)?;
//! # Ok::<(), ClusterError>(())
//! ```

mod programs;
mod simulated;

use std::time::Duration;

use mvpnet_switch::RankList;
use mvpnet_transports::link::{Change, ChangeError, LinkModel, Pairs, SettingError};
use thiserror::Error;

use crate::Failure;
pub use simulated::SimCluster;

/// How long an answer to a ping is waited for.
pub const PING_TIME: Duration = Duration::from_secs(2);

/// How long a command may take.
pub const EXEC_TIME: Duration = Duration::from_secs(60);

/// Guests that are joined by a network, and what a test does to them.
///
/// Time passes in every call: virtual or real. Methods that take a rank refuse one that is not there.
pub trait Cluster {
    /// How many guests there are; their ranks begin with 0.
    fn size(&self) -> u32;

    /// Sends one echo request from one guest to another. Returns the round-trip time.
    ///
    /// # Errors
    /// There is no answer within [`PING_TIME`], or the guest that is to ask cannot be told so.
    fn ping(&mut self, from: u32, to: u32) -> Result<Duration, ClusterError>;

    /// Runs a command line in a guest. That it fails is no error: see [`Output::status`].
    ///
    /// # Errors
    /// It has not ended within [`EXEC_TIME`], or the guest cannot be told so.
    fn exec(&mut self, rank: u32, command: &str) -> Result<Output, ClusterError>;

    /// Lets something happen to links or guests. It has happened when this returns; guests that were restarted
    /// are up again.
    ///
    /// # Errors
    /// This cluster cannot have it, or it went wrong.
    fn change(&mut self, change: &Change) -> Result<(), ClusterError>;

    /// Lets time pass.
    ///
    /// # Errors
    /// Something went wrong meanwhile.
    fn advance(&mut self, duration: Duration) -> Result<(), ClusterError>;

    /// Lets a change happen that is written as in a scenario file: `access 2 rate=1Mbit/s`.
    ///
    /// # Errors
    /// The words are no change; else see [`change`](Cluster::change).
    fn say(&mut self, words: &str) -> Result<(), ClusterError> {
        let change: Change = words.parse()?;
        self.change(&change)
    }

    /// Parts the guests into groups. Who is in none of them reaches everyone.
    ///
    /// # Errors
    /// See [`change`](Cluster::change).
    fn partition(&mut self, groups: &[&[u32]]) -> Result<(), ClusterError> {
        let groups = groups.iter().map(|group| RankList::of(group.iter().copied())).collect();
        self.change(&Change::Partition(groups))
    }

    /// Ends the partition.
    ///
    /// # Errors
    /// See [`change`](Cluster::change).
    fn heal(&mut self) -> Result<(), ClusterError> {
        self.change(&Change::Heal)
    }

    /// Makes the link between two guests so, both ways: `latency=10ms loss=1%`, or `ideal`.
    ///
    /// # Errors
    /// The words are no settings; else see [`change`](Cluster::change).
    fn set_link(&mut self, one: u32, other: u32, settings: &str) -> Result<(), ClusterError> {
        let model: LinkModel = settings.parse()?;
        let pairs = Pairs::BothWays(RankList::of([one]), RankList::of([other]));
        self.change(&Change::Link(pairs, model))
    }

    /// Kills a guest, as a power cut would.
    ///
    /// # Errors
    /// See [`change`](Cluster::change).
    fn kill(&mut self, rank: u32) -> Result<(), ClusterError> {
        self.change(&Change::Crash(RankList::of([rank])))
    }

    /// Boots a guest anew, whether it was killed or not, and waits until it is up.
    ///
    /// # Errors
    /// See [`change`](Cluster::change).
    fn restart(&mut self, rank: u32) -> Result<(), ClusterError> {
        self.change(&Change::Restart(RankList::of([rank])))
    }

    /// Lets a guest stand still.
    ///
    /// # Errors
    /// See [`change`](Cluster::change).
    fn pause(&mut self, rank: u32) -> Result<(), ClusterError> {
        self.change(&Change::Pause(RankList::of([rank])))
    }

    /// Lets a guest that stands still go on.
    ///
    /// # Errors
    /// See [`change`](Cluster::change).
    fn resume(&mut self, rank: u32) -> Result<(), ClusterError> {
        self.change(&Change::Resume(RankList::of([rank])))
    }
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 127 if there is no such program.
    pub status: i32,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Output {
    /// Of a command that succeeded and wrote this.
    pub fn success(stdout: impl Into<String>) -> Output {
        Output { stdout: stdout.into(), ..Output::default() }
    }

    /// Of a command that failed with this status, and this to say.
    pub fn failure(status: i32, stderr: impl Into<String>) -> Output {
        Output { status, stderr: stderr.into(), ..Output::default() }
    }

    /// Whether it succeeded.
    pub fn is_success(&self) -> bool {
        self.status == 0
    }
}

/// Why a cluster did not do what it was told.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A ping was not answered.
    #[error("guest {to} did not answer guest {from} within {PING_TIME:?}")]
    NoAnswer {
        /// Who asked.
        from: u32,
        /// Whom.
        to: u32,
    },
    /// A command has not ended.
    #[error("`{command}` in guest {rank} has not ended within {EXEC_TIME:?}")]
    TimeOut {
        /// Where.
        rank: u32,
        /// What.
        command: String,
    },
    /// A guest cannot be told to do something: it has crashed, stands still, or was never there.
    #[error("guest {rank} cannot be reached: {why}")]
    Unreachable {
        /// Which.
        rank: u32,
        /// Why.
        why: String,
    },
    /// A change that is none, or that this cluster cannot have.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Link settings that are none.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The simulation failed.
    #[error(transparent)]
    Simulation(Box<Failure>),
    /// The cluster itself is in trouble.
    #[error("{0}")]
    Broken(String),
}

impl ClusterError {
    /// Whether a ping was sent and not answered, rather than not sent.
    pub fn is_no_answer(&self) -> bool {
        matches!(self, ClusterError::NoAnswer { .. })
    }
}

impl From<Failure> for ClusterError {
    fn from(failure: Failure) -> ClusterError {
        ClusterError::Simulation(Box::new(failure))
    }
}
