//! The processes of a job, as `/proc` shows them (proc(5)).
//!
//! They are found by a variable of their environment that each of them inherits: children of mpirun leave its
//! process group, keepers their parents.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable; its value is different for each job.
pub const MARK: &str = "MVPNET_E2E_JOB";

/// What a process is in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// mvpnet itself: one rank of an MPI job, or all of `mvpnet up`.
    Ranks,
    /// Keeps a guest or the application.
    Keeper,
    /// qemu, or the load generator in its place.
    Guest,
    /// mpirun, its daemons, the application, a process between fork and exec.
    Other,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// What it is.
    pub kind: Kind,
    /// Its rank, where there is one.
    pub rank: Option<u32>,
    /// The port that leads to the guest, known to guests.
    pub ssh_port: Option<u16>,
    /// Its command line, for people.
    pub command: String,
}

/// All processes that inherited this mark and have not ended, in the order of their numbers.
pub fn of_job(mark: &str) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<Process> = pids.filter_map(|pid| look_at(pid, mark)).collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// The only one of this kind and rank.
pub fn the(processes: &[Process], kind: Kind, rank: u32) -> Option<&Process> {
    processes.iter().find(|process| process.kind == kind && process.rank == Some(rank))
}

/// Kills it, without a chance to do anything about it.
pub fn kill_now(pid: Pid) {
    // It may have ended at this moment.
    let _ = kill(pid, Signal::SIGKILL);
}

fn look_at(pid: i32, mark: &str) -> Option<Process> {
    let environment = environment(pid);
    if environment.get(MARK).map(String::as_str) != Some(mark) {
        return None;
    }
    if has_ended(pid) {
        return None;
    }
    let words = words(&fs::read(format!("/proc/{pid}/cmdline")).ok()?);
    let kind = kind(pid, &words);
    let number = |name: &str| environment.get(name)?.parse().ok();
    let rank = match kind {
        Kind::Ranks => number("OMPI_COMM_WORLD_RANK")
            .or_else(|| number("PMI_RANK"))
            .or_else(|| number("SLURM_PROCID"))
            .or(Some(0)),
        Kind::Guest => number("MVPNET_RANK"),
        // A keeper is known by its child only.
        Kind::Keeper => child_rank(pid),
        Kind::Other => None,
    };
    Some(Process {
        pid: Pid::from_raw(pid),
        kind,
        rank,
        ssh_port: environment.get("MVPNET_SSHPORT").and_then(|port| port.parse().ok()),
        command: words.join(" ").chars().take(120).collect(),
    })
}

fn kind(pid: i32, words: &[String]) -> Kind {
    let exe: PathBuf = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let exe = exe.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let second = words.get(1).map(String::as_str);
    match exe.trim_end_matches(" (deleted)") {
        "mvpnet" if second == Some("__keeper") => Kind::Keeper,
        "mvpnet" if second == Some("__exec") => Kind::Other,
        "mvpnet" => Kind::Ranks,
        "mvpnet-loadgen" if second != Some("--await-file") => Kind::Guest,
        name if name.starts_with("qemu-system") => Kind::Guest,
        _ => Kind::Other,
    }
}

/// The rank of the guest that a keeper keeps; none while it has none, and of the application's keeper.
fn child_rank(keeper: i32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find_map(|pid: i32| {
        let words = words(&fs::read(format!("/proc/{pid}/cmdline")).ok()?);
        let is_guest = kind(pid, &words) == Kind::Guest;
        is_guest.then(|| environment(pid).get("MVPNET_RANK")?.parse().ok())?
    })
}

fn environment(pid: i32) -> BTreeMap<String, String> {
    let words = words(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default());
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn words(bytes: &[u8]) -> Vec<String> {
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Ended, though its parent has not asked yet.
fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
