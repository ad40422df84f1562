//! Ranks, made-up guests, and clients.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mvpnet_qemu_driver::agent::{Agents, ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest, Input};
use mvpnet_qemu_driver::console::Console;
use mvpnet_switch::{Config, Rank, Switch, World};
use mvpnet_transports::mem::{MemTransport, fabric};
use tokio::io::{AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::control::{Answer, Stream};
use crate::frame_loop::{Command, Event, LoopEnd, LoopHandle, RankLoop, mailbox};
use crate::job::{Numbers, messages::Message};
use crate::session::services::{Commands, Facilities, Running, RunsCommands};
use crate::session::{Outcome, Place, Service, Session, SessionEvent, SessionRequest, Sessions};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A rank with a hub.
pub struct Node {
    pub sessions: Sessions,
    pub handle: LoopHandle,
    /// The end that the made-up guest writes its console to.
    pub screen: Option<DuplexStream>,
    pub console: Console,
    pub commands: Arc<MadeUp>,
    thread: Option<JoinHandle<LoopEnd<MemTransport>>>,
    tasks: JoinSet<()>,
}

/// Runs commands that do as their names say.
#[derive(Debug, Default)]
pub struct MadeUp {
    /// How many run.
    pub running: Arc<AtomicUsize>,
}

/// What a session has said until its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    pub outcome: Outcome,
}

/// Counts a command for as long as it runs.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ranks of a job of this size, each with a guest whose ssh port is `ssh_port`.
pub fn start(size: u32, ssh_port: u16) -> Vec<Node> {
    let world = World::new(size).unwrap();
    fabric(world)
        .unwrap()
        .into_iter()
        .zip(world.ranks())
        .map(|(end, me)| node(world, me, end, ssh_port))
        .collect()
}

fn node(world: World, me: Rank, transport: MemTransport, ssh_port: u16) -> Node {
    let (handle, mailbox, mut events) = mailbox().unwrap();
    let switch = Switch::new(Config::new(me, world));
    let thread =
        std::thread::spawn(move || RankLoop::new(switch, transport, Clock::start(), mailbox, None).run());
    let place = Place { me, world, numbers: Numbers::whole(world) };
    let sessions = Sessions::start(place, handle.clone());
    let mut tasks = JoinSet::new();
    let hub = sessions.clone();
    tasks.spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                Event::Message { from, payload } => match Message::decode(&payload).unwrap() {
                    Message::Session(packet) => hub.packet(from, packet, payload.len()),
                    other => panic!("{other:?}"),
                },
                Event::PeerGone(rank) => hub.peer_gone(rank),
                other => panic!("{other:?}"),
            }
        }
    });
    let (screen, output) = tokio::io::duplex(1 << 20);
    let console = Console::read(output);
    let commands = Arc::new(MadeUp::default());
    sessions.guest(Some(Facilities {
        console: console.clone(),
        console_input: None,
        commands: Commands::Agents(commands.clone()),
        ssh_port,
    }));
    Node { sessions, handle, screen: Some(screen), console, commands, thread: Some(thread), tasks }
}

/// Ends everything; the ranks have no sessions by then.
pub async fn stop(nodes: Vec<Node>) {
    for mut node in nodes {
        node.sessions.close().await;
        node.stop_loop();
        node.tasks.shutdown().await;
    }
}

impl Node {
    /// Ends the frame loop.
    pub fn stop_loop(&mut self) {
        self.handle.send(Command::Stop);
        self.thread.take().unwrap().join().unwrap();
    }

    /// Asks for a session as a program on the control socket does.
    pub async fn open(&self, rank: u32, service: Service) -> Result<Session, String> {
        let stream = self.connect(rank, service).await?;
        Ok(Session::over(stream).unwrap())
    }

