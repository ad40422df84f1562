//! The jobs of this user on this host, by all that is known of them: what they answer, and where they do not, what
//! their ranks have noted down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mvpnet_qemu_driver::process::{Fate, Process, Realm};

use super::client::exchange;
use super::place::{Kind, directories, sockets_in};
use super::protocol::{Answer, JobInfo, JobState, Request};
use super::record::{Found, Record, records_in};

/// How long a process may take to say which job it is of, before others are asked too. It answers at once.
const SOON: Duration = Duration::from_secs(2);

/// How long they may take then: a host may be loaded.
const LATE: Duration = Duration::from_secs(5);

/// A job with at least one rank that is, or was, on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it says of itself, or what can be said of it.
    pub info: JobInfo,
    /// Its living processes on this host.
    pub processes: Vec<Process>,
    /// What its ranks on this host have noted down.
    pub records: Vec<Found>,
    /// Its control sockets on this host.
    pub sockets: Vec<PathBuf>,
}

/// A control socket, with the process by which it is named.
type Socket = (u32, PathBuf);

/// What seems to be one job, before it was asked.
#[derive(Debug, Default)]
struct Group {
    records: Vec<Found>,
    sockets: Vec<Socket>,
}

/// All of them, those that have ended and left something included, in the order of their processes. Each is asked, all
/// at the same time.
pub fn known() -> Vec<Known> {
    known_in(&directories())
}

fn known_in(directories: &[PathBuf]) -> Vec<Known> {
    let here = Realm::here();
    let groups = groups(directories);
    let mut jobs: Vec<Known> = std::thread::scope(|scope| {
        let asked: Vec<_> = groups.into_iter().map(|group| scope.spawn(|| group.look(&here))).collect();
        // A panic has been reported; the other jobs are still to be shown.
        asked.into_iter().filter_map(|job| job.join().ok().flatten()).collect()
    });
    jobs.sort_by(|one, other| (&one.info.id, one.info.process).cmp(&(&other.info.id, other.info.process)));
    jobs.dedup_by(|next, first| {
        let is_same = next.info.id == first.info.id && !first.info.id.is_empty();
        if is_same {
            first.absorb(next);
        }
        is_same
    });
    jobs.sort_by_key(|job| (job.info.process, job.info.through));
    jobs
}

/// Records of one job belong together, and so does a socket with the records of its process.
fn groups(directories: &[PathBuf]) -> Vec<Group> {
    let mut by_id: BTreeMap<String, Group> = BTreeMap::new();
    for found in directories.iter().flat_map(|directory| records_in(directory)) {
        by_id.entry(found.record.id.clone()).or_default().records.push(found);
    }
    let sockets_of = |kind| directories.iter().flat_map(move |directory| sockets_in(directory, kind));
    let mut alone = Vec::new();
    // Rank 0's first: it need not ask another.
    for socket in sockets_of(Kind::Job).chain(sockets_of(Kind::Rank)) {
        match by_id.values_mut().find(|group| group.has_process(socket.0)) {
            Some(group) => group.sockets.push(socket),
            None => alone.push(Group { sockets: vec![socket], ..Group::default() }),
        }
    }
    by_id.into_values().chain(alone).collect()
}

impl Group {
    /// Whether the living process of this number is one that a record speaks of. A number that somebody else has now is
    /// as good as a dead one's.
    fn has_process(&self, number: u32) -> bool {
        let born = Process::of(number);
        let mut noted = self.records.iter().map(|found| found.record.process);
        noted.any(|process| process.number == number && born.is_none_or(|born| born == process))
    }

    fn look(self, here: &Realm) -> Option<Known> {
        let said = self.ask();
        let noted = self.records.iter().filter(|found| found.record.fate(here) == Fate::Lives);
        let mut processes: Vec<Process> = noted.map(|found| found.record.process).collect();
        let heard = self.sockets.iter().filter(|(_, path)| said.is_some() || is_heard(path));
        processes.extend(heard.filter_map(|(number, _)| Process::of(*number)));
        processes.sort_unstable();
        processes.dedup();
        let is_kept = processes.is_empty() && self.records.iter().any(|found| found.is_kept());
        let elsewhere = self.records.iter().any(|found| found.record.fate(here) == Fate::Unknown);
        let info = match (said, self.records.first()) {
            (Some(info), _) => info,
            // Somebody who shares this directory knows better.
            (None, Some(_)) if processes.is_empty() && elsewhere => return None,
            (None, Some(found)) => silent(&found.record, &processes, is_kept),
            // A socket that nobody has is not a job.
            (None, None) if processes.is_empty() => return None,
            (None, None) => nameless(&processes),
        };
        let sockets = self.sockets.into_iter().map(|(_, path)| path).collect();
        Some(Known { info, processes, records: self.records, sockets })
    }

