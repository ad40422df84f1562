//! Our own agent as it is, the program that the seed puts into guests, and its host's end: over a socket in place of
//! the virtio-serial port, with this host in place of the guest.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use mvpnet_qemu_driver::Accel;
use mvpnet_qemu_driver::agent::{
    AgentTimes, Agents, ChannelEnds, ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest, GuestCall,
    Violation,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use common::holds_within;

/// How long anything may take on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// The program in the guest. Killed when dropped.
struct Daemon(Child);

/// A guest with an agent, as far as its host can tell.
struct Guest {
    dir: tempfile::TempDir,
    port: UnixListener,
    daemon: Option<Daemon>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../seed/src/agent/mvpnet-agent")
}

impl Guest {
    fn new() -> Guest {
        let dir = tempfile::tempdir().unwrap();
        let port = UnixListener::bind(dir.path().join("port")).unwrap();
        Guest { dir, port, daemon: None }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// Starts the agent, and gives the host's end of its port.
    fn start(&mut self) -> UnixStream {
        self.daemon = None;
        let mut command = Command::new(program());
        command
            .arg("daemon")
            .arg("--port")
            .arg(self.dir.path().join("port"))
            .arg("--socket")
            .arg(self.socket());
        self.daemon = Some(Daemon(command.spawn().unwrap()));
        self.port.accept().unwrap().0
    }

    /// The command that asks this guest to have another one run something.
    fn rsh(&self, words: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program());
        command.arg("rsh").args(words).env("MVPNET_AGENT_SOCKET", self.socket()).kill_on_drop(true);
        command
    }
}

/// The host's side, with nobody behind the qemu guest agent's channel.
fn host(exec: UnixStream) -> (Agents, mpsc::Receiver<GuestCall>, UnixStream) {
    let (guest_agent, other) = UnixStream::pair().unwrap();
    let (calls, called) = mpsc::channel(64);
    let ends = ChannelEnds { guest_agent, exec: Some(exec) };
    (Agents::start(ends, AgentTimes::default_for(Accel::Tcg), calls).unwrap(), called, other)
}

fn shell(line: &str) -> ExecRequest {
    ExecRequest { argv: vec![line.into()], shell: true, user: Some(me()), ..ExecRequest::default() }
}

fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
}

async fn gather(mut output: mpsc::Receiver<ExecOutput>) -> Said {
    let mut said = Said::default();
    while let Some(piece) = output.recv().await {
        match piece {
            ExecOutput::Stdout(data) => said.out.extend(data),
            ExecOutput::Stderr(data) => said.err.extend(data),
        }
    }
    said
}

async fn run(agents: &Agents, request: ExecRequest) -> (Result<ExecEnd, ExecError>, Said) {
    let (_, input) = mpsc::channel(1);
    run_with(agents, request, input).await
}

async fn run_with(
    agents: &Agents,
    request: ExecRequest,
    input: mpsc::Receiver<ExecInput>,
) -> (Result<ExecEnd, ExecError>, Said) {
    let (output, said) = mpsc::channel(1);
    timeout(LONG, async { tokio::join!(agents.exec(request, input, output, LONG), gather(said)) })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_command_s_output_and_code_come_back() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let (end, said) = run(&agents, shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!(end, Ok(ExecEnd::Exited(7)));
    assert_eq!(said, Said { out: b"out\n".into(), err: b"err\n".into() });
    assert!(agents.is_connected());
    let (end, _) = run(&agents, shell("kill -9 $$")).await;
    assert_eq!(end, Ok(ExecEnd::Killed(9)));
}

#[tokio::test]
async fn words_environment_and_directory_are_the_request_s() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let request = ExecRequest {
        argv: ["sh", "-c", "printf '%s|' \"$@\" \"$MINE\" \"$PWD\" \"$USER\"", "sh", "a b", "", "ü'"]
            .map(String::from)
            .into(),
        user: Some(me()),
        env: vec![("MINE".into(), "x = y".into())],
        cwd: Some("/usr".into()),
        ..ExecRequest::default()
    };
    let (end, said) = run(&agents, request).await;
    assert_eq!(end, Ok(ExecEnd::Exited(0)));
    assert_eq!(String::from_utf8(said.out).unwrap(), format!("a b||ü'|x = y|/usr|{}|", me()));
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_its_reason() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let refusal = async |request| match run(&agents, request).await {
        (Err(ExecError::Refused(reason)), _) => reason,
        other => panic!("{other:?}"),
    };
    let base = || ExecRequest { argv: vec!["true".into()], user: Some(me()), ..ExecRequest::default() };
    let no_such = ExecRequest { argv: vec!["/no/such".into()], ..base() };
    assert_eq!(refusal(no_such).await, "/no/such: No such file or directory");
    assert_eq!(refusal(ExecRequest { argv: vec!["no-such".into()], ..base() }).await, "no-such: not found");
    let nowhere = ExecRequest { cwd: Some("/no/where".into()), ..base() };
    assert_eq!(refusal(nowhere).await, "/no/where: No such file or directory");
    let nobody = ExecRequest { user: Some("no-such-user".into()), ..base() };
    assert_eq!(refusal(nobody).await, "the guest has no user no-such-user");
    assert_eq!(refusal(ExecRequest { argv: vec![], ..base() }).await, "an empty command");
    let long = ExecRequest { argv: vec!["x".repeat(70_000)], ..base() };
    assert_eq!(refusal(long).await, "the command's words take more than 65536 octets");
}

