//! What jobs that are dead have left on this host, and its removal.
//!
//! Nothing is taken for left that could be in use: a process is known by number and birth, a socket by somebody who
//! listens, a copied image by its lock, and what a living rank has noted down as its own is its own. What is not known
//! to be of mvpnet's making, or of this user's, is not looked at.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use mvpnet_qemu_driver::Leftover;
use mvpnet_qemu_driver::image::abandoned_overlays;
use mvpnet_qemu_driver::process::{Fate, Process, Realm};
use serde::Serialize;

use super::known::Known;
use super::place::{Kind, directories, is_ours, socket_in};
use super::record::{Found, records_in};

/// What a rank has noted down.
const RECORD: &str = "record";

/// Something that can go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it is, for people.
    pub what: &'static str,
    /// Where it is: a path, or the name of an interface.
    pub at: String,
    /// The job that has left it, if that is known.
    pub job: Option<String>,
    /// The record that names it.
    #[serde(skip)]
    record: Option<String>,
    /// How it is removed.
    #[serde(skip)]
    leftover: Leftover,
}

/// Everything on this host that dead jobs of this user have left, in the order in which it can be removed. Directories
/// that are empty only then are not among it.
pub fn garbage() -> Vec<Garbage> {
    let overlays = abandoned_overlays().into_iter().map(|path| Garbage {
        what: "overlays",
        at: shown(&path),
        job: None,
        record: None,
        leftover: Leftover::Tree(path),
    });
    garbage_in(&directories()).into_iter().chain(overlays).collect()
}

fn garbage_in(directories: &[PathBuf]) -> Vec<Garbage> {
    let here = Realm::here();
    let directories: Vec<&PathBuf> = directories.iter().filter(|directory| is_ours(directory)).collect();
    let records: Vec<Found> = directories.iter().flat_map(|directory| records_in(directory)).collect();
    let mut found = Vec::new();
    let (dead, others): (Vec<&Found>, Vec<&Found>) = records.iter().partition(|found| is_dead(found, &here));
    for record in &dead {
        found.extend(left_by(record, &others));
    }
    for directory in &directories {
        found.extend(named_by_process(directory, &records, &here));
    }
    found.extend(dead.iter().map(|found| Garbage {
        what: RECORD,
        at: shown(&found.path),
        job: found.record.name.clone(),
        record: Some(shown(&found.path)),
        leftover: Leftover::File(found.path.clone()),
    }));
    found
}

/// Removes everything that dead jobs of this user have left; what was removed, and what could not be.
pub fn remove_garbage() -> (Vec<Garbage>, Vec<String>) {
    let done = remove_all(garbage, |_| true);
    remove_empty_directories();
    done
}

/// Removes what is `wanted` of what `find` finds, and then what has become empty by that.
fn remove_all(find: fn() -> Vec<Garbage>, wanted: impl Fn(&Garbage) -> bool) -> (Vec<Garbage>, Vec<String>) {
    let (mut tried, mut gone, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let new = find().into_iter().filter(|garbage| wanted(garbage) && !tried.contains(garbage));
        let (records, others): (Vec<Garbage>, Vec<Garbage>) = new.partition(|garbage| garbage.what == RECORD);
        // The records last, for they say what there is, and not as long as something of it is left.
        let batch = match (others.is_empty(), failures.is_empty()) {
            (false, _) => others,
            (true, true) => records,
            (true, false) => Vec::new(),
        };
        if batch.is_empty() {
            return (gone, failures);
        }
        for garbage in batch {
            tried.push(garbage.clone());
            match garbage.remove() {
                Ok(()) => gone.push(garbage),
                Err(error) => failures.push(format!("cannot remove {}: {error}", garbage.at)),
            }
        }
    }
}

/// Removes what a job that is gone has left here; says what could not be removed.
pub fn clear(known: &Known) -> Vec<String> {
    let numbers: BTreeSet<u32> = known.members().numbers().collect();
    let paths: BTreeSet<String> = known.records.iter().map(|found| shown(&found.path)).collect();
    let is_its = |garbage: &Garbage| {
        let named = Path::new(&garbage.at).file_name().and_then(|name| named(name.to_str()?));
        let by_number = named.is_some_and(|(number, _)| numbers.contains(&number));
        garbage.record.as_ref().is_some_and(|record| paths.contains(record)) || by_number
    };
    let failures = remove_all(garbage, |garbage| is_its(garbage)).1;
    remove_empty_directories();
    failures
}

/// Removes the directory of control sockets if nothing is in it.
fn remove_empty_directories() {
    for directory in directories().iter().filter(|directory| is_ours(directory)) {
        // Another job may be about to use it, and makes it anew.
        let _ = fs::remove_dir(directory);
    }
}