    /// The same, for a program that writes to the socket what it likes.
    pub async fn connect(&self, rank: u32, service: Service) -> Result<UnixStream, String> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (reader, writer) = tokio::net::UnixStream::from_std(theirs).unwrap().into_split();
        let (answer, answered) = oneshot::channel();
        let (give, stream) = oneshot::channel();
        self.sessions.attach(SessionRequest { rank, service }, answer, stream);
        match answered.await.unwrap() {
            Answer::Session => {}
            Answer::Refused(why) => return Err(why),
            other => panic!("{other:?}"),
        }
        assert!(give.send(Stream { reader: BufReader::new(reader), writer }).is_ok());
        ours.set_read_timeout(Some(DEADLINE)).unwrap();
        Ok(ours)
    }

    /// Runs a made-up command at a rank, with this standard input, to its end.
    pub async fn exec(&self, rank: u32, words: &str, stdin: &[u8]) -> Said {
        let session = self.open(rank, command(words)).await.unwrap();
        let mut input = session.input();
        let stdin = stdin.to_vec();
        // It may end before all of its input is read.
        std::thread::spawn(move || input.write_all(&stdin).and_then(|()| input.end()));
        to_the_end(session).await
    }

    /// The guest writes this to its console.
    pub async fn write(&mut self, text: &str) {
        self.screen.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }
}

/// The words of a made-up command.
pub fn command(words: &str) -> Service {
    Service::Exec(ExecRequest {
        argv: words.split(' ').map(str::to_owned).collect(),
        ..ExecRequest::default()
    })
}

/// Everything that a session says.
pub async fn to_the_end(mut session: Session) -> Said {
    let reading = tokio::task::spawn_blocking(move || {
        let (mut output, mut error) = (Vec::new(), Vec::new());
        loop {
            match session.next_event() {
                SessionEvent::Output(data) => output.extend(data),
                SessionEvent::Error(data) => error.extend(data),
                SessionEvent::End => {}
                SessionEvent::Done(outcome) => return Said { output, error, outcome },
            }
        }
    });
    tokio::time::timeout(DEADLINE, reading).await.expect("it ends").unwrap()
}

/// Waits for something, turn by turn.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{what}: never"));
}

impl RunsCommands for MadeUp {
    fn run(
        &self,
        request: ExecRequest,
        input: Input,
        output: mpsc::Sender<ExecOutput>,
        _within: Duration,
    ) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(self.running.clone());
        Box::pin(async move {
            let _counted = counted;
            obey(&request, input, output).await
        })
    }
}

async fn obey(
    request: &ExecRequest,
    mut input: Input,
    output: mpsc::Sender<ExecOutput>,
) -> Result<ExecEnd, ExecError> {
    let words: Vec<&str> = request.argv.iter().map(String::as_str).collect();
    match words[..] {
        ["echo", ..] => {
            let said = words[1..].join(" ");
            let _ = output.send(ExecOutput::Stdout(said.into_bytes())).await;
        }
        ["whoami"] => {
            let user = request.user.clone().unwrap_or_default();
            let _ = output.send(ExecOutput::Stdout(user.into_bytes())).await;
        }
        ["cat"] => {
            while let Some(ExecInput::Stdin(data)) = input.recv().await {
                input.used(data.len());
                let _ = output.send(ExecOutput::Stdout(data)).await;
            }
        }
        ["flood", octets] => {
            let octets: usize = octets.parse().unwrap();
            for piece in vec![b'x'; octets].chunks(100_000) {
                let _ = output.send(ExecOutput::Stdout(piece.to_vec())).await;
            }
        }
        ["fail", code] => {
            let _ = output.send(ExecOutput::Stderr(b"no such luck".to_vec())).await;
            return Ok(ExecEnd::Exited(code.parse().unwrap()));
        }
        ["sleep"] => loop {
            match input.recv().await {
                Some(ExecInput::Signal(signal)) => return Ok(ExecEnd::Killed(signal)),
                // It reads none of its input, however much there is.
                Some(_) => {}
                None => std::future::pending().await,
            }
        },
        // It reads no input before a signal comes.
        ["deaf"] => {
            let mut waiting = 0;
            loop {
                match input.recv().await {
                    Some(ExecInput::Signal(signal)) => return Ok(ExecEnd::Killed(signal)),
                    Some(ExecInput::Stdin(data)) => waiting += data.len(),
                    Some(ExecInput::StdinEnd) => {}
                    None => std::future::pending().await,
                }
                assert!(waiting <= Agents::READ_AHEAD, "more is sent than is read ahead");
            }
        }
        ["lost"] => return Err(ExecError::Lost("it rebooted".into())),
        _ => return Err(ExecError::Refused(format!("{}: no such program", words[0]))),
    }
    Ok(ExecEnd::Exited(0))
}
