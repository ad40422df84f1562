//! Errors in the use of the program: what is wrong and what to do instead, once for the whole job.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use mvpnet_switch::{RankListError, Vni};
use thiserror::Error;

use super::values::ValueError;
use crate::logs::LogError;

/// The exit code of wrong usage.
pub const USAGE_EXIT_CODE: u8 = 2;

/// Wrong usage.
#[derive(Debug, Error)]
pub enum Usage {
    /// A flag that is none, a value that is missing.
    #[error("{problem}\ntry `{help}`")]
    CommandLine {
        /// What is wrong.
        problem: String,
        /// The command that says how it is right.
        help: String,
    },
    /// A value that its flag does not take.
    #[error("{}", value_text(flag, value, problem))]
    Value {
        /// The long name.
        flag: &'static str,
        /// As typed.
        value: String,
        /// What is wrong with it.
        problem: ValueError,
    },
    /// A rank list that is none.
    #[error("{flag} {value}: {problem}")]
    RankList {
        /// The long name.
        flag: &'static str,
        /// As typed.
        value: String,
        /// What is wrong with it.
        problem: RankListError,
    },
    /// A rank list that names ranks that are not there.
    #[error("{flag} {list}: there is no rank {rank} in this job of {world} ranks (0 to {last})", last = world - 1)]
    OutsideWorld {
        /// The long name.
        flag: &'static str,
        /// The list.
        list: String,
        /// A rank that it names.
        rank: u32,
        /// The size of the world.
        world: u32,
    },
    /// A change to a running job that is none.
    #[error("{0}\ntry `mvpnet fault --help`")]
    Fault(String),
    /// Nodes, a time or a command that make no sense.
    #[error("{0}\ntry `mvpnet exec --help`")]
    Exec(String),
    /// What stands where `mvpnet rsh` looks for a host and a command.
    #[error("{0}\ntry `mvpnet rsh --help`")]
    Rsh(String),
    /// A node whose console cannot be meant.
    #[error("{0}\ntry `mvpnet console --help`")]
    Console(String),
    /// A flag of `down` that makes no sense.
    #[error("{0}\ntry `mvpnet down --help`")]
    Down(String),
    /// A check that cannot be meant.
    #[error("{0}\ntry `mvpnet check --help`")]
    Check(String),
    /// Nodes to be reset that make no sense.
    #[error("{0}\ntry `mvpnet reset --help`")]
    Reset(String),
    /// A flag of a lab that makes no sense.
    #[error("{0}\ntry `mvpnet lab --help`")]
    Lab(String),
    /// A host or a flag that doctor can make nothing of.
    #[error("{0}\ntry `mvpnet doctor --help`")]
    Doctor(String),
    /// A bridge that cannot be meant.
    #[error("{0}\ntry `mvpnet bridge --help`")]
    Bridge(String),
    /// `up` without a number.
    #[error("mvpnet up needs the number of guests: -N 4")]
    NoRanks,
    /// `--remote` without `--vni`.
    #[error("--remote needs the first guest's VXLAN network identifier: --vni 40")]
    NoVni,
    /// More guests than identifiers.
    #[error("--vni {vni}: {count} guests have one each, and 16777215 is the last")]
    VniRange {
        /// The first.
        vni: Vni,
        /// How many guests.
        count: u32,
    },
    /// More guests than the network has.
    #[error("{count} guests from number {first} on do not fit into --world-size {world} (at most 16777213)")]
    OutsideNetwork {
        /// The first guest's number.
        first: u32,
        /// How many guests.
        count: u32,
        /// How many the network has.
        world: u64,
    },
    /// A packet that the tunnel does not carry.
    #[error(
        "--mtu {mtu} is too much: the path to {remote} carries {path} bytes, of which VXLAN leaves {most}; leave --mtu \
         out to have that"
    )]
    MtuOverPath {
        /// As typed.
        mtu: u32,
        /// The far end.
        remote: String,
        /// What the path carries.
        path: u32,
        /// What is left for guests.
        most: u32,
    },
    /// A host that cannot be found, or an address that is not this machine's.
    #[error("{0}")]
    Tunnel(String),
    /// A seed that cannot be made.
    #[error("{0}\ntry `mvpnet seed --help`")]
    Seed(String),
    /// What guests cannot be told.
    #[error("{0}")]
    Guests(String),
    /// Something about a scenario to be simulated.
    #[error("{0}")]
    Scenario(String),
    /// Nothing to boot from.
    #[error(
        "no disk image: name one with -i IMAGE, or a kernel with --kernel FILE; `mvpnet --help` lists the subcommands"
    )]
    NoImage,
    /// Nothing to boot from, for one rank.
    #[error("rank {rank} has no disk image: name one with -i {rank}:IMAGE, or for all ranks with -i IMAGE")]
    NoImageForRank {
        /// Which one.
        rank: u32,
    },
    /// The image stands among the application's arguments.
    #[error(
        "{flag} stands after the application's name (`{application}`), where flags belong to the application: \
         move it in front"
    )]
    ImageAfterApplication {
        /// As typed.
        flag: String,
        /// The application.
        application: String,
    },
    /// An image that is not what it should be.
    #[error("{0}")]
    Digest(String),
    /// `--initrd` or `--append` without `--kernel`.
    #[error("rank {rank} has {flag} but no kernel: name one with --kernel FILE")]
    NoKernel {
        /// Which one.
        rank: u32,
        /// Which of the two.
        flag: &'static str,
    },
    /// One file for the frames of several ranks.
    #[error(
        "--capture {path} would be written by ranks {first} and {second}: name a directory, or a file for one rank \
         (--capture {first}:{path})"
    )]
    CaptureShared {
        /// The file.
        path: String,
        /// A rank.
        first: u32,
        /// Another.
        second: u32,
    },
    /// Two things on standard output.
    #[error("--capture - and --app-output (-O) both write to standard output: capture to a file or a pipe")]
    CaptureAndOutput,
    /// The application is not there.
    #[error(
        "the application `{name}` {problem}; leave it out to keep the guests up until the job is stopped{hint}"
    )]
    Application {
        /// As typed.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
        /// More to say, or nothing.
        hint: String,
    },
    /// qemu is not there.
    #[error(
        "qemu (`{command}`) {problem}: install it (Debian: qemu-system-x86), or name it with --qemu COMMAND"
    )]
    Qemu {
        /// As typed.
        command: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A directory that cannot be made or used.
    #[error("{flag} {}: {source}", path.display())]
    Directory {
        /// The long name.
        flag: &'static str,
        /// As typed.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// The rank on whose host that is so.
        rank: u32,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Usage {
    /// The only rank that is concerned: others may not have the same error, so it has to speak itself.
    pub fn rank(&self) -> Option<u32> {
        match self {
            Self::Directory { rank, .. } => Some(*rank),
            _ => None,
        }
    }
}

fn value_text(flag: &str, value: &str, problem: &ValueError) -> String {
    match problem {
        // It says which image itself.
        ValueError::Image(problem) => problem.to_string(),
        problem => format!("{flag} {value}: {problem}"),
    }
}

/// Prints `error` if it is for this process to do so: rank 0 speaks for the job, a rank that alone has an
/// error for itself. `me` is this process's rank, none outside of an MPI job.
///
/// The exit code is that of whoever has spoken. The others end with 0: some mpiruns kill all ranks as soon as
/// one fails, the one that speaks among them.
pub fn report_usage(error: &Usage, me: Option<u32>) -> ExitCode {
    let Some(text) = usage_text(error, me) else { return ExitCode::SUCCESS };
    // Nobody left to tell: the exit code still does.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(USAGE_EXIT_CODE)
}

/// What [`report_usage`] prints, if anything.
pub fn usage_text(error: &Usage, me: Option<u32>) -> Option<String> {
    match (error.rank(), me) {
        (None, None | Some(0)) => Some(format!("mvpnet: {error}\n")),
        (None, Some(_)) => None,
        (Some(concerned), None) => Some(format!("mvpnet: rank {concerned}: {error}\n")),
        (Some(concerned), Some(me)) => (concerned == me).then(|| format!("mvpnet: rank {me}: {error}\n")),
    }
}

impl Usage {
    /// clap's message with its suggestion, without the summary of all flags that would hide it. `help` is the command
    /// that says what there is.
    pub(crate) fn of_command_line(error: &clap::Error, help: String) -> Self {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(texts)) => texts.first().cloned(),
            _ => None,
        };
        let problem = match (error.kind(), text(ContextKind::InvalidArg)) {
            (ErrorKind::UnknownArgument, Some(flag)) => match text(ContextKind::SuggestedArg) {
                Some(known) => format!("there is no flag {flag}; a similar one is {known}"),
                None => format!("there is no flag {flag}"),
            },
            (ErrorKind::InvalidValue, Some(flag)) => format!("{flag} needs a value"),
            (ErrorKind::TooManyValues, Some(flag)) => format!("{flag} takes no value"),
            _ => first_paragraph(&error.render().to_string()),
        };
        Self::CommandLine { problem, help }
    }
}

fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    paragraph.strip_prefix("error: ").unwrap_or(paragraph).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_0_speaks_for_the_job() {
        let error = Usage::NoRanks;
        assert!(usage_text(&error, None).unwrap().starts_with("mvpnet: mvpnet up needs"));
        assert!(usage_text(&error, Some(0)).is_some());
        assert_eq!(usage_text(&error, Some(3)), None);
    }

    #[test]
    fn a_rank_that_alone_is_concerned_speaks_for_itself() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = Usage::Directory { flag: "--run-dir", path: "/x".into(), source, rank: 3 };
        assert_eq!(usage_text(&error, Some(0)), None);
        let text = "mvpnet: rank 3: --run-dir /x: entity not found\n";
        assert_eq!(usage_text(&error, Some(3)).unwrap(), text);
        assert_eq!(usage_text(&error, None).unwrap(), text);
    }
}
