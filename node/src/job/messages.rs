//! What the control planes of a job say to each other, as JSON in control records.
//!
//! Every rank speaks to rank 0 only, and rank 0 to all; but [sessions](crate::session) join any two, in records of their
//! own form. None of it is ever an Ethernet frame, so no guest
//! can forge it.

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::control::{JobInfo, RankStatus, Request};
use crate::session::Packet;

/// How far a rank's guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The rank checks what it was given and prepares its guest.
    Preparing,
    /// An image is being copied.
    Copying {
        /// Octets copied.
        done: u64,
        /// Octets in all.
        total: u64,
    },
    /// qemu runs, the guest is not ready yet.
    Booting,
    /// The guest is up.
    Ready {
        /// Port on the rank's host that leads to the guest's ssh, 0 without one.
        ssh_port: u16,
    },
    /// The guest is being powered down.
    Stopping,
    /// The guest is off.
    Off,
}

/// Something that keeps a job from starting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong and what to do about it.
    pub text: String,
    /// Whether the command line is to blame (exit code 2) rather than the machine (exit code 1).
    pub usage: bool,
    /// Whether it is the job's, although only one rank looked for it.
    pub of_job: bool,
}

/// Why a guest did not come up, or did not stay up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub why: String,
    /// The last lines of its console.
    pub console: Vec<String>,
}

/// What guests may leave to the receivers of their frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offloads {
    /// Checksums.
    pub checksum: bool,
    /// Cutting TCP and UDP into segments.
    pub segmentation: bool,
}

impl Offloads {
    /// All that there are.
    pub const ALL: Self = Offloads { checksum: true, segmentation: true };

    /// What both take.
    pub fn and(self, other: Self) -> Self {
        Offloads {
            checksum: self.checksum && other.checksum,
            segmentation: self.segmentation && other.segmentation,
        }
    }
}

/// A rank's counters by name.
pub type CounterList = Vec<(String, u64)>;

/// What a rank says to rank 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The rank is there, on this host, and its command line is in order or not.
    Hello {
        /// The host's name.
        host: String,
        /// What keeps it from starting.
        problem: Option<Problem>,
        /// What may be left to be done to frames that come to it.
        takes: Offloads,
    },
    /// The guest got this far.
    Phase(Phase),
    /// The guest did not come up, or died.
    Failed(Failure),
    /// Somebody at this rank wants the job to end.
    ShutdownWanted {
        /// Who or what.
        by: String,
        /// Whether there is no time for a grace period: the launcher is gone, or it was asked for twice.
        hurry: bool,
    },
    /// The guest is off for good and everything of it is removed.
    Done {
        /// The rank's counters.
        counters: CounterList,
    },
}

/// What rank 0 says to all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Start the guests.
    Start {
        /// Ranks on the host that has most of them.
        fullest_host_ranks: u32,
        /// What rank 0 wants all guests' configurations to be made from: see [`HostSeed`](super::plan::HostSeed).
        briefing: Option<String>,
        /// What guests may leave to others: what every rank takes.
        offloads: Offloads,
    },
    /// Power the guests down.
    Shutdown {
        /// What for.
        reason: String,
        /// Whether to skip the grace period.
        hurry: bool,
    },
    /// Everything is over.
    Finish {
        /// The job's exit code.
        exit_code: i32,
    },
}

/// Changes to links and guests that every rank is to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeOrder {
    /// By which they are known.
    pub id: u64,
    /// Where the chances of links begin.
    pub seed: u64,
    /// In words, in their order.
    pub changes: Vec<String>,
}

/// A rank has made them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeDone {
    /// Which.
    pub id: u64,
    /// What went wrong.
    pub trouble: Option<String>,
    /// What its guest has come to, if something was done to it.
    pub condition: Option<GuestCondition>,
}

/// What was done to a guest on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestCondition {
    /// Nothing that lasts.
    Runs,
    /// It stands still.
    Paused,
    /// It was killed and not started again.
    Crashed,
}

/// One message between control planes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// To rank 0.
    Report(Report),
    /// From rank 0.
    Order(Order),
    /// From rank 0: changes to the running job.
    Change(ChangeOrder),
    /// To rank 0: they are made.
    Changed(ChangeDone),
    /// To rank 0, and from it: the sender is there.
    Alive,
    /// From any rank to any: a part of a session. Not JSON.
    #[serde(skip)]
    Session(Packet),
    /// From rank 0, before anything is started: which job this is.
    Job(JobInfo),
    /// To rank 0: somebody on the rank's host asks what only rank 0 can answer.
    Ask {
        /// By which the rank knows the question.
        id: u64,
        /// The question.
        request: Request,
    },
    /// From rank 0: a part of the answer. One that is long has more parts than a control record has room for.
    Answered {
        /// To which question.
        id: u64,
        /// A piece of the answer as JSON.
        part: String,
        /// Whether it is the last piece.
        is_last: bool,
    },
    /// From rank 0: every rank is to answer this.
    Poll {
        /// By which it is known.
        id: u64,
        /// What.
        question: Question,
    },
    /// To rank 0: its answer.
    Polled {
        /// To which question.
        id: u64,
        /// The answer.
        said: Said,
    },
}

/// What rank 0 asks of every rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// How are you?
    Status,
    /// Press the reset buttons of these guests, if one is yours.
    Reset {
        /// Whose, as people call them.
        ranks: Vec<u32>,
        /// Whether to wait until they are up again.
        wait: bool,
    },
}

/// What a rank answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// So it is.
    Status(Box<RankStatus>),
    /// It is done, or cannot be.
    Done(Result<(), String>),
}

impl Message {
    /// The message as a control record's payload.
    pub fn encode(&self) -> Vec<u8> {
        if let Self::Session(packet) = self {
            return packet.encode();
        }
        serde_json::to_vec(self).expect("messages hold only what JSON can say")
    }

    /// Reads a control record's payload.
    ///
    /// # Errors
    /// It is not a message of this version of the program.
    pub fn decode(payload: &[u8]) -> Result<Self, serde_json::Error> {
        if Packet::is_one(payload) {
            return Packet::decode(payload).map(Self::Session).map_err(serde_json::Error::custom);
        }
        serde_json::from_slice(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_journey() {
        let message = Message::Report(Report::Failed(Failure {
            why: "no banner".into(),
            console: vec!["a\u{1b}".into()],
        }));
        assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }

    #[test]
    fn a_payload_that_is_no_message_is_an_error() {
        assert!(Message::decode(b"\xff\x00").is_err());
        assert!(Message::decode(b"{\"Order\":\"Dance\"}").is_err());
    }
}
