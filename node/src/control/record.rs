//! What a rank notes down when its guest is started, so that others on its host can tell what is left if all of it is
//! killed, and end it if it does not end itself: which job, which process, which files.
//!
//! A file `PROCESS.RANK.job.json` beside the control sockets. The rank's keeper removes it. A record alone proves
//! nothing: its process is known by number and birth, and a control socket by who answers.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mvpnet_qemu_driver::Leftover;
use mvpnet_qemu_driver::process::{Fate, Process, Realm};
use mvpnet_qemu_driver::supervise::keepers_of;
use serde::{Deserialize, Serialize};

use super::place::{is_ours, prepare};

/// Behind the process and the rank.
const SUFFIX: &str = ".job.json";
/// Behind the name of one that is being written.
const PART: &str = ".part";
/// The longest that is read, in octets.
const MAX_LEN: u64 = 4 << 20;

/// One rank of a job on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The job, on all its hosts.
    pub id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// How many ranks it has.
    pub ranks: u32,
    /// The process of its rank 0, on whatever host.
    pub chief: u32,
    /// This rank, as people call it.
    pub rank: u32,
    /// Its process.
    pub process: Process,
    /// Where the process is.
    pub realm: Realm,
    /// When the job began, in seconds since 1970.
    pub started: u64,
    /// Its command line.
    pub command: Vec<String>,
    /// What its guest boots.
    pub image: Option<String>,
    /// The directory that images are copied to.
    pub run_dir: Option<PathBuf>,
    /// What has to go when the rank is gone.
    pub leftovers: Vec<Leftover>,
}

/// A record and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says.
    pub record: Record,
    /// Where it is.
    pub path: PathBuf,
}

impl Found {
    /// Whether keepers of its process live: they may be about to stop the guest and to tidy up.
    pub(super) fn is_kept(&self) -> bool {
        !keepers_of(self.record.process).is_empty()
    }
}

impl Record {
    /// The file of it in `directory`.
    pub(crate) fn path_in(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.{}{SUFFIX}", self.process.number, self.rank))
    }

    /// What has to be guarded before it is written to `directory`.
    pub(crate) fn guarded_in(&self, directory: &Path) -> Vec<Leftover> {
        let path = self.path_in(directory);
        let part = part_of(&path);
        vec![Leftover::EmptyDir(directory.to_owned()), Leftover::File(path), Leftover::File(part)]
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be made, is not the user's alone, or has no room.
    pub(crate) fn write_to(&self, directory: &Path) -> io::Result<()> {
        let path = self.path_in(directory);
        let part = part_of(&path);
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        prepare(directory)?;
        let opened = options.open(&part).or_else(|error| match error.kind() {
            // Another job was the last and has removed it.
            io::ErrorKind::NotFound => prepare(directory).and_then(|()| options.open(&part)),
            _ => Err(error),
        });
        opened?.write_all(&text)?;
        fs::rename(&part, &path)
    }

    /// What has become of its process, seen from `here`.
    pub fn fate(&self, here: &Realm) -> Fate {
        self.realm.fate_of(self.process, here)
    }
}

/// All records in a directory that can be trusted to be this user's, in the order of their names. What is no record is
/// passed over.
pub(super) fn records_in(directory: &Path) -> Vec<Found> {
    if !is_ours(directory) {
        return Vec::new();
    }
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<Found> = entries.filter_map(|entry| read(&entry.path())).collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// A record that says of itself what its name says.
fn read(path: &Path) -> Option<Found> {
    let (process, rank) = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.split_once('.')?;
    let (process, rank): (u32, u32) = (process.parse().ok()?, rank.parse().ok()?);
    let about = fs::symlink_metadata(path).ok()?;
    if !about.is_file() || about.len() > MAX_LEN {
        return None;
    }
    let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let is_itself = (record.process.number, record.rank) == (process, rank);
    is_itself.then(|| Found { record, path: path.to_owned() })
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = path.to_owned().into_os_string();
    part.push(PART);
    part.into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of rank 3 of a job that is this process.
    pub(in super::super) fn record() -> Record {
        Record {
            id: "host-7-1".into(),
            name: Some("lab".into()),
            ranks: 4,
            chief: 7,
            rank: 3,
            process: Process::this(),
            realm: Realm::here(),
            started: 1_700_000_000,
            command: vec!["mvpnet".into(), "up".into()],
            image: None,
            run_dir: Some("/r".into()),
            leftovers: vec![Leftover::File("/s/stream.lab.3.sock".into())],
        }
    }

    #[test]
    fn a_record_is_written_whole_and_read_back() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("mvpnet");
        let record = record();
        record.write_to(&directory).unwrap();
        record.write_to(&directory).unwrap();
        let found = records_in(&directory);
        assert_eq!(found.iter().map(|found| &found.record).collect::<Vec<_>>(), [&record]);
        assert_eq!(record.fate(&Realm::here()), Fate::Lives);
        for leftover in record.guarded_in(&directory).iter().rev() {
            leftover.remove().unwrap();
        }
        assert!(!directory.exists());
    }

    #[test]
    fn what_is_no_record_is_passed_over() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("mvpnet");
        let record = record();
        record.write_to(&directory).unwrap();
        let path = record.path_in(&directory);
        fs::copy(&path, directory.join("1.3.job.json")).unwrap();
        fs::write(directory.join("2.0.job.json"), "{}").unwrap();
        fs::write(directory.join("x.job.json"), "").unwrap();
        std::os::unix::fs::symlink(&path, directory.join("3.3.job.json")).unwrap();
        assert_eq!(records_in(&directory).len(), 1, "a record is what its name says");
        assert_eq!(records_in(parent.path()), []);
        assert_eq!(records_in(Path::new("/no/such/directory")), []);
    }
}
