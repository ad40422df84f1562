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
}

/// What a job answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Info`].
    Info(JobInfo),
    /// All of it has happened, at all ranks.
    Done(JobInfo),
    /// To [`Request::Session`]: what follows are frames of a session.
    Session,
    /// The request makes no sense to this job; nothing has happened.
    Refused(String),
    /// Something went wrong, a line for each rank that says so.
    Failed(Vec<String>),
}

/// A running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// The process of its rank 0.
    pub process: u32,
    /// How many ranks it has.
    pub ranks: u32,
    /// Where the chances of its links begin.
    pub seed: u64,
    /// What is set, as changes that would set it.
    pub in_force: Vec<String>,
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
        let mut job = JobInfo { name: None, process: 7, ranks: 1, seed: 7, in_force: Vec::new() };
        assert_eq!(job.to_string(), "process 7 (1 rank, no name)");
        job.name = Some("lab".into());
        assert_eq!(job.to_string(), "lab (process 7, 1 rank)");
    }
}
