//! What an MPI library leaves behind when its processes are killed, so that somebody who outlives them can
//! remove it.
//!
//! Found by killing: MPICH 4.0 unlinks its segments at start and leaves nothing. OpenMPI removes its files
//! when a rank is killed, but when `mpirun` itself is killed with SIGKILL, its ranks end and leave
//! `/dev/shm/vader_segment.HOST.UID.JOB.RANK` (`sm_segment…` from version 5 on) and the session directory,
//! `/tmp/ompi.HOST.UID/pid.PID` on mpirun's host.

use std::fs;
use std::path::{Path, PathBuf};

/// Files of this rank and directories of the job on this host.
///
/// To be removed after the rank and its launcher have ended: until then the launcher does it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Shared-memory segments that this rank made.
    pub files: Vec<PathBuf>,
    /// Session directories, the same for all ranks of the host.
    pub directories: Vec<PathBuf>,
    /// The process that started this rank (mpirun, its daemon or Hydra's proxy) and cleans up as long as it
    /// lives.
    pub launcher: u32,
}

/// What this process would leave. To be asked after [`init`](super::MpiTransport::init).
pub fn leftovers() -> Leftovers {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let var = |name: &str| std::env::var(name).ok();
    let local_rank = var("OMPI_COMM_WORLD_LOCAL_RANK");
    Leftovers {
        files: local_rank.map_or_else(Vec::new, |local_rank| segments(&maps, &local_rank)),
        directories: session_directory(var).into_iter().filter(|path| path.is_dir()).collect(),
        launcher: std::os::unix::process::parent_id(),
    }
}

/// OpenMPI's segments in `maps` (proc_pid_maps(5)) whose number is this rank's among those of its host.
fn segments(maps: &str, local_rank: &str) -> Vec<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let mut found: Vec<PathBuf> = paths
        .map(Path::new)
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_segment = name.starts_with("vader_segment.") || name.starts_with("sm_segment.");
            is_segment && name.rsplit('.').next() == Some(local_rank)
        })
        .map(Path::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// OpenMPI's directory for the jobs of one mpirun: OpenMPI 4 names it, OpenMPI 5 names the one of its PMIx
/// server in it.
fn session_directory(var: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    var("OMPI_COMM_WORLD_SIZE")?;
    let directory =
        PathBuf::from(var("OMPI_MCA_orte_jobfam_session_dir").or_else(|| var("PMIX_SERVER_TMPDIR"))?);
    // Never a directory that is not the launcher's own, whatever the environment says.
    let is_session = directory.is_absolute()
        && directory.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            part.starts_with("ompi.") || part.starts_with("prte.")
        });
    is_session.then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_segments_of_this_rank_are_its_own() {
        let maps = "7f00-7f01 rw-s 00000000 00:19 5 /dev/shm/vader_segment.vm.0.28d00001.1\n\
                    7f01-7f02 rw-s 00000000 00:19 5 /dev/shm/vader_segment.vm.0.28d00001.1\n\
                    7f02-7f03 rw-s 00000000 00:19 6 /dev/shm/vader_segment.vm.0.28d00001.0\n\
                    7f03-7f04 rw-s 00000000 00:19 7 /dev/shm/mpich_shar_tmpSvBi75 (deleted)\n\
                    7f04-7f05 r-xp 00000000 00:19 8 /usr/lib/libmpi.so\n\
                    7f05-7f06 rw-p 00000000 00:00 0 [heap]\n";
        assert_eq!(segments(maps, "1"), [PathBuf::from("/dev/shm/vader_segment.vm.0.28d00001.1")]);
        assert_eq!(segments(maps, "2"), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_session_directory_is_openmpis_or_none() {
        let with = |directory: &'static str| {
            session_directory(move |name| match name {
                "OMPI_COMM_WORLD_SIZE" => Some("2".into()),
                "OMPI_MCA_orte_jobfam_session_dir" => Some(directory.into()),
                _ => None,
            })
        };
        assert_eq!(with("/tmp/ompi.vm.0/pid.17454"), Some(PathBuf::from("/tmp/ompi.vm.0/pid.17454")));
        assert_eq!(with("/home/user"), None);
        assert_eq!(with("ompi.vm.0/pid.1"), None);
        assert_eq!(session_directory(|_| None), None);
    }
}