    /// Asks one process, and if that does not answer soon, all of them.
    fn ask(&self) -> Option<JobInfo> {
        ask(self.sockets.first()?, SOON).or_else(|| {
            std::thread::scope(|scope| {
                let asked: Vec<_> =
                    self.sockets.iter().map(|socket| scope.spawn(|| ask(socket, LATE))).collect();
                asked.into_iter().filter_map(|said| said.join().ok().flatten()).next()
            })
        })
    }
}

impl AsRef<JobInfo> for Known {
    fn as_ref(&self) -> &JobInfo {
        &self.info
    }
}

impl Known {
    /// Takes in what is known of the same job by other sockets.
    fn absorb(&mut self, other: &mut Self) {
        if self.info.state == JobState::Silent && other.info.state != JobState::Silent {
            std::mem::swap(&mut self.info, &mut other.info);
        }
        self.processes.append(&mut other.processes);
        self.records.append(&mut other.records);
        self.sockets.append(&mut other.sockets);
        self.processes.sort_unstable();
        self.processes.dedup();
    }
}

fn ask((process, path): &Socket, within: Duration) -> Option<JobInfo> {
    match exchange(Kind::Job, path, &Request::Info, Some(within)) {
        Ok(Answer::Info(info)) => Some(JobInfo { through: *process, ..info }),
        _ => None,
    }
}

/// Whether somebody listens, though nobody answers.
fn is_heard(path: &PathBuf) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

fn silent(record: &Record, processes: &[Process], is_kept: bool) -> JobInfo {
    let state = if processes.is_empty() && !is_kept { JobState::Dead } else { JobState::Silent };
    JobInfo {
        id: record.id.clone(),
        name: record.name.clone(),
        process: record.chief,
        host: record.realm.host.clone(),
        through: processes.first().map_or(record.process.number, |process| process.number),
        ranks: record.ranks,
        state,
        started: record.started,
        age: age(record.started),
        image: record.image.clone(),
        command: record.command.clone(),
        ..JobInfo::default()
    }
}

/// Of a job of which there is a socket and no record: its guests here are off.
fn nameless(processes: &[Process]) -> JobInfo {
    let process = processes.first().map_or(0, |process| process.number);
    JobInfo { process, through: process, state: JobState::Silent, ..JobInfo::default() }
}

/// Seconds since then.
#[allow(clippy::disallowed_methods, reason = "people want to know how long it is in their time")]
pub(crate) fn age(started: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    now.as_secs().saturating_sub(started)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    use super::super::protocol::line;
    use super::super::record::tests::record;
    use super::*;

    /// A directory with the record of a rank that is this process.
    fn directory() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("mvpnet");
        record().write_to(&directory).unwrap();
        (parent, directory)
    }

    #[test]
    fn a_job_says_what_it_is_and_its_records_belong_to_it() {
        let (_parent, directory) = directory();
        let path = directory.join(format!("{}.rank.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            let info =
                JobInfo { id: record().id, process: 7, state: JobState::Running, ..JobInfo::default() };
            (&stream).write_all(&line(&Answer::Info(info))).unwrap();
        });
        let jobs = known_in(&[directory]);
        serving.join().unwrap();
        assert_eq!(jobs.len(), 1);
        let job = &jobs[0];
        assert_eq!((job.info.process, job.info.through), (7, std::process::id()));
        assert_eq!((job.records.len(), &job.sockets), (1, &vec![path]));
        assert_eq!(job.processes, [Process::this()]);
    }

    #[test]
    fn a_job_without_a_socket_is_silent_while_its_process_lives_and_then_dead() {
        let (_parent, directory) = directory();
        let jobs = known_in(std::slice::from_ref(&directory));
        let [job] = &jobs[..] else { panic!("{jobs:?}") };
        assert_eq!((job.info.state, job.info.name.as_deref()), (JobState::Silent, Some("lab")));
        assert_eq!(job.processes, [Process::this()]);
        // Somebody has its number by now.
        let mut old = record();
        old.process.born -= 1;
        old.write_to(&directory).unwrap();
        let jobs = known_in(std::slice::from_ref(&directory));
        assert_eq!((jobs.len(), jobs[0].info.state), (1, JobState::Dead));
        assert_eq!(jobs[0].processes, []);
        // On another host it may live.
        old.realm = Realm { host: "other".into(), boot: "other".into(), ..old.realm };
        old.write_to(&directory).unwrap();
        assert_eq!(known_in(&[directory]), []);
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_no_job() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("mvpnet");
        super::super::place::prepare(&directory).unwrap();
        drop(UnixListener::bind(directory.join("1.sock")).unwrap());
        assert_eq!(known_in(&[directory]), []);
    }
}
