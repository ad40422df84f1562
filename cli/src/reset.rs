//! `mvpnet reset`: presses the reset buttons of guests.

mod flags;

use std::io::Write;
use std::process::ExitCode;

use mvpnet_node::control::{Answer, AskError, JobInfo, Request, ask};

use crate::args::{USAGE_EXIT_CODE, Usage};
use crate::job::{self, JobError};
use crate::node_set::{NodeSet, NodeSetError};
pub use flags::{AFTER_LONG, AFTER_SHORT, Flags, LONG_ABOUT, USAGE};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    nodes: NodeSet,
    wait: bool,
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
enum ResetError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Nodes(#[from] NodeSetError),
    #[error("{0}")]
    Refused(String),
    #[error("{}", .0.join("\n        "))]
    Failed(Vec<String>),
    #[error("the job's answer does not belong to the question")]
    Answer,
}

impl Options {
    /// What the flags ask for.
    ///
    /// # Errors
    /// The nodes are none.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { job, wait, nodes, help: _ } = flags;
        let nodes = nodes.parse().map_err(|error: NodeSetError| Usage::Reset(error.to_string()))?;
        Ok(Self { job, nodes, wait })
    }
}

/// Does it.
pub fn run(options: &Options) -> ExitCode {
    match carry_out(options) {
        Ok(text) => {
            // Nobody reads it: it is done all the same.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mvpnet: {error}");
            let is_usage = match &error {
                ResetError::Refused(_) | ResetError::Nodes(_) => true,
                ResetError::Job(error) => error.is_usage(),
                _ => false,
            };
            ExitCode::from(if is_usage { USAGE_EXIT_CODE } else { 1 })
        }
    }
}

fn carry_out(options: &Options) -> Result<String, ResetError> {
    let job = job::find(options.job.as_deref())?;
    let ranks = options.nodes.of_job(job.first_rank, job.ranks)?;
    if options.wait {
        // It takes as long as a boot, and says nothing meanwhile.
        let _ = writeln!(std::io::stderr(), "mvpnet: waiting until the guests are up again");
    }
    match ask(job.through, &Request::Reset { ranks: ranks.clone(), wait: options.wait })? {
        Answer::Done(job) => Ok(done(&job, ranks.len(), options.wait)),
        Answer::Refused(why) => Err(ResetError::Refused(why)),
        Answer::Failed(whys) => Err(ResetError::Failed(whys)),
        _ => Err(ResetError::Answer),
    }
}

fn done(job: &JobInfo, count: usize, waited: bool) -> String {
    let guests = if count == 1 { "guest was" } else { "guests were" };
    let up = if waited { " and is up again" } else { "" };
    let up = if count == 1 { up.to_owned() } else { up.replace("is", "are") };
    format!("{job}: {count} {guests} reset{up}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said_in_the_right_number() {
        let job = JobInfo { name: Some("lab".into()), process: 7, ranks: 4, ..JobInfo::default() };
        assert_eq!(done(&job, 1, true), "lab (process 7, 4 ranks): 1 guest was reset and is up again\n");
        assert_eq!(done(&job, 2, true), "lab (process 7, 4 ranks): 2 guests were reset and are up again\n");
        assert_eq!(done(&job, 2, false), "lab (process 7, 4 ranks): 2 guests were reset\n");
    }
}
