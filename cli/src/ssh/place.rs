//! Where a job keeps what ssh on this host has to know.

use std::path::{Path, PathBuf};

use mvpnet_node::control::JobDirectory;

use super::SshError;
use super::names::Names;
use crate::run::SSH_CONFIG;
use crate::session;

/// The config of one job.
#[derive(Debug)]
pub(super) struct Place {
    config: PathBuf,
}

impl Place {
    /// Of the only job, or the one that is called so.
    pub(super) fn find(wanted: Option<&str>) -> Result<Self, SshError> {
        let job = session::job(wanted)?;
        let directory = JobDirectory::of_process(job.through);
        match directory.map(|directory| directory.join(SSH_CONFIG)).filter(|config| config.exists()) {
            Some(config) => Ok(Self { config }),
            None => Err(SshError::NoConfig { job: job.to_string() }),
        }
    }

    /// The file.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// What is in it.
    pub(super) fn text(&self) -> Result<String, SshError> {
        std::fs::read_to_string(&self.config)
            .map_err(|error| SshError::Io { path: self.config.clone(), error })
    }

    /// The guests that it knows.
    pub(super) fn names(&self) -> Result<Names, SshError> {
        Ok(Names::of_config(&self.text()?))
    }
}
