//! From a plan to a running qemu: the steps before the guest's first instruction, and their undoing.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mvpnet_qemu_driver::VmSpec;
use mvpnet_qemu_driver::argv;
use mvpnet_qemu_driver::image::{CopyHold, ImageError, ImagePlan, Progress};
use mvpnet_qemu_driver::links::{EndsError, LinkKind, bind_dgram, listen_stream, pair, vhost_user};
use mvpnet_qemu_driver::names::{SocketPathError, socket_path};
use mvpnet_qemu_driver::ports::{PortError, PortReservation, reserve, step};
use mvpnet_qemu_driver::spec::{ClusterNet, DgramEnd, GuestFd, StreamEnd, VhostUserEnd};
use mvpnet_qemu_driver::supervise::{Guest, GuestFds, Keeper, Launch, Leftover, SuperviseError};

use super::messages::Phase;
use super::plan::{Briefing, GuestPlan, HostSeed, HostTap};
use crate::frame_loop::{Command, GuestEnd, LoopHandle};

/// How long qemu may take to connect to its link's path.
const CONNECT: Duration = Duration::from_secs(30);

/// Why a guest was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum BootError {
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{0}")]
    Port(#[from] PortError),
    #[error("{0}")]
    SocketPath(#[from] SocketPathError),
    #[error("{0}")]
    Link(#[from] EndsError),
    #[error("{0}")]
    Supervise(#[from] SuperviseError),
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error("qemu did not connect to {at} within {} s", CONNECT.as_secs())]
    NotConnected { at: String },
    #[error("no configuration for the guest: {0}")]
    Seed(String),
    #[error("the job ended first")]
    Stopped,
}

/// What has been begun. Given to the keeper or held here, so that it can be undone at any point.
pub(super) struct Boot {
    keeper: Option<Keeper>,
    holds: Vec<CopyHold>,
    port: Option<PortReservation>,
    seed: Option<PathBuf>,
    cancel_copy: Arc<AtomicBool>,
}

/// The two ends of the guest's link, before qemu has its own.
struct Link {
    net: ClusterNet,
    ours: Ours,
}

enum Ours {
    Socket {
        socket: OwnedFd,
        guest_path: Option<PathBuf>,
    },
    Listener {
        listener: std::os::unix::net::UnixListener,
        /// What it is called in messages.
        at: String,
    },
    /// The kernel has it.
    Nothing,
}

impl Boot {
    /// Nothing but a keeper yet.
    pub(super) fn new(keeper: Keeper) -> Self {
        Self { keeper: Some(keeper), holds: Vec::new(), port: None, seed: None, cancel_copy: Arc::default() }
    }

    /// Starts the guest of `plan` and attaches it to the loop behind `handle`; `tell` hears of progress.
    pub(super) async fn start(
        &mut self,
        plan: &GuestPlan,
        handle: &LoopHandle,
        briefing: &Briefing,
        tell: impl Fn(Phase) + Clone + Send + 'static,
    ) -> Result<Guest, BootError> {
        tell(Phase::Preparing);
        // In a later life of the guest its disks, its configuration and its port are there already.
        let ssh_port = match &self.port {
            Some(port) => port.port(),
            None => {
                make_tap(plan).await?;
                self.seed = make_seed(plan, briefing).await?;
                self.copy_images(plan, tell).await?;
                let port = reserve(plan.machine.rank, step(briefing.fullest_host_ranks))?;
                self.port.insert(port).port()
            }
        };
        let keeper = self.keeper.as_ref().expect("a keeper starts one guest");
        let mut fds = GuestFds::new();
        let kind = briefing.agreed(plan.link);
        let Link { net, ours } = make_link(plan, keeper, &mut fds).await?;
        let qmp = fds
            .add_qmp()
            .map_err(|error| BootError::Io { what: "no socket for the monitor".into(), error })?;
        fds.add_console_input()
            .map_err(|error| BootError::Io { what: "no pipe for the console".into(), error })?;
        let channels = fds
            .add_channels(!plan.no_exec)
            .map_err(|error| BootError::Io { what: "no sockets for agents".into(), error })?;
        let mut spec = VmSpec { channels: Some(channels), ..describe(plan, net, ssh_port, qmp) };
        spec.machine.seed = self.seed.clone().or(spec.machine.seed);
        let ours = match ours {
            Ours::Socket { socket, guest_path } => {
                handle.send(Command::Attach(GuestEnd { kind, socket, guest_path }));
                None
            }
            Ours::Nothing => None,
            Ours::Listener { listener, at } => Some((listener, at)),
        };
        let guest = self.launch(plan, &spec, fds).await?;
        if let Some((listener, at)) = ours {
            match accept(listener, at, &guest).await {
                Ok(socket) => {
                    handle.send(Command::Attach(GuestEnd { kind, socket, guest_path: None }));
                }
                Err(error) => {
                    // qemu's own complaint says more than its absence.
                    let said = guest.stderr().last_lines(5).join("; ");
                    drop(guest.finish(self.take_holds()).await);
                    return Err(if said.is_empty() { error } else { refused(said) });
                }
            }
        }
        Ok(guest)
    }

    /// Another life of the guest is to be started, under this keeper.
    pub(super) fn again(&mut self, keeper: Keeper) {
        self.keeper = Some(keeper);
    }

    async fn copy_images(
        &mut self,
        plan: &GuestPlan,
        tell: impl Fn(Phase) + Clone + Send + 'static,
    ) -> Result<(), BootError> {
        let keeper = self.keeper.as_ref().expect("a keeper starts one guest");
        for image in &plan.images {
            keeper.guard(image.leftovers()).await?;
            let hold = copy(image.clone(), Arc::clone(&self.cancel_copy), tell.clone()).await?;
            self.holds.extend(hold);
        }
        Ok(())
    }

    async fn launch(
        &mut self,
        plan: &GuestPlan,
        spec: &VmSpec,
        fds: GuestFds,
    ) -> Result<Guest, SuperviseError> {
        let argv = argv(spec);
        tracing::debug!("starting {argv:?}");
        let keeper = self.keeper.take().expect("a keeper starts one guest");
        keeper.launch(Launch { argv, env: plan.children.env(self.ssh_port()), fds }).await
    }

    /// The port on this host that leads to the guest's sshd.
    pub(super) fn ssh_port(&self) -> u16 {
        self.port.as_ref().map_or(0, PortReservation::port)
    }

    /// The uses of shared copies, to be given up before the keeper tidies up.
    pub(super) fn take_holds(&mut self) -> Vec<CopyHold> {
        std::mem::take(&mut self.holds)
    }

    /// Undoes what was begun; says what could not be removed.
    pub(super) async fn undo(&mut self) -> Vec<String> {
        self.cancel_copy.store(true, Ordering::Relaxed);
        let holds = self.take_holds();
        match self.keeper.take() {
            Some(keeper) => keeper.finish(holds).await,
            None => Vec::new(),
        }
    }
}

fn refused(said: String) -> BootError {
    BootError::Io { what: "qemu did not start".into(), error: std::io::Error::other(said) }
}

/// Copies one image on a thread that may block.
async fn copy(
    image: ImagePlan,
    cancel: Arc<AtomicBool>,
    tell: impl Fn(Phase) + Send + 'static,
) -> Result<Option<CopyHold>, BootError> {
    let copying = tokio::task::spawn_blocking(move || {
        image.carry_out(&cancel, &mut |progress| {
            if let Progress::Copying { done, total } = progress {
                tell(Phase::Copying { done, total });
            }
        })
    });
    match copying.await {
        Ok(result) => Ok(result?),
        Err(panic) => Err(BootError::Io { what: "copying an image".into(), error: panic.into() }),
    }
}

/// Makes the guest's interface, where the kernel carries its frames.
async fn make_tap(plan: &GuestPlan) -> Result<(), BootError> {
    let Some(HostTap { interface, make }) = plan.tap.clone() else { return Ok(()) };
    let what = format!("no interface {interface}");
    match tokio::task::spawn_blocking(move || make()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(BootError::Io { what, error: std::io::Error::other(why) }),
        Err(panic) => Err(BootError::Io { what, error: panic.into() }),
    }
}

/// Makes the guest's configuration, if it is to have one of ours. The directory that it is in is guarded.
async fn make_seed(plan: &GuestPlan, briefing: &Briefing) -> Result<Option<PathBuf>, BootError> {
    let Some(HostSeed { make }) = plan.seed.clone() else { return Ok(None) };
    let Briefing { text: Some(text), directory: Some(directory), .. } = briefing.clone() else {
        return Err(BootError::Seed("rank 0 has said nothing, or there is no directory to put it".into()));
    };
    match tokio::task::spawn_blocking(move || make(&text, &directory)).await {
        Ok(made) => made.map(Some).map_err(BootError::Seed),
        Err(panic) => {
            Err(BootError::Io { what: "making the guest's configuration".into(), error: panic.into() })
        }
    }
}

async fn make_link(plan: &GuestPlan, keeper: &Keeper, fds: &mut GuestFds) -> Result<Link, BootError> {
    if let Some(tap) = &plan.tap {
        return Ok(Link { net: ClusterNet::Tap(tap.interface.clone()), ours: Ours::Nothing });
    }
    let Some(dir) = &plan.socket_dir else { return inherited_link(plan.link, fds) };
    let path = |kind| socket_path(dir, kind, plan.machine.job.as_deref(), plan.machine.rank);
    match plan.link {
        LinkKind::Stream | LinkKind::VhostUser(_) => {
            let is_stream = plan.link == LinkKind::Stream;
            let switch = path(if is_stream { "stream" } else { "switch" })?;
            guard_fresh(keeper, &switch).await?;
            let ours = Ours::Listener { listener: listen_stream(&switch)?, at: switch.display().to_string() };
            let net = if is_stream {
                ClusterNet::Stream(StreamEnd::Path(switch))
            } else {
                ClusterNet::VhostUser(VhostUserEnd::Path(switch))
            };
            Ok(Link { net, ours })
        }
        LinkKind::Dgram => {
            let (switch, guest) = (path("switch")?, path("guest")?);
            guard_fresh(keeper, &switch).await?;
            guard_fresh(keeper, &guest).await?;
            let ours = Ours::Socket { socket: bind_dgram(&switch)?, guest_path: Some(guest.clone()) };
            Ok(Link { net: ClusterNet::Dgram(DgramEnd::Paths { guest, switch }), ours })
        }
    }
}

/// A link whose socket has no path.
fn inherited_link(kind: LinkKind, fds: &mut GuestFds) -> Result<Link, BootError> {
    let mut both_ends = || -> Result<_, BootError> {
        let (ours, theirs) = pair(kind)?;
        Ok((Ours::Socket { socket: ours, guest_path: None }, fds.add(theirs)))
    };
    Ok(match kind {
        LinkKind::Stream => {
            let (ours, theirs) = both_ends()?;
            Link { net: ClusterNet::Stream(StreamEnd::Inherited(theirs)), ours }
        }
        LinkKind::Dgram => {
            let (ours, theirs) = both_ends()?;
            Link { net: ClusterNet::Dgram(DgramEnd::Inherited(theirs)), ours }
        }
        LinkKind::VhostUser(_) => {
            // qemu connects itself, by a descriptor that it inherits.
            let (listener, named) = vhost_user::listen()?;
            let net = ClusterNet::VhostUser(VhostUserEnd::Inherited(fds.add(named)));
            Link { net, ours: Ours::Listener { listener, at: "the socket that it inherits".into() } }
        }
    })
}

/// Has a socket removed at the end. One that stands there with nobody behind it, from a job that was on a
/// machine which lost its power, goes now.
async fn guard_fresh(keeper: &Keeper, socket: &Path) -> Result<(), BootError> {
    if is_stale(socket) {
        let _ = std::fs::remove_file(socket);
    }
    if socket.exists() {
        let error = std::io::ErrorKind::AddrInUse.into();
        let what = format!("{} belongs to another job; give this one a name with --job", socket.display());
        return Err(BootError::Io { what, error });
    }
    Ok(keeper.guard(vec![Leftover::File(socket.to_owned())]).await?)
}

fn is_stale(socket: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    let answers = UnixStream::connect(socket).is_ok()
        || UnixDatagram::unbound().is_ok_and(|probe| probe.connect(socket).is_ok());
    is_socket && !answers
}

/// Waits for qemu's connection, unless qemu ends first.
async fn accept(
    listener: std::os::unix::net::UnixListener,
    at: String,
    guest: &Guest,
) -> Result<OwnedFd, BootError> {
    let io = |error| BootError::Io { what: format!("waiting for qemu on {at}"), error };
    listener.set_nonblocking(true).map_err(io)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(io)?;
    tokio::select! {
        accepted = tokio::time::timeout(CONNECT, listener.accept()) => match accepted {
            Ok(Ok((stream, _))) => Ok(OwnedFd::from(stream.into_std().map_err(io)?)),
            Ok(Err(error)) => Err(io(error)),
            Err(_) => Err(BootError::NotConnected { at: at.clone() }),
        },
        end = guest.ended() => Err(refused(end.to_string())),
    }
}

fn describe(plan: &GuestPlan, cluster: ClusterNet, ssh_port: u16, qmp: GuestFd) -> VmSpec {
    let mut machine = plan.machine.clone();
    machine.disks = plan.images.iter().map(|image| image.drive.clone()).collect();
    machine.user_net.ssh_port = Some(ssh_port);
    VmSpec { machine, cluster, qmp: Some(qmp), channels: None }
}
