//! `mvpnet port`: the ssh port of a guest on standard input and output, for ssh's ProxyCommand. It reaches guests of the
//! job's other hosts, whose forwarded ports are on those.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::thread;

use clap::{ArgAction, Args};
use mvpnet_node::session::{Outcome, Service, Session, SessionEvent};

use crate::args::Usage;
use crate::exec::copy;
use crate::node_set::{NodeSet, NodeSetError};
use crate::session::{self, EnterError, FAILED};

/// `--help`.
pub const LONG_ABOUT: &str = "\
Join standard input and output to the ssh port of a guest, on whichever host of the job it is.

It is for ssh's ProxyCommand: `ssh -o ProxyCommand='mvpnet port 3' n0003`. `mvpnet ssh` needs none of this.";

/// How it is called.
pub const USAGE: &str = "mvpnet port [-j JOB] NODE";

/// As typed.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// The job: its name, or a process of it (not needed where only one runs) [env: MVPNET_JOB]
    #[arg(short, long, value_name = "NAME|PID")]
    pub job: Option<String>,

    /// Show this
    #[arg(short, long, action = ArgAction::Help, display_order = 1000)]
    pub help: Option<bool>,

    /// Whose port: a rank (3) or a host name (n0003)
    #[arg(value_name = "NODE")]
    pub node: String,
}

/// Whose port.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    job: Option<String>,
    node: NodeSet,
}

impl Options {
    /// What the flags ask for.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags { job, help: _, node } = flags;
        let node = node.parse().map_err(|error: NodeSetError| Usage::Exec(error.to_string()))?;
        Ok(Self { job, node })
    }
}

/// Joins them until both directions have ended.
pub fn run(options: &Options) -> ExitCode {
    let session = session::job(options.job.as_deref()).and_then(|job| {
        let rank = session::one_of(&job, &options.node)?;
        Ok(session::open(&job, rank, Service::Port)?)
    });
    let joined = session.and_then(|session| join(session).map_err(EnterError::from));
    match joined {
        Ok(Outcome::Failed(why)) => fail(&why, FAILED),
        Ok(_) => ExitCode::SUCCESS,
        // ssh has hung up.
        Err(EnterError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), error.code()),
    }
}

fn fail(why: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "mvpnet port: {why}");
    ExitCode::from(code)
}

fn join(mut session: Session) -> io::Result<Outcome> {
    let mut input = session.input();
    let sending = move || {
        // A session that is over takes no more.
        let _ = copy(&mut io::stdin(), &mut input).and_then(|()| input.end());
    };
    thread::Builder::new().name("input".into()).spawn(sending)?;
    let mut stdout = io::stdout();
    loop {
        match session.next_event() {
            SessionEvent::Output(data) | SessionEvent::Error(data) => {
                stdout.write_all(&data)?;
                stdout.flush()?;
            }
            SessionEvent::End => {}
            SessionEvent::Done(outcome) => return Ok(outcome),
        }
    }
}
