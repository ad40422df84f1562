//! What is said over a control socket.

use serde::{Deserialize, Serialize};

use crate::session::SessionRequest;

/// The longest request, in octets.
pub(super) const MAX_REQUEST: u64 = 1 << 20;

/// The longest answer, in octets: a bridge with thousands of VNIs and addresses has a lot to tell.
pub(super) const MAX_ANSWER: usize = 16 << 20;

/// What is answered over a control socket.
pub(crate) trait Reply: Serialize {
    /// To what is no request; nothing has happened.
    fn refused(why: String) -> Self;
}

impl Reply for Answer {
    fn refused(why: String) -> Self {
        Self::Refused(why)
    }
}

/// What is asked of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who are you, and what is set?
    Info,
    /// Let these happen, in their order. Each is a [`Change`](mvpnet_transports::link::Change) in words.
    Change(Vec<String>),
    /// Join me to a service of a rank. After [`Answer::Session`] the connection is the session.
    Session(SessionRequest),
    /// How are your ranks?
    Status,
    /// Come to an end. The answer comes at once.
    Down {
        /// Whether guests get no time to shut down.
        hurry: bool,
    },
    /// Press the reset buttons of these guests.
    Reset {
        /// Whose, as people call them.
        ranks: Vec<u32>,
        /// Whether the answer has to wait until they are up again.
        wait: bool,
    },
}

/// What a job answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Info`].
    Info(JobInfo),
    /// To [`Request::Status`].
    Status(JobStatus),
    /// All of it has happened, at all ranks; the job's end has begun.
    Done(JobInfo),
    /// To [`Request::Session`]: what follows are frames of a session.
    Session,
    /// The request makes no sense to this job; nothing has happened.
    Refused(String),
    /// Something went wrong, a line for each rank that says so.
    Failed(Vec<String>),
}

/// A job, as it says itself, or as is known of it otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// The same on all its hosts, and never that of another job.
    pub id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// The process of its rank 0.
    pub process: u32,
    /// The host of its rank 0.
    pub host: String,
    /// A process of it on the host where it was asked: rank 0's, if that is there.
    pub through: u32,
    /// How many ranks it has.
    pub ranks: u32,
    /// The first of them, as people call it.
    pub first_rank: u32,
    /// How many hosts they are on.
    pub hosts: u32,
    /// How far it is.
    pub state: JobState,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// How long ago that is, in seconds.
    pub age: u64,
    /// What its first guest boots.
    pub image: Option<String>,
    /// Its command line.
    pub command: Vec<String>,
    /// Where the chances of its links begin.
    pub seed: u64,
    /// What is set, as changes that would set it.
    pub in_force: Vec<String>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its ranks find each other.
    #[default]
    Starting,
    /// Guests boot.
    Booting,
    /// All guests were up.
    Running,
    /// It ends.
    Stopping,
    /// Processes of it live, and do not answer.
    Silent,
    /// Its processes are gone; files of it are left.
    Dead,
}

/// A job and its ranks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub job: JobInfo,
    /// Its ranks, in their order.
    pub ranks: Vec<RankStatus>,
}

/// How a rank is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankStatus {
    /// The rank, as people call it.
    pub rank: u32,
    /// Its host.
    pub host: String,
    /// How far its guest is.
    pub state: RankState,
    /// Its process.
    pub process: Option<u32>,
    /// The port of 127.0.0.1 on its host that leads to its guest's sshd.
    pub ssh_port: Option<u16>,
    /// The process of its qemu.
    pub qemu: Option<u32>,
    /// The process of the keeper of that.
    pub keeper: Option<u32>,
    /// The guest's memory.
    pub memory_mib: u32,
    /// The guest's CPUs, as qemu's `-smp` has them.
    pub cpus: String,
    /// Since the guest's qemu was started, in seconds.
    pub uptime: Option<f64>,
    /// From its start until it was ready, in seconds.
    pub boot: Option<f64>,
    /// How often the guest was started anew or reset.
    pub restarts: u32,
    /// What carries its frames: `stream`, `dgram` or `tap`.
    pub link: String,
    /// Frames from the guest.
    pub frames_in: u64,
    /// Frames to the guest.
    pub frames_out: u64,
    /// Frames that were dropped here, for whatever reason.
    pub drops: u64,
    /// Whether the agent in the guest can be reached; none where no way to one was made.
    pub agent: Option<bool>,
    /// The last line of its console.
    pub console: Option<String>,
}

/// How far a rank's guest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankState {
    /// The rank does not answer.
    #[default]
    Silent,
    /// The guest is being prepared.
    Preparing,
    /// Images are being copied.
    Copying,
    /// qemu runs, the guest is not up.
    Booting,
    /// The guest is up.
    Ready,
    /// It stands still.
    Paused,
    /// It was killed on purpose, and may be started anew.
    Crashed,
    /// It is being shut down.
    Stopping,
    /// It is off.
    Off,
}

/// A state as its word.
macro_rules! words {
    ($type:ident: $($variant:ident $word:literal),* $(,)?) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $word),* })
            }
        }
    };
}

words!(JobState: Starting "starting", Booting "booting", Running "running", Stopping "stopping", Silent "silent",
    Dead "dead");
words!(RankState: Silent "silent", Preparing "preparing", Copying "copying", Booting "booting", Ready "ready",
    Paused "paused", Crashed "crashed", Stopping "stopping", Off "off");

impl AsRef<JobInfo> for JobInfo {
    fn as_ref(&self) -> &JobInfo {
        self
    }
}

impl JobInfo {
    /// Whether `wanted` is the number of a process that it is known by.
    pub fn is_process(&self, wanted: &str) -> bool {
        [self.process, self.through].iter().any(|process| process.to_string() == wanted)
    }
}

impl std::fmt::Display for JobInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, process, ranks, .. } = self;
        let noun = if *ranks == 1 { "rank" } else { "ranks" };
        match name {
            Some(name) => write!(f, "{name} (process {process}, {ranks} {noun})"),
            None => write!(f, "process {process} ({ranks} {noun}, no name)"),
        }
    }
}

/// A message as its line.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages hold only what JSON can say");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_people_would_write_them() {
        let request: Request = serde_json::from_str(r#"{"change":["heal"]}"#).unwrap();
        assert_eq!(request, Request::Change(vec!["heal".into()]));
        assert_eq!(serde_json::from_str::<Request>("\"info\"").unwrap(), Request::Info);
        assert_eq!(line(&Request::Info), b"\"info\"\n");
    }

    #[test]
    fn a_job_without_a_name_is_called_by_its_process() {
        let mut job = JobInfo { process: 7, ranks: 1, ..JobInfo::default() };
        assert_eq!(job.to_string(), "process 7 (1 rank, no name)");
        job.name = Some("lab".into());
        assert_eq!(job.to_string(), "lab (process 7, 1 rank)");
    }
}