#[tokio::test]
async fn megabytes_go_both_ways_past_a_slow_reader() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let (to_command, input) = mpsc::channel(1);
    let (output, mut said) = mpsc::channel(1);
    let data: Vec<u8> = (0..4u32 << 20).map(|index| (index * 7 + (index >> 8)) as u8).collect();
    let sent = data.clone();
    let feeding = async move {
        for piece in sent.chunks(50_000) {
            to_command.send(ExecInput::Stdin(piece.to_vec())).await.unwrap();
        }
        to_command.send(ExecInput::StdinEnd).await.unwrap();
    };
    let listening = async {
        let mut got = Vec::new();
        while let Some(piece) = said.recv().await {
            let ExecOutput::Stdout(piece) = piece else { panic!("{piece:?}") };
            got.extend(piece);
            // As slow as it gets without a clock: all others have their turn first.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        got
    };
    let request = ExecRequest { stdin: true, ..shell("cat") };
    let running = agents.exec(request, input, output, LONG);
    let (end, got, ()) = timeout(LONG, async { tokio::join!(running, listening, feeding) }).await.unwrap();
    assert_eq!(end, Ok(ExecEnd::Exited(0)));
    assert!(got == data, "{} of {} octets came back", got.len(), data.len());
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_its_own_command_only() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let (to_command, input) = mpsc::channel(8);
    let (output, mut said) = mpsc::channel(1);
    let stuck = tokio::spawn({
        let agents = agents.clone();
        async move { agents.exec(shell("yes"), input, output, LONG).await }
    });
    // It writes, and nobody takes more than the first piece.
    assert!(matches!(said.recv().await, Some(ExecOutput::Stdout(_))));
    let (end, said_by_other) = run(&agents, shell("seq 100000 | tail -n 1")).await;
    assert_eq!((end, said_by_other.out.as_slice()), (Ok(ExecEnd::Exited(0)), b"100000\n".as_slice()));
    // A signal reaches it all the same; its last output is there to be read.
    to_command.send(ExecInput::Signal(15)).await.unwrap();
    let rest = gather(said).await;
    assert!(rest.out.len() >= 16_000);
    assert_eq!(stuck.await.unwrap(), Ok(ExecEnd::Killed(15)));
}

#[tokio::test]
async fn a_signal_overtakes_input_that_the_command_does_not_read() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let (to_command, input) = mpsc::channel(64);
    for _ in 0..10 {
        to_command.send(ExecInput::Stdin(vec![b'x'; 20_000])).await.unwrap();
    }
    to_command.send(ExecInput::Signal(2)).await.unwrap();
    let request =
        ExecRequest { stdin: true, ..shell("trap 'echo caught; exit 5' INT; while :; do sleep 0.05; done") };
    // Not before the trap is there: the shell says so itself.
    let (end, said) = run_with(&agents, request, input).await;
    assert!(
        end == Ok(ExecEnd::Exited(5)) && said.out == b"caught\n" || end == Ok(ExecEnd::Killed(2)),
        "{end:?}"
    );
}

#[tokio::test]
async fn fifty_commands_run_at_once() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let commands = (0..50).map(|number| {
        let agents = agents.clone();
        tokio::spawn(async move { run(&agents, shell(&format!("seq {number} 1000; exit {number}"))).await })
    });
    for (number, command) in commands.collect::<Vec<_>>().into_iter().enumerate() {
        let (end, said) = command.await.unwrap();
        assert_eq!(end, Ok(ExecEnd::Exited(number as i32)));
        assert_eq!(said.out.split(|&octet| octet == b'\n').count(), 1002 - number);
    }
}

