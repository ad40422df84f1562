//! The qemu guest agent's client: against the real agent, which runs on this host in place of a guest, and against
//! programs that answer late, never or with something else.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mvpnet_qemu_driver::agent::{
    AgentTimes, Agents, ChannelEnds, ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest,
};
use mvpnet_qemu_driver::names::find_program;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

use common::holds_within;

/// How long anything may take on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// The real agent. Killed when dropped.
struct RealAgent {
    child: Child,
    _dir: tempfile::TempDir,
    socket: UnixStream,
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RealAgent {
    /// Without the program the test is skipped, unless all tests are required.
    fn start() -> Option<RealAgent> {
        let Some(program) = find_program("qemu-ga") else {
            assert_ne!(std::env::var("MVPNET_REQUIRE").as_deref(), Ok("all"), "qemu-ga is required");
            println!("skipped: there is no qemu-ga");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qga.sock");
        let child = Command::new(program)
            .args(["--method", "unix-listen", "--path"])
            .arg(&path)
            .arg("--statedir")
            .arg(dir.path())
            .arg("--pidfile")
            .arg(dir.path().join("pid"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut socket = None;
        assert!(holds_within(LONG, || {
            socket = UnixStream::connect(&path).ok();
            socket.is_some()
        }));
        Some(RealAgent { child, _dir: dir, socket: socket? })
    }

    fn agents(&self) -> Agents {
        agents(self.socket.try_clone().unwrap())
    }
}

fn agents(guest_agent: UnixStream) -> Agents {
    let times = AgentTimes { ask: Duration::from_secs(5), silent: Duration::from_secs(20) };
    Agents::start(ChannelEnds { guest_agent, exec: None }, times, mpsc::channel(1).0).unwrap()
}

fn shell(line: &str) -> ExecRequest {
    ExecRequest { argv: vec![line.into()], shell: true, user: Some(me()), ..ExecRequest::default() }
}

fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name
}

async fn gather(mut output: mpsc::Receiver<ExecOutput>) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = output.recv().await {
        match piece {
            ExecOutput::Stdout(data) => out.extend(data),
            ExecOutput::Stderr(data) => err.extend(data),
        }
    }
    (out, err)
}

async fn run(
    agents: &Agents,
    request: ExecRequest,
    inputs: Vec<ExecInput>,
) -> (Result<ExecEnd, ExecError>, Vec<u8>, Vec<u8>) {
    let (to_command, input) = mpsc::channel(inputs.len().max(1));
    for item in inputs {
        to_command.try_send(item).unwrap();
    }
    drop(to_command);
    let (output, said) = mpsc::channel(1);
    let exec = agents.exec(request, input, output, LONG);
    let (end, (out, err)) = timeout(LONG, async { tokio::join!(exec, gather(said)) }).await.unwrap();
    (end, out, err)
}

#[tokio::test]
async fn the_real_agent_runs_commands() {
    let Some(real) = RealAgent::start() else { return };
    let agents = real.agents();
    let (end, out, err) = run(&agents, shell("echo out; echo err >&2; pwd; exit 7"), vec![]).await;
    let home = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().dir;
    assert_eq!(end, Ok(ExecEnd::Exited(7)));
    assert_eq!(String::from_utf8(out).unwrap(), format!("out\n{}\n", home.display()));
    assert_eq!(err, b"err\n");
    assert_eq!(run(&agents, shell("kill -9 $$"), vec![]).await.0, Ok(ExecEnd::Killed(9)));
    assert!(!agents.is_connected());
}

#[tokio::test]
async fn the_real_agent_gives_input_and_all_octets_of_output() {
    let Some(real) = RealAgent::start() else { return };
    let agents = real.agents();
    let data: Vec<u8> = (0..1u32 << 20).map(|index| (index * 7 + (index >> 8)) as u8).collect();
    let inputs = data.chunks(100_000).map(|piece| ExecInput::Stdin(piece.to_vec()));
    let inputs = inputs.chain([ExecInput::StdinEnd]).collect();
    let (end, out, _) = run(&agents, ExecRequest { stdin: true, ..shell("cat") }, inputs).await;
    assert_eq!(end, Ok(ExecEnd::Exited(0)));
    assert!(out == data, "{} of {} octets came back", out.len(), data.len());
    let too_much = vec![ExecInput::Stdin(vec![0; Agents::QGA_STDIN + 1])];
    let (end, ..) = run(&agents, ExecRequest { stdin: true, ..shell("cat") }, too_much).await;
    let Err(ExecError::Refused(reason)) = end else { panic!("{end:?}") };
    assert!(reason.starts_with("more than 4 MiB of standard input"), "{reason}");
}

#[tokio::test]
async fn the_real_agent_runs_many_at_once() {
    let Some(real) = RealAgent::start() else { return };
    let agents = real.agents();
    let started = Instant::now();
    let commands: Vec<_> = (0..20)
        .map(|number| {
            let agents = agents.clone();
            tokio::spawn(async move { run(&agents, shell(&format!("sleep 2; echo {number}")), vec![]).await })
        })
        .collect();
    for (number, command) in commands.into_iter().enumerate() {
        let (end, out, _) = command.await.unwrap();
        assert_eq!((end, out), (Ok(ExecEnd::Exited(0)), format!("{number}\n").into_bytes()));
    }
    assert!(started.elapsed() < Duration::from_secs(30), "one after the other: {:?}", started.elapsed());
}

#[tokio::test]
async fn the_real_agent_s_commands_take_signals_with_all_that_they_started() {
    let Some(real) = RealAgent::start() else { return };
    let agents = real.agents();
    let (to_command, input) = mpsc::channel(1);
    let (output, said) = mpsc::channel(1);
    // A number that no other process on this host sleeps for.
    let time = format!("{}.25", 100_000 + std::process::id());
    let sleeping = |count| {
        let pattern = format!("sleep\0{time}\0");
        let running = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|process| {
            std::fs::read(process.path().join("cmdline")).unwrap_or_default() == pattern.as_bytes()
        });
        running.count() == count
    };
    let request = shell(&format!("sleep {time} & wait"));
    let exec = agents.exec(request, input, output, LONG);
    let signalling = async {
        let waiting = async {
            while !sleeping(1) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, waiting).await.unwrap();
        to_command.send(ExecInput::Signal(15)).await.unwrap();
    };
    let (end, (), _) = timeout(LONG, async { tokio::join!(exec, signalling, gather(said)) }).await.unwrap();
    assert_eq!(end, Ok(ExecEnd::Killed(15)));
    assert!(holds_within(LONG, || sleeping(0)));
}

#[tokio::test]
async fn the_real_agent_is_not_blamed_for_what_cannot_be_run() {
    let Some(real) = RealAgent::start() else { return };
    let agents = real.agents();
    let nobody = ExecRequest { user: Some("no-such-user".into()), ..shell("true") };
    let (end, ..) = run(&agents, nobody, vec![]).await;
    assert_eq!(end, Err(ExecError::Refused("the guest has no user no-such-user".into())));
    let nowhere = ExecRequest { cwd: Some("/no/where".into()), ..shell("true") };
    let (end, ..) = run(&agents, nowhere, vec![]).await;
    assert_eq!(end, Err(ExecError::Refused("cannot enter the directory /no/where".into())));
    let no_such = ExecRequest { argv: vec!["/no/such".into()], shell: false, ..shell("") };
    assert_eq!(run(&agents, no_such, vec![]).await.0, Ok(ExecEnd::Exited(127)));
}

#[tokio::test]
async fn the_real_agent_is_found_behind_what_was_half_said() {
    use std::io::Write;
    let Some(mut real) = RealAgent::start() else { return };
    real.socket.write_all(b"{\"execute\": \"guest-info\"}\n{\"execute\": \"gue").unwrap();
    let agents = real.agents();
    assert_eq!(run(&agents, shell("true"), vec![]).await.0, Ok(ExecEnd::Exited(0)));
}

/// The guest's end of a channel, played by the test.
struct FakeAgent {
    socket: BufReader<tokio::net::UnixStream>,
}

impl FakeAgent {
    fn new(socket: UnixStream) -> FakeAgent {
        socket.set_nonblocking(true).unwrap();
        FakeAgent { socket: BufReader::new(tokio::net::UnixStream::from_std(socket).unwrap()) }
    }

