//! The life of a bridge: started from its settings, kept until somebody ends it, with everything that is not a frame.

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use mvpnet_switch::BridgeConfig;
use mvpnet_transports::vxlan::{Vtep, VtepConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::forward::{BridgeLoop, LoopEnd};
use super::mailbox::{Command, Event, Handle};
use super::notify::ServiceManager;
use super::ports::Interfaces;
use super::protocol::{Answer, Request, running, shares_network};
use super::reload::Reload;
use super::resolve::Family;
use super::setup::{BridgeError, Reached, Settings};
use super::status::Status;
use crate::capture::{self, Capture, Pool, Report};
use crate::control::{Asked, Control, Kind};
use crate::mailbox::mailbox;

/// How long a capture may take to be written out at the end.
const CAPTURE_END: Duration = Duration::from_secs(5);

/// A bridge that has begun. It shows as a line, without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// What it is called.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The MTU of the guests' network.
    pub mtu: u32,
    /// `40-43 to server1 (192.0.2.1)`, one for each peer.
    pub peers: Vec<String>,
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, listen, mtu, peers } = self;
        let peers = peers.join(", ");
        write!(f, "bridge {name} is ready on UDP {listen}: VNIs {peers}; MTU {mtu} for the guests")
    }
}

/// A bridge that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who or what ended it.
    pub by: String,
    /// How it did.
    pub status: Status,
    /// What is in the capture, if there was one.
    pub capture: Option<Report>,
}

/// A bridge between its start and its end, seen from the control plane.
struct Life {
    handle: Handle,
    thread: JoinHandle<LoopEnd>,
    events: mpsc::UnboundedReceiver<Event>,
    capture: Option<Capture>,
    reload: Reload,
    manager: ServiceManager,
    started: Started,
    /// Who waits for its end.
    waiting: Vec<oneshot::Sender<Answer>>,
}

/// The signals that a bridge listens to.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Whether there was a terminal, which may go away.
    had_terminal: bool,
}

/// Runs a bridge until it is told to end. `say` gets what people need to know, a line at a time without its end;
/// the first is that it is ready.
///
/// # Errors
/// It cannot start, or its sockets fail.
pub async fn live(settings: Settings, mut say: impl FnMut(&str)) -> Result<End, BridgeError> {
    let mut signals = Signals::listen()?;
    let mut life = Life::begin(settings).await?;
    let mut control = Some(Control::<Request, Answer>::open_as(Kind::Bridge));
    if let Some(control) = &mut control {
        control.opened().await;
    }
    say(&life.started.to_string());
    life.manager.ready(&life.started.to_string());
    let by = loop {
        tokio::select! {
            by = signals.next() => match by {
                Wish::End(by) => break by.to_owned(),
                Wish::Reload => life.reload(),
            },
            asked = Control::next(&mut control) => if life.answer(asked) {
                break "mvpnet bridge down".to_owned();
            },
            notices = life.reload.done() => {
                let words: Vec<String> = notices.iter().map(ToString::to_string).collect();
                words.iter().for_each(|line| say(line));
                life.manager.ready(&words.join("; "));
            },
            event = life.events.recv() => match event {
                Some(Event::Notice(notice)) => say(&notice.to_string()),
                // It has ended by itself.
                None => break String::new(),
            },
        }
    };
    life.end(by, control, say).await
}