#[tokio::test]
async fn hundreds_of_commands_one_after_the_other_leave_nothing_open() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let pid = guest.daemon.as_ref().unwrap().0.id();
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
    let before = open();
    for _ in 0..300 {
        assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
    }
    assert!(holds_within(LONG, || open() == before), "{before} before, {} now", open());
}

#[tokio::test]
async fn what_a_command_leaves_running_does_not_hold_it_up_and_may_go_on_writing() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let done = guest.dir.path().join("done");
    let line = format!("(sleep 2; echo more; echo more; echo yes >{}) & echo $!", done.display());
    let (end, said) = run(&agents, shell(&line)).await;
    assert_eq!(end, Ok(ExecEnd::Exited(0)));
    assert!(!done.exists(), "the command's end waited for what it left running");
    assert!(String::from_utf8(said.out).unwrap().trim().parse::<u32>().is_ok());
    assert!(holds_within(LONG, || done.exists()), "it was stopped by its output");
}

#[tokio::test]
async fn a_command_whose_caller_went_goes_on() {
    let mut guest = Guest::new();
    let (agents, _calls, _other) = host(guest.start());
    let done = guest.dir.path().join("done");
    let (_to_command, input) = mpsc::channel(1);
    let (output, mut said) = mpsc::channel(1);
    let line = format!("echo begun; seq 100000; echo yes >{}", done.display());
    let running = {
        let agents = agents.clone();
        tokio::spawn(async move { agents.exec(shell(&line), input, output, LONG).await })
    };
    assert!(said.recv().await.is_some());
    running.abort();
    assert!(holds_within_async(|| done.exists()).await, "it stopped");
    assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
}

