//! The jobs of this user on this host, by all that is known of them: what they answer, and where they do not, what
//! their ranks have noted down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mvpnet_qemu_driver::process::{Fate, Process, Realm};

use super::client::{INFO_TIME, exchange};
use super::place::{Kind, directories, sockets_in};
use super::protocol::{Answer, JobInfo, JobState, Request};
use super::record::{Found, Record, records_in};

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
    let here = Realm::here();
    let groups = groups();
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
fn groups() -> Vec<Group> {
    let directories = directories();
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
        let elsewhere = self.records.iter().any(|found| found.record.fate(here) == Fate::Unknown);
        let info = match (said, self.records.first()) {
            (Some(info), _) => info,
            // Somebody who shares this directory knows better.
            (None, Some(_)) if processes.is_empty() && elsewhere => return None,
            (None, Some(found)) => silent(&found.record, &processes),
            // A socket that nobody has is not a job.
            (None, None) if processes.is_empty() => return None,
            (None, None) => nameless(&processes),
        };
        let sockets = self.sockets.into_iter().map(|(_, path)| path).collect();
        Some(Known { info, processes, records: self.records, sockets })
    }

    /// Asks one process after the other, the rest at once if the first has nothing to say.
    fn ask(&self) -> Option<JobInfo> {
        let (first, rest) = self.sockets.split_first()?;
        ask(first).or_else(|| {
            std::thread::scope(|scope| {
                let asked: Vec<_> = rest.iter().map(|socket| scope.spawn(|| ask(socket))).collect();
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

fn ask((process, path): &Socket) -> Option<JobInfo> {
    match exchange(Kind::Job, path, &Request::Info, Some(INFO_TIME)) {
        Ok(Answer::Info(info)) => Some(JobInfo { through: *process, ..info }),
        _ => None,
    }
}

/// Whether somebody listens, though nobody answers.
fn is_heard(path: &PathBuf) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

fn silent(record: &Record, processes: &[Process]) -> JobInfo {
    let state = if processes.is_empty() { JobState::Dead } else { JobState::Silent };
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
