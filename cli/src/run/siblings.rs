//! The other ranks that the launcher started on this host, before MPI knows them.

use std::fs;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the siblings have ended by themselves, but not longer than `limit`.
///
/// A launcher kills all ranks when one fails, and one that is killed within `MPI_Init` leaves the shared memory
/// that its library was about to make (UCX: `/dev/shm/ucx_shm_posix_…`), which nobody else knows of.
#[allow(clippy::disallowed_methods, reason = "what is waited for is the end of other processes")]
pub fn wait_until_gone(limit: Duration) {
    let until = Instant::now() + limit;
    while is_one_left() && Instant::now() < until {
        std::thread::sleep(PAUSE);
    }
}

/// Whether another child of this process's parent runs the same program. A child that has ended has none.
fn is_one_left() -> bool {
    let me = std::process::id();
    let Ok(program) = program_of(me) else { return false };
    children_of(parent_id()).any(|pid| pid != me && program_of(pid).is_ok_and(|it| it == program))
}

fn program_of(pid: u32) -> std::io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

/// proc_pid_stat(5) of all processes: the name, which may contain anything, ends at the last parenthesis, and
/// the parent is the second field behind it.
fn children_of(parent: u32) -> impl Iterator<Item = u32> {
    let is_child = move |process: &Path| {
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        behind_name.split_whitespace().nth(1).and_then(|it| it.parse().ok()) == Some(parent)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    processes.filter_map(move |path| {
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        is_child(&path).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_are_known_by_their_parent() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let me = std::process::id();
        assert!(children_of(me).any(|pid| pid == child.id()));
        assert!(children_of(parent_id()).any(|pid| pid == me));
        assert!(!children_of(parent_id()).any(|pid| pid == child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!children_of(me).any(|pid| pid == child.id()));
    }
}
