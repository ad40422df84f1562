//! What /proc says about the processes of a job (proc(5)).
//!
//! A job's processes are found by their environment, which names the job's own directory: children of mpirun leave
//! its process group, and some leave their parents.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::unistd::Pid;

use crate::loadgen::OUT;
use crate::wall::now;

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

/// What processes had used of the processors at a moment.
#[derive(Debug)]
pub struct CpuTimes {
    at: Instant,
    each: BTreeMap<Pid, Duration>,
}

impl CpuTimes {
    /// At this moment.
    pub fn of(processes: &[Pid]) -> CpuTimes {
        let each = processes.iter().filter_map(|&pid| Some((pid, cpu_time(pid)?))).collect();
        CpuTimes { at: now(), each }
    }

    /// What they have used since, those that have ended excepted.
    pub fn since(&self) -> Duration {
        let used = |(&pid, &before)| Some(cpu_time(pid)?.saturating_sub(before));
        self.each.iter().filter_map(used).sum()
    }

    /// The same as a part of one core, in %.
    pub fn percent(&self) -> f64 {
        100.0 * self.since().as_secs_f64() / self.at.elapsed().as_secs_f64()
    }

    /// Whether none has ended.
    pub fn all_live(&self) -> bool {
        self.each.keys().all(|&pid| cpu_time(pid).is_some())
    }
}

/// One of a process's environment's variables.
pub fn variable(pid: Pid, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let text = String::from_utf8_lossy(&environment).into_owned();
    text.split('\0').find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// What a process has of memory, bytes (`smaps_rollup`).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Its own, anonymous.
    pub own: u64,
    /// Its share of what is shared: a page that N processes have counts an Nth.
    pub shared: u64,
}

impl Memory {
    /// At this moment.
    pub fn of(pid: Pid) -> Option<Memory> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let bytes = |key: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        Some(Memory { own: bytes("Pss_Anon")?, shared: bytes("Pss_Shmem")? })
    }
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
        let start = now();
        while cpu_time(me) == Some(Duration::ZERO) && start.elapsed() < Duration::from_secs(5) {}
        assert!(cpu_time(me).is_some_and(|time| time > Duration::ZERO));
        assert!(resident(me).is_some_and(|bytes| bytes > 100_000));
        assert!(Memory::of(me).is_some_and(|memory| memory.own > 100_000));
        assert_eq!(variable(me, "PATH"), std::env::var("PATH").ok());
        assert_eq!(variable(me, "PAT"), None);
        assert_eq!(program(me), std::env::current_exe().ok());
        assert!(!is_zombie(me));
    }

    #[test]
    fn finds_no_process_of_a_job_that_never_was() {
        assert!(with_out(Path::new("/nonexistent/mvpnet-bench")).is_empty());
    }
}