    async fn request(&mut self) -> Value {
        let mut line = Vec::new();
        timeout(LONG, self.socket.read_until(b'\n', &mut line)).await.unwrap().unwrap();
        let start = line.iter().rposition(|&octet| octet == 0xff).map_or(0, |at| at + 1);
        serde_json::from_slice(&line[start..]).unwrap()
    }

    async fn say(&mut self, octets: &[u8]) {
        self.socket.get_mut().write_all(octets).await.unwrap();
    }

    async fn answer(&mut self, value: Value) {
        self.say(format!("{}\n", json!({ "return": value })).as_bytes()).await;
    }

    /// Answers the question whether it is there.
    async fn sync(&mut self) {
        let request = self.request().await;
        assert_eq!(request["execute"], "guest-sync-delimited");
        self.say(&[0xff]).await;
        self.answer(request["arguments"]["id"].clone()).await;
    }
}

#[tokio::test]
async fn nothing_piles_up_where_nobody_listens() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agents = agents(ours);
    for _ in 0..100 {
        let (_, input) = mpsc::channel(1);
        let (output, _said) = mpsc::channel(1);
        let end = agents.exec(shell("true"), input, output, Duration::from_millis(5)).await;
        assert!(matches!(end, Err(ExecError::NoAgent(_))), "{end:?}");
    }
    theirs.set_nonblocking(true).unwrap();
    let mut theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
    let mut unread = Vec::new();
    while let Ok(Ok(1..)) = timeout(Duration::from_millis(100), theirs.read_buf(&mut unread)).await {}
    assert!((1..1000).contains(&unread.len()), "{} octets", unread.len());
}

