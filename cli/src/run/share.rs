//! `--share`: directories of this host in a guest, each of them there.

use std::path::PathBuf;

use mvpnet_node::job::Problem;
use mvpnet_qemu_driver::spec::HostShare;
use mvpnet_seed::Share;

use super::problem::wrong;
use crate::args::{self, RankOptions};

/// A directory of this host in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharePlan {
    /// The directory here.
    pub host_dir: PathBuf,
    /// Whether the guest can only read.
    pub read_only: bool,
    /// What the guest is told.
    pub told: Share,
}

impl SharePlan {
    /// What qemu is told.
    pub fn for_host(self) -> HostShare {
        HostShare { tag: self.told.tag, host_dir: self.host_dir, read_only: self.read_only }
    }
}

/// The shares of a rank's guest, in the order of the flags.
pub fn shares(options: &RankOptions) -> Result<Vec<SharePlan>, Problem> {
    let count = options.shares.len();
    if count > HostShare::MOST {
        return Err(wrong(format!("{count} times --share: a guest can have {} at most", HostShare::MOST)));
    }
    options.shares.iter().enumerate().map(|(place, share)| plan(place, share)).collect()
}

fn plan(place: usize, share: &args::Share) -> Result<SharePlan, Problem> {
    let problem = |text: &str| wrong(format!("--share {}: {text}", share.host_dir.display()));
    let host_dir = share.host_dir.canonicalize().map_err(|error| problem(&error.to_string()))?;
    if !host_dir.is_dir() {
        return Err(problem("that is no directory"));
    }
    std::fs::read_dir(&host_dir).map_err(|error| problem(&error.to_string()))?;
    let guest_dir = match &share.guest_dir {
        Some(guest_dir) => guest_dir.clone(),
        // As typed, links and all: scripts call it so.
        None => std::path::absolute(&share.host_dir).map_err(|error| problem(&error.to_string()))?,
    };
    if guest_dir.file_name().is_none() {
        return Err(problem("say where the guest is to have it: HOSTDIR:GUESTDIR"));
    }
    let told = Share { tag: format!("share{place}"), guest_dir };
    Ok(SharePlan { host_dir, read_only: share.read_only, told })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn planned(host_dir: &Path, guest_dir: Option<&str>) -> Result<SharePlan, String> {
        let share = args::Share {
            host_dir: host_dir.into(),
            guest_dir: guest_dir.map(PathBuf::from),
            read_only: true,
        };
        plan(1, &share).map_err(|problem| problem.text)
    }

    #[test]
    fn guests_have_it_at_the_same_path_or_where_it_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        let share = planned(&here, None).unwrap();
        assert_eq!((&share.host_dir, &share.told.guest_dir), (&here, &here));
        let share = planned(&here.join("."), Some("/mnt")).unwrap();
        assert_eq!(
            (share.host_dir, share.told),
            (here, Share { tag: "share1".into(), guest_dir: "/mnt".into() })
        );
    }

    #[test]
    fn what_is_no_directory_cannot_be_shared() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(planned(&file, None).unwrap_err().ends_with("that is no directory"));
        let error = planned(&dir.path().join("none"), None).unwrap_err();
        assert!(error.contains("No such file or directory"), "{error}");
        assert!(planned(Path::new("/"), None).unwrap_err().contains("HOSTDIR:GUESTDIR"));
    }
}
