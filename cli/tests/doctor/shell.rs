//! A shell that stays, and is typed into.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use mvpnet_lab::doctor::{Finding, Status};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What ends a command's output, with its exit code.
const MARK: &str = "=-= ended with";

/// A shell on a host.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    host: &'static str,
}

impl Shell {
    /// Starts a shell behind `command`, which enters `host`. `mvpnet` is on its PATH.
    pub fn start(mut command: Command, host: &'static str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_mvpnet")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        command.args(["bash", "--norc", "--noprofile"]).env("PATH", path).env_remove("SSH_AUTH_SOCK");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut shell = Self { input: child.stdin.take().unwrap(), child, lines, host };
        // Errors stand where they belong, among the output.
        shell.must("exec 2>&1");
        shell
    }

    /// The host's name.
    pub fn host(&self) -> &'static str {
        self.host
    }

    /// Types a command: its exit code and what it wrote.
    pub fn run(&mut self, command: &str) -> (i32, String) {
        // Commands do not read what is typed next.
        writeln!(self.input, "{{ {command}\n}} </dev/null; printf '\\n%s %d\\n' '{MARK}' $?").unwrap();
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line =
                line.unwrap_or_else(|error| panic!("`{command}` on {}: {error}: {said:#?}", self.host));
            if let Some(code) = line.strip_prefix(MARK) {
                return (code.trim().parse().unwrap(), said.join("\n"));
            }
            said.push(line);
        }
    }

    /// Types a command that succeeds.
    pub fn must(&mut self, command: &str) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "`{command}` on {}: {said}", self.host);
        said
    }

    /// What `mvpnet doctor --json` with these words finds. Its exit code agrees.
    pub fn doctor(&mut self, words: &str) -> Vec<Finding> {
        self.doctor_by("", words)
    }

    /// The same, started by another command.
    pub fn doctor_by(&mut self, prefix: &str, words: &str) -> Vec<Finding> {
        let (code, said) = self.run(&format!("{prefix} mvpnet doctor --json {words}"));
        let findings: Vec<Finding> = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{error} in the answer {code}: {said}"));
        let failed = Status::worst(&findings) == Status::Failure;
        assert_eq!(code, i32::from(failed), "{findings:#?}");
        findings
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It has ended already: so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
