//! The environment that every child of a rank gets: qemu, its wrapper, and the application.

use std::ffi::OsString;
use std::path::PathBuf;

use mvpnet_switch::{Rank, World};

/// What children are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    /// Their rank.
    pub me: Rank,
    /// Its world.
    pub world: World,
    /// The job's name.
    pub job: Option<String>,
    /// The login name in the guest.
    pub user: Option<String>,
    /// Where logs go.
    pub log_dir: PathBuf,
    /// The file by which the host's ssh knows the job's guests.
    pub ssh_config: Option<PathBuf>,
}

impl Children {
    /// The variables, with the port on this host that leads to the rank's guest.
    pub fn env(&self, ssh_port: u16) -> Vec<(OsString, OsString)> {
        let Self { me, world, job, user, log_dir, ssh_config } = self;
        let named = [
            ("MVPNET_RANK", me.to_string().into()),
            ("MVPNET_WSIZE", world.size().to_string().into()),
            ("MVPNET_SSHPORT", ssh_port.to_string().into()),
            ("MVPNET_SSHUSER", user.clone().unwrap_or_default().into()),
            ("MVPNET_JOBNAME", job.clone().unwrap_or_default().into()),
            ("MVPNET_LOGDIR", log_dir.clone().into_os_string()),
        ];
        let ssh_config = ssh_config.iter().map(|path| ("MVPNET_SSHCONFIG", path.clone().into_os_string()));
        named.into_iter().chain(ssh_config).map(|(name, value)| (OsString::from(name), value)).collect()
    }
}
