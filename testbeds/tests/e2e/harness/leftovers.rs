//! What a job may leave behind, and that it does not: processes, sockets, files, shared memory, ports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::processes;
use super::wait::wait_for;

/// How long after its end a job may still tidy up, however it ended.
pub const TIDY: Duration = Duration::from_secs(10);

/// What was there before a job.
#[derive(Debug)]
pub struct Before {
    shared_memory: BTreeSet<PathBuf>,
    temporary: BTreeSet<PathBuf>,
}

/// Where a job was told to put things.
#[derive(Debug)]
pub struct Places<'a> {
    /// The mark in its processes' environments.
    pub mark: &'a str,
    /// Its own directory: no socket in it outlives the job.
    pub home: &'a Path,
    /// Directories that have to be empty at the end.
    pub emptied: &'a [PathBuf],
    /// Directories among them that the job was told to make: they stay.
    pub stays: &'a [PathBuf],
    /// The directory that may keep logs and captures, and nothing else.
    pub logs: &'a Path,
    /// The ports that led to its guests.
    pub ports: &'a BTreeSet<u16>,
}

/// Directories with shared memory: this machine's; hosts made of namespaces have others.
const SHARED_MEMORY: &[&str] = &["/dev/shm"];

impl Before {
    /// To be taken before the job starts.
    pub fn look() -> Self {
        Self { shared_memory: shared_memory(), temporary: temporary() }
    }

    /// What is left once the job has had its time to tidy up; empty is what is wanted.
    pub fn left(&self, places: &Places<'_>) -> Vec<String> {
        let mut left = Vec::new();
        wait_for(TIDY, || {
            left = self.left_now(places);
            left.is_empty().then_some(())
        });
        left
    }

    fn left_now(&self, places: &Places<'_>) -> Vec<String> {
        let processes = processes::of_job(places.mark);
        let mut left: Vec<String> = processes
            .iter()
            .map(|it| format!("process {} ({:?}): {}", it.pid, it.kind, it.command))
            .collect();
        left.extend(sockets_in(places.home).map(|socket| format!("socket {socket}")));
        for directory in places.emptied {
            let files = entries(directory).filter(|path| !places.stays.contains(path));
            left.extend(files.map(|path| format!("file {}", path.display())));
        }
        let strangers = entries(places.logs).filter(|path| !is_log(path));
        left.extend(strangers.map(|path| format!("file {} among the logs", path.display())));
        left.extend(temporary().difference(&self.temporary).map(|path| format!("file {}", path.display())));
        left.extend(self.segments().map(|path| format!("shared memory {}", path.display())));
        left.extend(places.ports.iter().filter(|port| is_held(**port)).map(|port| format!("port {port}")));
        left
    }

    /// Segments that came since and that no process uses: those of a job that still runs are none of ours.
    fn segments(&self) -> impl Iterator<Item = PathBuf> {
        let now = shared_memory();
        let is_benchmark = |path: &Path| path.to_string_lossy().contains("/mvpnet-bench");
        let new = now.difference(&self.shared_memory).filter(|path| !is_benchmark(path));
        let new: Vec<PathBuf> = new.cloned().collect();
        let used = if new.is_empty() { String::new() } else { all_maps() };
        new.into_iter().filter(move |path| !used.contains(&*path.to_string_lossy()))
    }
}

fn shared_memory() -> BTreeSet<PathBuf> {
    let hosts = ["h0", "h1"].iter().filter_map(|host| {
        let holder = fs::read_to_string(format!("/run/mvpnet-two-hosts/{host}.pid")).ok()?;
        Some(format!("/proc/{}/root/dev/shm", holder.trim()))
    });
    let slurm = fs::read_to_string("/run/mvpnet-slurm/host.pid").ok();
    let slurm = slurm.map(|holder| format!("/proc/{}/root/dev/shm", holder.trim()));
    let hosts = hosts.chain(slurm);
    let directories = SHARED_MEMORY.iter().map(|&directory| directory.to_owned()).chain(hosts);
    directories.flat_map(|directory| entries(Path::new(&directory)).collect::<Vec<_>>()).collect()
}

/// What is put into directories that all share. The MPIs know better, by TMPDIR, but on the two hosts made of
/// namespaces, where they have a directory of their own.
fn temporary() -> BTreeSet<PathBuf> {
    let shared = [Some(PathBuf::from("/tmp")), std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)];
    let shared =
        shared.iter().flatten().flat_map(|directory| entries(directory).filter(|path| is_mvpnets(path)));
    let hosts = ["h0", "h1"].map(|host| PathBuf::from(format!("/run/mvpnet-two-hosts/{host}.local")));
    shared.chain(hosts.iter().flat_map(|directory| entries(directory))).collect()
}

/// Its directories are named by the user's number; mvpnet-bench and the like belong to others.
fn is_mvpnets(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix("mvpnet-").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn is_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kinds = ["con.", "mvpnet.", "gstats.", "wrap.", "capture."];
    kinds.iter().any(|kind| name.starts_with(kind)) && path.is_file()
}

/// Bound or connected unix sockets whose path is in `home` (`/proc/net/unix`, the path is the last column).
fn sockets_in(home: &Path) -> impl Iterator<Item = String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let home = home.to_string_lossy().into_owned();
    let paths: Vec<String> =
        table.lines().filter_map(|line| Some(line.rsplit_once(' ')?.1.to_owned())).collect();
    paths.into_iter().filter(move |path| path.starts_with(&home))
}

/// Whether something listens there, or has the port's name reserved, that is not somebody else's guest.
fn is_held(port: u16) -> bool {
    let name = format!("@mvpnet-port-{port}");
    let reserved =
        fs::read_to_string("/proc/net/unix").unwrap_or_default().lines().any(|line| line.ends_with(&name));
    // Address and port in hexadecimal, 127.0.0.1 in the byte order of the host; state 0A is LISTEN.
    let listening = format!("0100007F:{port:04X} 00000000:0000 0A");
    let listens = fs::read_to_string("/proc/net/tcp").unwrap_or_default().contains(&listening);
    (reserved || listens) && !another_guest_has(port)
}

fn another_guest_has(port: u16) -> bool {
    let forward = format!("hostfwd=tcp:127.0.0.1:{port}-");
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(&forward))
}

fn all_maps() -> String {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes.filter_map(|process| fs::read_to_string(process.path().join("maps")).ok()).collect()
}
