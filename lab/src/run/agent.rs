//! The agent: this program on a host of a lab, for as long as one request takes. It starts what is asked for, so that
//! it outlives ssh, looks how it is, and ends it; whatever shell or quoting there is in between, it hears JSON.
//!
//! What belongs to a part of a lab is known by a mark in its processes' environment, and how it is by asking it: no
//! file says what runs, so that none can be wrong about it.

mod place;
mod processes;
mod start;
mod state;
mod stop;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mvpnet_node::control::line;
use tokio::sync::oneshot;

use super::Failed;
use super::protocol::{Call, Failure, MARK, Message, Request, Unit, VERSION};
use place::RunDir;
use processes::{Process, marked};

/// How often what cannot be waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Hears one request on standard input, does it, and answers on standard output. The process leads a session of its own
/// from then on.
///
/// # Errors
/// It could not be done. Whoever asked has been told why.
pub fn agent() -> Result<(), Failed> {
    // What it starts must not go with a terminal. An error means that it leads a session already, as under sshd.
    let _ = nix::unistd::setsid();
    let mut stdin = io::stdin().lock();
    let mut request = Vec::new();
    let message = match stdin.read_until(b'\n', &mut request).map(|_| serde_json::from_slice(&request)) {
        Err(error) => refused(format!("cannot hear the request: {error}")),
        Ok(Err(error)) => refused(format!("that is no request: {error}")),
        Ok(Ok(Call { version, .. })) if version != VERSION => refused(format!(
            "this is mvpnet {VERSION}, asked by mvpnet {version}: install one version on all hosts"
        )),
        Ok(Ok(Call { request, .. })) => {
            drop(stdin);
            serve(request)
        }
    };
    let failed = matches!(message, Message::Failed(_));
    say(&message);
    if failed { Err(Failed) } else { Ok(()) }
}

/// Carries out a request, or undoes it when standard input ends.
fn serve(request: Request) -> Message {
    let (caller, gone) = oneshot::channel::<()>();
    // Not a task of the runtime's, which would wait for it at the end.
    std::thread::spawn(move || {
        let _caller = caller;
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    });
    let carried_out = || {
        let program = vec![std::env::current_exe()?.to_string_lossy().into_owned()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok::<_, io::Error>(runtime.block_on(carry_out(program, request, gone, &say)))
    };
    carried_out().unwrap_or_else(|error| refused(error.to_string()))
}

async fn carry_out(
    program: Vec<String>,
    request: Request,
    gone: oneshot::Receiver<()>,
    say: &impl Fn(&Message),
) -> Message {
    let done = match request {
        Request::Start(start) => Agent::new(program, start.unit.clone()).start(*start, gone, say).await,
        Request::State(unit) => Ok(Message::State(Agent::new(program, unit).state().await)),
        Request::Stop { unit, force } => Agent::new(program, unit).stop(force).await.map(Message::Stopped),
    };
    done.unwrap_or_else(Message::Failed)
}

fn refused(why: String) -> Message {
    Message::Failed(Failure { why, lines: Vec::new() })
}

/// Says it to whoever asked. That nobody hears it shows in the end of standard input.
fn say(message: &Message) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(&line(message)).and_then(|()| stdout.flush());
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure { why: error.to_string(), lines: Vec::new() }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { why, lines: Vec::new() }
    }
}

/// What works on one part of a lab.
struct Agent {
    /// This program, as the first words of a command line.
    program: Vec<String>,
    unit: Unit,
    dir: RunDir,
    times: Times,
}

/// How long what ends may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Guests to shut down. The program itself gives them less, but in software emulation that is a minute, and then
    /// qemu is killed, step by step.
    grace: Duration,
    /// What is left of a program that has ended, to tidy up and go: guests' keepers.
    strays: Duration,
    /// Another agent that works on the same part, and what was killed.
    patience: Duration,
}

const TIMES: Times = Times {
    grace: Duration::from_secs(120),
    strays: Duration::from_secs(20),
    patience: Duration::from_secs(30),
};

impl Agent {
    fn new(program: Vec<String>, unit: Unit) -> Agent {
        let dir = RunDir::of(&unit.name);
        Agent { program, unit, dir, times: TIMES }
    }

    /// All processes of the part, that which the others are children of first.
    fn processes(&self) -> (Option<Process>, Vec<Process>) {
        let (mut main, others): (Vec<_>, Vec<_>) =
            marked(&self.unit.name).into_iter().partition(|process| self.is_main(process));
        // There is one, but for an instant after a fork.
        main.sort_by_key(|process| process.number);
        let rest = main.split_off(main.len().min(1));
        (main.pop(), rest.into_iter().chain(others).collect())
    }

    /// Whether it is the program with the part's subcommand, wherever the program was at that time.
    fn is_main(&self, process: &Process) -> bool {
        let at = self.program.len();
        let name = |words: &[String]| Path::new(words.get(at - 1)?).file_name().map(ToOwned::to_owned);
        name(&process.words) == name(&self.program)
            && process.words.get(at).is_some_and(|word| word == self.unit.kind.command())
    }

    /// A command of this program.
    fn command(&self, words: &[String]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program[0]);
        command.args(&self.program[1..]).args(words);
        // Control sockets are where every agent looks, not where one session's are.
        command.env_remove("XDG_RUNTIME_DIR").env_remove(MARK);
        command
    }
}

/// The user's home, where nothing else is said.
fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| "/".into(), PathBuf::from)
}
