//! What the commands that get into guests share: `mvpnet exec`, `rsh`, `console` and `port`.

pub(crate) mod signals;

use std::io;

use mvpnet_node::control::{AskError, JobInfo};
use mvpnet_node::session::{Outcome, Service, Session, SessionRequest};

use crate::job::{self, JobError};
use crate::node_set::{NodeSet, NodeSetError};

/// The exit code for what is not the command's, as ssh has it (ssh(1), EXIT STATUS).
pub(crate) const FAILED: u8 = 255;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    /// No job, or it is not said which.
    #[error(transparent)]
    Job(#[from] JobError),
    /// It does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Nodes that it has not.
    #[error(transparent)]
    Nodes(#[from] NodeSetError),
    /// What this process needs to do its part.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl EnterError {
    /// The exit code: wrong usage has its own.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Nodes(_) => crate::args::USAGE_EXIT_CODE,
            Self::Job(error) if error.is_usage() => crate::args::USAGE_EXIT_CODE,
            _ => FAILED,
        }
    }
}

/// The job that is meant.
pub(crate) fn job(wanted: Option<&str>) -> Result<JobInfo, EnterError> {
    Ok(job::find(wanted)?)
}

/// The only rank of the job that is meant.
pub(crate) fn one_of(job: &JobInfo, node: &NodeSet) -> Result<u32, EnterError> {
    Ok(node.one_of_job(job.first_rank, job.ranks)?)
}

/// The ranks of the job that are meant.
pub(crate) fn all_of(job: &JobInfo, nodes: &NodeSet) -> Result<Vec<u32>, EnterError> {
    Ok(nodes.of_job(job.first_rank, job.ranks)?)
}

/// Opens a session with a rank of it.
pub(crate) fn open(job: &JobInfo, rank: u32, service: Service) -> Result<Session, AskError> {
    Session::open(job.through, &SessionRequest { rank, service })
}

/// The exit code of a command that ended so, as shells have it.
pub(crate) fn exit_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Exited(code) => u8::try_from(code & 0xff).unwrap_or(FAILED),
        Outcome::Killed(signal) => u8::try_from((128 + signal) & 0xff).unwrap_or(FAILED),
        Outcome::Closed => 0,
        Outcome::Failed(_) => FAILED,
    }
}
