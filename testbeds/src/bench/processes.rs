//! What /proc says about the processes of a job (proc(5)).
//!
//! A job's processes are found by their environment, which names the job's own directory: children of mpirun leave
//! its process group, and some leave their parents.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::Pid;

use crate::loadgen::OUT;

/// All processes whose environment has `MVPNET_LOADGEN_OUT=out`.
pub fn with_out(out: &Path) -> Vec<Pid> {
    let mut entry = format!("{OUT}=").into_bytes();
    entry.extend_from_slice(out.as_os_str().as_bytes());
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == entry)
        })
        .map(Pid::from_raw)
        .collect()
}

/// The program that a process runs.
pub fn program(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Its command line, for people.
pub fn command_line(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").chars().take(100).collect()
}

/// CPU time of all its threads, ns resolution (`/proc/PID/task/TID/schedstat`).
pub fn cpu_time(pid: Pid) -> Option<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(total))
}

/// Resident memory, bytes (`VmRSS`).
pub fn resident(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Whether a process has ended and only its parent has not asked yet.
pub fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_numbers() {
        let me = Pid::this();
        // A process that has just begun has used less than the unit that is counted in, 10 ms.
        let start = crate::wall::now();
        while cpu_time(me) == Some(Duration::ZERO) && start.elapsed() < Duration::from_secs(5) {}
        assert!(cpu_time(me).is_some_and(|time| time > Duration::ZERO));
        assert!(resident(me).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(program(me), std::env::current_exe().ok());
        assert!(!is_zombie(me));
    }

    #[test]
    fn finds_no_process_of_a_job_that_never_was() {
        assert!(with_out(Path::new("/nonexistent/mvpnet-bench")).is_empty());
    }
}