/// The same as [`holds_within`], while tasks go on.
async fn holds_within_async(condition: impl Fn() -> bool) -> bool {
    timeout(LONG, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .is_ok()
}

#[tokio::test]
async fn an_agent_that_is_killed_is_missed_and_a_new_one_is_known() {
    let mut guest = Guest::new();
    // The port of a real guest stays open: here a relay does.
    let (ours, relay) = tokio::net::UnixStream::pair().unwrap();
    let (agents, _calls, _other) = host(ours.into_std().unwrap());
    let first = guest.start();
    first.set_nonblocking(true).unwrap();
    let (mut reading, mut writing) = relay.into_split();
    let mut first = tokio::net::UnixStream::from_std(first).unwrap();
    {
        let (mut from_guest, mut to_guest) = first.split();
        let lost = async {
            let (_to_command, input) = mpsc::channel(1);
            let (output, mut said) = mpsc::channel(8);
            let killing = async {
                assert!(said.recv().await.is_some());
                guest.daemon = None;
                said
            };
            let running = agents.exec(shell("echo begun; sleep 60"), input, output, LONG);
            tokio::pin!(running);
            tokio::select! {
                end = &mut running => panic!("{end:?}"),
                _ = killing => {}
            }
        };
        tokio::select! {
            _ = tokio::io::copy(&mut from_guest, &mut writing) => {}
            _ = tokio::io::copy(&mut reading, &mut to_guest) => {}
            () = lost => {}
        }
    }
    drop(first);
    assert!(agents.is_connected(), "nothing tells it yet");
    let second = guest.start();
    second.set_nonblocking(true).unwrap();
    let mut second = tokio::net::UnixStream::from_std(second).unwrap();
    let (mut from_guest, mut to_guest) = second.split();
    let again = async {
        loop {
            match run(&agents, shell("echo again")).await {
                (Err(ExecError::Lost(reason)), _) => assert!(reason.contains("started again"), "{reason}"),
                (end, said) => return (end, said.out),
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_guest, &mut writing) => panic!("the guest closed its end"),
        _ = tokio::io::copy(&mut reading, &mut to_guest) => panic!("the host closed its end"),
        (end, out) = again => assert_eq!((end, out), (Ok(ExecEnd::Exited(0)), b"again\n".to_vec())),
    }
}

#[tokio::test]
async fn the_agent_outlives_its_host_without_burning_time() {
    let mut guest = Guest::new();
    {
        let (agents, _calls, _other) = host(guest.start());
        assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
    }
    // It connects again, and greets whoever is there now.
    guest.port.set_nonblocking(true).unwrap();
    let port = tokio::net::UnixListener::from_std(guest.port.try_clone().unwrap()).unwrap();
    let (again, _) = timeout(LONG, port.accept()).await.unwrap().unwrap();
    let (agents, _calls, _other) = host(again.into_std().unwrap());
    assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
    let pid = guest.daemon.as_ref().unwrap().0.id();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    assert!(ticks < 100, "{ticks} hundredths of a second");
}

#[tokio::test]
async fn garbage_from_the_host_makes_the_agent_greet_again() {
    use std::io::Write;
    let mut guest = Guest::new();
    let mut port = guest.start();
    port.write_all(b"login: \xf5mv and more of what no frame begins with").unwrap();
    port.write_all(&[0xf5; 100_000]).unwrap();
    let (agents, _calls, _other) = host(port.try_clone().unwrap());
    assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
    port.write_all(b"garbage between frames").unwrap();
    // The next command is lost with the old life or served in the new one; the one after is served.
    let _ = run(&agents, shell("true")).await;
    assert!(holds_within_async(|| agents.is_connected()).await);
    assert_eq!(run(&agents, shell("true")).await.0, Ok(ExecEnd::Exited(0)));
    assert_eq!(agents.violations(), []);
}

#[tokio::test]
async fn garbage_from_the_guest_is_counted_and_survived() {
    use tokio::io::AsyncWriteExt;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (agents, _calls, _other) = host(ours);
    theirs.set_nonblocking(true).unwrap();
    let mut theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
    let mut hello = vec![0xf5, 0x6d, 0x76, 1, 0, 0, 0, 0, 0, 0, 0, 17, 1];
    hello.extend([7; 16]);
    let too_long = [0xf5, 0x6d, 0x76, 14, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff];
    let out_of_place = [0xf5, 0x6d, 0x76, 9, 0, 0, 0, 2, 0, 0, 0, 0];
    let unknown = [0xf5, 0x6d, 0x76, 99, 0, 0, 0, 2, 0, 0, 0, 0];
    for garbage in [b"login:".as_slice(), &too_long, &out_of_place, &unknown] {
        theirs.write_all(&hello).await.unwrap();
        theirs.write_all(garbage).await.unwrap();
    }
    let expected = [Violation::NoFrame, Violation::TooLong, Violation::UnknownKind, Violation::OutOfPlace];
    let expected = expected.map(|violation| (violation, 1)).to_vec();
    assert!(holds_within_async(|| agents.violations() == expected).await, "{:?}", agents.violations());
    assert!(!agents.is_connected());
    theirs.write_all(&hello).await.unwrap();
    assert!(holds_within_async(|| agents.is_connected()).await);
}

#[tokio::test]
async fn without_any_agent_it_is_said_in_time() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (agents, _calls, _other) = host(ours);
    let (_, input) = mpsc::channel(1);
    let (output, _said) = mpsc::channel(1);
    let end = agents.exec(shell("true"), input, output, Duration::from_millis(300)).await;
    let Err(ExecError::NoAgent(reason)) = end else { panic!("{end:?}") };
    assert_eq!(
        reason,
        "mvpnet's agent in the guest has not been heard of; the qemu guest agent did not answer within 0.3 s"
    );
}

#[tokio::test]
async fn commands_of_the_guest_are_handed_over_with_who_asks() {
    let mut guest = Guest::new();
    let (agents, mut calls, _other) = host(guest.start());
    assert!(holds_within_async(|| agents.is_connected()).await);
    let rsh = guest.rsh(&["-x", "-o", "BatchMode=yes", "n0003", "echo", "a  b;", "exit 4"]).output();
    let answering = async {
        let mut call = calls.recv().await.unwrap();
        assert_eq!((call.host.as_str(), call.request.user.clone()), ("n0003", Some(me())));
        assert_eq!(call.request.argv, ["echo", "a  b;", "exit 4"]);
        assert!(call.request.shell && call.request.stdin);
        // This host is the other guest as well.
        let request = call.request.clone();
        let end = agents
            .exec(request, std::mem::replace(&mut call.input, mpsc::channel(1).1), call.output, LONG)
            .await;
        call.end.send(end).unwrap();
    };
    let (output, ()) = timeout(LONG, async { tokio::join!(rsh, answering) }).await.unwrap();
    let output = output.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "a b\n");
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}