#[tokio::test]
async fn an_agent_that_starts_late_is_served_by_the_question_that_waits_for_it() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agents = agents(ours);
    let (_, input) = mpsc::channel(1);
    let (output, _said) = mpsc::channel(1);
    let end = agents.exec(shell("true"), input, output, Duration::from_millis(50)).await;
    assert!(matches!(end, Err(ExecError::NoAgent(_))), "{end:?}");
    let mut fake = FakeAgent::new(theirs);
    let playing = async {
        fake.say(b"login: {\"return\": 5}\n").await;
        fake.sync().await;
        assert_eq!(fake.request().await["execute"], "guest-exec");
        fake.answer(json!({ "pid": 5 })).await;
        assert_eq!(fake.request().await["arguments"], json!({ "pid": 5 }));
        fake.answer(json!({ "exited": false })).await;
        fake.request().await;
        let out = BASE64_STANDARD.encode("hello");
        fake.answer(json!({ "exited": true, "exitcode": 3, "out-data": out, "out-truncated": true })).await;
    };
    let ((end, out, err), ()) = tokio::join!(run(&agents, shell("true"), vec![]), playing);
    assert_eq!((end, out.as_slice()), (Ok(ExecEnd::Exited(3)), b"hello".as_slice()));
    let err = String::from_utf8(err).unwrap();
    assert!(err.contains("the rest of the output is lost: the qemu guest agent keeps 16 MiB"), "{err}");
}

#[tokio::test]
async fn a_command_of_a_guest_that_was_started_again_is_lost() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agents = agents(ours);
    let mut fake = FakeAgent::new(theirs);
    let playing = async {
        fake.sync().await;
        fake.request().await;
        fake.answer(json!({ "pid": 5 })).await;
        fake.request().await;
        fake.say(b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"PID 5 does not exist\"}}\n").await;
    };
    let ((end, ..), ()) = tokio::join!(run(&agents, shell("true"), vec![]), playing);
    let Err(ExecError::Lost(reason)) = end else { panic!("{end:?}") };
    assert!(reason.ends_with("was started again: PID 5 does not exist"), "{reason}");
}

#[tokio::test]
async fn an_agent_that_may_not_run_commands_is_explained() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agents = agents(ours);
    let mut fake = FakeAgent::new(theirs);
    let playing = async {
        fake.sync().await;
        fake.request().await;
        let failure = json!({ "error": { "class": "CommandNotFound", "desc": "Command guest-exec has been disabled" } });
        fake.say(format!("{failure}\n").as_bytes()).await;
    };
    let ((end, ..), ()) = tokio::join!(run(&agents, shell("true"), vec![]), playing);
    let Err(ExecError::Refused(reason)) = end else { panic!("{end:?}") };
    assert!(
        reason.contains("(Command guest-exec has been disabled)") && reason.contains("allow"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_guest_that_ends_is_noticed() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agents = agents(ours);
    let mut fake = FakeAgent::new(theirs);
    let playing = async {
        fake.sync().await;
        fake.request().await;
        fake.answer(json!({ "pid": 5 })).await;
        drop(fake);
    };
    let ((end, ..), ()) = tokio::join!(run(&agents, shell("true"), vec![]), playing);
    assert_eq!(end, Err(ExecError::Lost("the guest has ended".into())));
    let (end, ..) = run(&agents, shell("true"), vec![]).await;
    assert_eq!(end, Err(ExecError::NoAgent("the guest has ended".into())));
}