impl Garbage {
    /// Removes it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove(&self) -> io::Result<()> {
        self.leftover.remove()
    }

    fn of(what: &'static str, leftover: &Leftover, by: &Found) -> Self {
        let (job, record) = (by.record.name.clone(), Some(shown(&by.path)));
        Self { what, at: leftover.to_string(), job, record, leftover: leftover.clone() }
    }
}

/// Whether a rank has ended, and its keepers too.
fn is_dead(found: &Found, here: &Realm) -> bool {
    found.record.fate(here) == Fate::Ended && !found.is_kept()
}

/// What a dead rank has noted down and is still there, and not some other rank's by now.
fn left_by(dead: &Found, others: &[&Found]) -> Vec<Garbage> {
    let kept: BTreeSet<String> =
        others.iter().flat_map(|found| &found.record.leftovers).map(Leftover::to_string).collect();
    let leftovers = dead.record.leftovers.iter().rev();
    let gone = leftovers.filter(|leftover| {
        // A copy that is shared has a lock, which tells more.
        matches!(leftover, Leftover::Copy { .. }) || !kept.contains(&leftover.to_string())
    });
    gone.filter_map(|leftover| Some(Garbage::of(kind_of(leftover)?, leftover, dead))).collect()
}

/// What a leftover is, unless there is none or somebody uses it.
fn kind_of(leftover: &Leftover) -> Option<&'static str> {
    match leftover {
        Leftover::File(path) if is_stale_socket(path) => Some("socket"),
        Leftover::File(path) => path.is_file().then_some("file"),
        Leftover::EmptyDir(path) => is_empty(path).then_some("directory"),
        Leftover::Tree(path) => is_directory(path).then_some("directory"),
        Leftover::Copy { lock, .. } => is_released(lock).then_some("copied image"),
        Leftover::Interface(name) => Path::new("/sys/class/net").join(name).exists().then_some("interface"),
        Leftover::Orphan { path, launcher } => {
            (path.symlink_metadata().is_ok() && Process::of(*launcher).is_none()).then_some("MPI's")
        }
    }
}

/// What is named by a process that is dead: sockets, directories, and records that cannot be read.
fn named_by_process(directory: &Path, records: &[Found], here: &Realm) -> Vec<Garbage> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<Garbage> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let (number, what) = named(entry.file_name().to_str()?)?;
            let is_known = records.iter().any(|found| found.path == path);
            let of = records.iter().find(|found| found.record.process.number == number);
            let is_dead = !is_known && is_left_by(number, &path, records, here);
            let usable = match what {
                "socket" => is_stale_socket(&path),
                "directory" => is_directory(&path),
                _ => true,
            };
            (is_dead && usable).then(|| Garbage {
                what,
                at: shown(&path),
                job: of.and_then(|found| found.record.name.clone()),
                record: None,
                leftover: if what == "directory" { Leftover::Tree(path) } else { Leftover::File(path) },
            })
        })
        .collect();
    found.sort_by(|one, other| one.at.cmp(&other.at));
    found
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// The process in the name of something of ours in a control directory, and what it is.
fn named(name: &str) -> Option<(u32, &'static str)> {
    let (number, rest) = name.split_once('.')?;
    let number = number.parse().ok()?;
    let what = match rest {
        "sock" | "rank.sock" | "bridge.sock" => "socket",
        "job" => "directory",
        rest if rest.ends_with("job.json") || rest.ends_with("job.json.part") => RECORD,
        _ => return None,
    };
    Some((number, what))
}

/// Whether what is named by this number was left by a process that had it and is dead.
fn is_left_by(number: u32, path: &Path, records: &[Found], here: &Realm) -> bool {
    let mut noted = records.iter().filter(|found| found.record.process.number == number);
    // Who is on another host that shares this directory, or in a container, may live.
    if noted.any(|found| !is_dead(found, here)) {
        return false;
    }
    match Process::of(number) {
        None => true,
        // One that can be asked is one of ours, whatever the clocks say.
        Some(_) if [Kind::Job, Kind::Rank].iter().any(|kind| is_heard(directory_of(path), *kind, number)) => {
            false
        }
        // Somebody has the number now. What is older than he is not his.
        Some(process) => match (path.symlink_metadata(), process.began()) {
            (Ok(found), Some(began)) => u64::try_from(found.mtime()).unwrap_or(0) + 1 < began,
            _ => false,
        },
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn is_heard(directory: &Path, kind: Kind, number: u32) -> bool {
    UnixStream::connect(socket_in(directory, kind, number)).is_ok()
}

fn is_stale_socket(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    let answers = UnixStream::connect(path).is_ok()
        || UnixDatagram::unbound().is_ok_and(|probe| probe.connect(path).is_ok());
    is_socket && !answers
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether nobody uses the copy that has this lock.
fn is_released(lock: &Path) -> bool {
    let open: io::Result<File> = OpenOptions::new().read(true).open(lock);
    open.is_ok_and(|file| file.try_lock().is_ok())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