impl Life {
    async fn begin(settings: Settings) -> Result<Self, BridgeError> {
        let Settings { name, source, listen, port, mtu, storm_limit, ageing_time, capture } = settings;
        if let Some(other) =
            running().into_iter().find(|other| other.name == name && shares_network(other.pid))
        {
            return Err(BridgeError::NameTaken { name, pid: other.pid });
        }
        let family = listen.map_or(Family::Either, Family::reached_from);
        let finding = source.clone();
        let found = tokio::task::spawn_blocking(move || finding.reach(family, port)).await;
        let Reached { tunnels, words } = found.map_err(|_| BridgeError::Panicked)??;
        let is_v4 = tunnels.iter().all(|tunnel| tunnel.peer.is_ipv4());
        let any = if is_v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let listen = SocketAddr::new(listen.unwrap_or(any), port);
        let vtep = Vtep::bind(&VtepConfig::new(listen))?;
        let listen = vtep.local_addr();
        let config = BridgeConfig { ageing_time, storm_limit, ..BridgeConfig::default() };
        let (handle, mailbox, events) = mailbox().map_err(io::Error::from)?;
        let mut bridge = BridgeLoop::new(name.clone(), vtep, config, mtu, mailbox);
        if let Some(refused) = bridge.set_tunnels(&tunnels).refused.into_iter().next() {
            return Err(BridgeError::Tunnel(refused));
        }
        let mtu = bridge.check_mtu()?;
        let capture = match capture {
            None => None,
            Some(destination) => {
                let (interfaces, layout) = Interfaces::lay_out(&name, &tunnels, source.may_grow());
                let (tap, capture) = capture::start_at(&destination, layout, Pool::default())?;
                bridge.capture(tap, interfaces);
                Some(capture)
            }
        };
        let thread = std::thread::Builder::new().name("bridge".into()).spawn(move || bridge.run())?;
        let reload = Reload::new(source, Family::reached_from(listen.ip()), port, handle.clone());
        let started = Started { name, listen, mtu, peers: words };
        let manager = ServiceManager::of_environment();
        Ok(Self { handle, thread, events, capture, reload, manager, started, waiting: Vec::new() })
    }

    fn reload(&mut self) {
        self.manager.reloading();
        self.reload.begin();
    }

    /// Whether that ends the bridge.
    fn answer(&mut self, asked: Asked<Request, Answer>) -> bool {
        let Asked { request, answer, .. } = asked;
        match request {
            Request::Status => {
                let (reply, status) = oneshot::channel();
                self.handle.send(Command::Status(reply));
                tokio::spawn(async move {
                    // A bridge that has ended meanwhile answers nothing.
                    if let Ok(status) = status.await {
                        let _ = answer.send(Answer::Status(status));
                    }
                });
                false
            }
            Request::Stop => {
                self.waiting.push(answer);
                true
            }
        }
    }

    async fn end(
        self,
        by: String,
        control: Option<Control<Request, Answer>>,
        mut say: impl FnMut(&str),
    ) -> Result<End, BridgeError> {
        let Self { handle, thread, mut events, capture, manager, waiting, .. } = self;
        manager.stopping();
        handle.send(Command::Stop);
        let LoopEnd { status, failure } = tokio::task::spawn_blocking(|| thread.join())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or(BridgeError::Panicked)?;
        // Not before all of it is out: the loop has ended, so that it ends too.
        while let Some(Event::Notice(notice)) = events.recv().await {
            say(&notice.to_string());
        }
        let report = match capture {
            Some(capture) => tokio::task::spawn_blocking(|| capture.finish(CAPTURE_END)).await.ok(),
            None => None,
        };
        if let Some(control) = control {
            let status = status.clone();
            control
                .close_saying(|| {
                    for answer in waiting {
                        let _ = answer.send(Answer::Status(status.clone()));
                    }
                })
                .await;
        }
        match failure {
            Some(error) => Err(BridgeError::Failed(error)),
            None => Ok(End { by, status, capture: report }),
        }
    }
}

/// What a signal means.
enum Wish {
    End(&'static str),
    Reload,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            had_terminal: io::stdin().is_terminal(),
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::End("SIGINT"),
            _ = self.terminate.recv() => Wish::End("SIGTERM"),
            _ = self.hang_up.recv() => {
                // The signal says two things: somebody asks for a reload, or the terminal is gone.
                if self.had_terminal && !io::stdin().is_terminal() {
                    Wish::End("its terminal is gone")
                } else {
                    Wish::Reload
                }
            }
        }
    }
}
