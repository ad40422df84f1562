//! A session with this program on another host: started over ssh, spoken to by lines, ended by the end of its input.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{self, Opening};
use super::ssh;
use super::system::end;
use super::wanted::Wanted;

/// How long a host may look at itself, ssh included.
const OPENING: Duration = Duration::from_secs(90);
/// How long it may take to probe others.
pub const PROBING: Duration = Duration::from_secs(60);
/// How long it may take to end when it is told to.
const ENDING: Duration = Duration::from_secs(5);
/// What ssh ends with if it did not come to the command (ssh(1)).
const SSH_FAILED: i32 = 255;
/// What a shell ends with if there is no such command (POSIX, §2.8.2).
const NO_PROGRAM: i32 = 127;

/// A session.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// Why a host gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// ssh does not get there.
    #[error("ssh does not get there: {0}")]
    Unreachable(String),
    /// There is no such program.
    #[error("there is no `{0}` there")]
    NoProgram(String),
    /// There is one, which does not know what is asked of it.
    #[error("`{program} doctor` there gives no answer: {said}")]
    Broken {
        /// The program.
        program: String,
        /// The last that it said.
        said: String,
    },
    /// It took too long.
    #[error("`{program} doctor` there gave no answer within {} s", waited.as_secs())]
    Late {
        /// The program.
        program: String,
        /// How long.
        waited: Duration,
    },
}

impl Session {
    /// Starts `mvpnet` on `login` by the command `wanted.ssh` of this host, and has it look at what is `asked`.
    pub fn open(
        here: &Wanted,
        login: &str,
        mvpnet: &str,
        asked: &Wanted,
    ) -> Result<(Self, Opening), SessionError> {
        let mut command = ssh::command(here, login);
        command.args([mvpnet, "doctor", "--answer"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| SessionError::Unreachable(error.to_string()))?;
        let (lines, errors) = (lines_of(child.stdout.take()), lines_of(child.stderr.take()));
        let mut session = Self { input: child.stdin.take(), child, lines };
        // Who has ended already says why.
        let _ = session.say(asked);
        match session.hear(OPENING) {
            Ok(opening) => Ok((session, opening)),
            Err(RecvTimeoutError::Timeout) => {
                Err(SessionError::Late { program: mvpnet.to_owned(), waited: OPENING })
            }
            Err(RecvTimeoutError::Disconnected) => Err(session.why(mvpnet, &errors)),
        }
    }

    /// Asks, and waits for the answer.
    pub fn ask<T: DeserializeOwned>(&mut self, question: &impl Serialize, patience: Duration) -> Option<T> {
        self.say(question).ok()?;
        self.hear(patience).ok()
    }

    fn say(&mut self, message: &impl Serialize) -> std::io::Result<()> {
        match &mut self.input {
            Some(input) => answer::write(input, message),
            None => Ok(()),
        }
    }

    /// The next line that is a message: a shell's greeting is none.
    fn hear<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, RecvTimeoutError> {
        loop {
            let line = self.lines.recv_timeout(patience)?;
            if let Ok(message) = serde_json::from_str(&line) {
                return Ok(message);
            }
        }
    }

    /// Why it has ended.
    fn why(&mut self, mvpnet: &str, errors: &Receiver<String>) -> SessionError {
        let mut said = "it says nothing".to_owned();
        while let Ok(line) = errors.recv_timeout(ENDING) {
            if !line.trim().is_empty() {
                said = line.trim().to_owned();
            }
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        let program = mvpnet.to_owned();
        match code {
            Some(SSH_FAILED) => SessionError::Unreachable(said),
            Some(NO_PROGRAM) => SessionError::NoProgram(program),
            _ => SessionError::Broken { program, said },
        }
    }
}

impl Drop for Session {
    /// The end of its input ends it.
    fn drop(&mut self) {
        self.input = None;
        while let Ok(_line) = self.lines.recv_timeout(ENDING) {}
        end(&mut self.child);
    }
}

fn lines_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        for line in BufReader::new(pipe).lines() {
            // Nobody waits any more, or it is no text.
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host whose program is a script: what it is called with does not matter.
    fn open(script: &str) -> Result<(Session, Opening), SessionError> {
        let ssh = ["sh", "-c", script].map(str::to_owned).into();
        Session::open(&Wanted { ssh, ..Wanted::default() }, "server2", "mvpnet", &Wanted::default())
    }

    const ANSWERS: &str = r#"echo Welcome; read -r wanted
        echo '{"doctor":"1","name":"s2","findings":[],"answers":{"Ok":null}}'; cat >/dev/null"#;

    #[test]
    fn a_session_opens_with_what_the_host_found_and_ends_with_its_input() {
        let (session, opening) = open(ANSWERS).unwrap();
        assert_eq!((opening.name.as_str(), opening.answers), ("s2", Ok(())));
        drop(session);
    }

    #[test]
    fn each_way_to_give_no_answer_is_told_apart() {
        let why = |script: &str| open(script).unwrap_err();
        assert_eq!(why("exit 127"), SessionError::NoProgram("mvpnet".into()));
        let unreachable = SessionError::Unreachable("Permission denied".into());
        assert_eq!(why("echo Permission denied >&2; exit 255"), unreachable);
        let text = why("echo unexpected argument >&2; exit 2").to_string();
        assert_eq!(text, "`mvpnet doctor` there gives no answer: unexpected argument");
    }
}
