//! Calling agents: on this host as a child, on others by ssh.

use std::process::{ExitStatus, Stdio};

use mvpnet_node::control::line;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::protocol::{Call, MARK, Message, Request, VERSION};
use crate::plan::Host;

/// How other hosts are reached, unless somebody says otherwise: never with a question.
const SSH: &[&str] = &["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"];
/// What ssh ends with if it did not come to the command.
const SSH_FAILED: i32 = 255;
/// What a shell ends with if there is no such command.
const NO_PROGRAM: i32 = 127;
/// How many lines of a command's standard error are kept.
const KEPT_LINES: usize = 10;

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: Host,
    /// What this program is called there.
    pub(super) mvpnet: String,
}

/// How to reach hosts, and people.
#[derive(Clone, Debug)]
pub struct Caller {
    ssh: Vec<String>,
    /// Says it to people.
    say: fn(&str),
    /// Any of these turns true when nothing is wanted any more.
    unwanted: Vec<watch::Receiver<bool>>,
}

/// Why an agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot run `{program}`: {error}")]
    Spawn { program: String, error: std::io::Error },
    #[error("it cannot be reached: {}", said(.0))]
    Unreachable(Vec<String>),
    #[error(
        "there is no `{0}` on its PATH: install mvpnet there, or write where it is: `mvpnet = \"/path/to/mvpnet\"`"
    )]
    NoProgram(String),
    #[error("`mvpnet lab agent` gave no answer ({status}): {}", said(lines))]
    Broken { status: ExitStatus, lines: Vec<String> },
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn said(lines: &[String]) -> String {
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join("; ") }
}

impl Caller {
    /// `ssh` is a command, in words, if it is not to be the usual one. People are told by `say`, a line at a time.
    pub fn new(ssh: Option<&str>, say: fn(&str)) -> Caller {
        let ssh = ssh.map(|ssh| ssh.split_whitespace().map(str::to_owned).collect());
        let ssh = ssh.unwrap_or_else(|| SSH.iter().map(|word| (*word).to_owned()).collect());
        Caller { ssh, say, unwanted: Vec::new() }
    }

    /// The same, which lets agents undo what they have begun when this turns true.
    pub fn until(mut self, given_up: watch::Receiver<bool>) -> Caller {
        self.unwanted.push(given_up);
        self
    }

    /// The same, which never gives up.
    pub(super) fn persistent(self) -> Caller {
        Caller { unwanted: Vec::new(), ..self }
    }

    /// Says it to people.
    pub(super) fn say(&self, text: &str) {
        (self.say)(text);
    }

    /// Says the last lines of a program that failed to people.
    pub fn say_lines(&self, lines: &[String]) {
        for line in lines {
            self.say(&format!("    | {line}"));
        }
    }

    /// Asks, tells what is said meanwhile, and returns the answer.
    pub(super) async fn call(
        &self,
        target: &Target,
        request: Request,
        mut tell: impl FnMut(String),
    ) -> Result<Message, CallError> {
        let (program, mut child) = self.spawn(target)?;
        let call = line(&Call { version: VERSION.to_owned(), request });
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            // Who ended before has said why.
            let _ = stdin.write_all(&call).await;
        }
        let stderr = child.stderr.take();
        let errors = tokio::spawn(last_lines(stderr));
        let answer = self.answer(&mut child, stdin, &mut tell).await?;
        let status = child.wait().await?;
        let lines = errors.await.unwrap_or_default();
        match (answer, &target.host) {
            (Some(answer), _) => Ok(answer),
            (None, Host::Remote(_)) if status.code() == Some(SSH_FAILED) => {
                Err(CallError::Unreachable(lines))
            }
            (None, Host::Remote(_)) if status.code() == Some(NO_PROGRAM) => {
                Err(CallError::NoProgram(program))
            }
            (None, _) => Err(CallError::Broken { status, lines }),
        }
    }

    fn spawn(&self, target: &Target) -> Result<(String, Child), CallError> {
        let words = match &target.host {
            Host::Local if target.mvpnet == "mvpnet" => {
                vec![std::env::current_exe()?.to_string_lossy().into_owned()]
            }
            Host::Local => vec![target.mvpnet.clone()],
            Host::Remote(name) => self.ssh.iter().chain([name, &target.mvpnet]).cloned().collect(),
        };
        let mut command = Command::new(words.first().map_or("ssh", String::as_str));
        command.args(words.iter().skip(1)).args(["lab", "agent"]).env_remove(MARK);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok((target.mvpnet.clone(), child)),
            Err(error) => {
                Err(CallError::Spawn { program: words.first().cloned().unwrap_or_default(), error })
            }
        }
    }

    /// The answer, if one comes. When nothing is wanted any more the agent's standard input ends, and the answer says
    /// what became of that.
    async fn answer(
        &self,
        child: &mut Child,
        mut stdin: Option<ChildStdin>,
        tell: &mut impl FnMut(String),
    ) -> Result<Option<Message>, CallError> {
        let Some(stdout) = child.stdout.take() else { return Ok(None) };
        let mut lines = BufReader::new(stdout).lines();
        let mut given_up = std::pin::pin!(self.given_up());
        loop {
            tokio::select! {
                () = &mut given_up, if stdin.is_some() => stdin = None,
                line = lines.next_line() => {
                    let Some(line) = line? else { return Ok(None) };
                    match serde_json::from_str(&line) {
                        Ok(Message::Progress(text)) => tell(text),
                        Ok(answer) => return Ok(Some(answer)),
                        // A shell's greeting.
                        Err(_) => {}
                    }
                }
            }
        }
    }
}

impl Caller {
    /// Returns when nothing is wanted any more.
    async fn given_up(&self) {
        let mut all = JoinSet::new();
        for mut unwanted in self.unwanted.iter().cloned() {
            all.spawn(async move { unwanted.wait_for(|unwanted| *unwanted).await.is_ok() });
        }
        while let Some(ended) = all.join_next().await {
            if matches!(ended, Ok(true)) {
                return;
            }
        }
        // Nobody is there any more who could say so.
        std::future::pending().await
    }
}

async fn last_lines(stderr: Option<impl AsyncRead + Unpin>) -> Vec<String> {
    let mut kept = Vec::new();
    let Some(stderr) = stderr else { return kept };
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if kept.len() == KEPT_LINES {
            kept.remove(0);
        }
        kept.push(line.trim().to_owned());
    }
    kept
}
