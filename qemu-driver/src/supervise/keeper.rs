//! The keeper: a process with one thread that starts the guest, stops it, and tidies up, for a rank that may
//! die at any moment.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Process, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, close, dup2_stderr, dup2_stdout, getppid, setsid};

use super::descriptors::{MAX_FDS, close_inherited, placeholders};
use super::leftovers::{self, Leftover};
use super::protocol::{Command, Event, ProcessEnd, line, take_lines};
use super::wrap_log::WrapLog;
use crate::spec::GuestFd;

/// How long a guest whose rank is gone gets between SIGINT and SIGKILL: qemu ends at once on SIGINT, so this is
/// for its last writes to the disk images.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// How long a guest that is shutting down gets to complete that when its rank is gone: some mpiruns kill
/// their ranks a second after they have told them to end.
const ORPHAN_POWERDOWN: Duration = Duration::from_secs(6);
/// How long the keeper waits for a killed guest before it tidies up regardless.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// How often the keeper looks whether its parent is still the rank.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps one guest. The control socket has to be standard input; standard output and standard error become
/// the guest's. To be called from the main thread of a process that has no other.
pub fn keeper_main() -> ExitCode {
    match Keeper::start() {
        Ok(mut keeper) => {
            keeper.run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mvpnet's keeper cannot start: {error}");
            ExitCode::from(2)
        }
    }
}

struct Keeper {
    control: UnixStream,
    rank: Pid,
    received: Vec<u8>,
    received_fds: Vec<RawFd>,
    children: SignalFd,
    /// Keep the first numbers free for the guest's descriptors.
    placeholders: Vec<File>,
    guest: Option<Running>,
    leftovers: Vec<Leftover>,
    log: WrapLog,
    done: bool,
}

struct Running {
    process: Child,
    group: Pid,
    /// When SIGKILL follows on SIGTERM.
    kill_at: Option<Instant>,
    /// Until when it may complete its shutdown.
    powers_down_until: Option<Instant>,
    /// What tells it to end.
    end_signal: Signal,
}

impl Keeper {
    fn start() -> io::Result<Keeper> {
        // In a session of its own, and deaf to everything that can be blocked: mpirun and terminals signal
        // whole process groups. What is blocked is not inherited as ignored, so the guest is not deaf.
        SigSet::all().thread_block()?;
        // An error means that it leads a session already.
        let _ = setsid();
        let _ = prctl::set_name(c"mvpnet-keeper");
        let rank = getppid();
        close_inherited()?;
        let placeholders = placeholders();
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        if control.peer_addr().is_err() {
            return Err(io::Error::other("standard input is not a rank's socket"));
        }
        let mut sigchld = SigSet::empty();
        sigchld.add(Signal::SIGCHLD);
        let children = SignalFd::with_flags(&sigchld, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Keeper {
            control,
            received: Vec::new(),
            received_fds: Vec::new(),
            children,
            placeholders,
            rank,
            guest: None,
            leftovers: Vec::new(),
            log: WrapLog::new(now()),
            done: false,
        })
    }

    fn run(&mut self) {
        self.log.line("ready");
        self.tell(&Event::Ready);
        while !self.done {
            let rank_spoke = match self.wait(true, self.guest.as_ref().and_then(|guest| guest.kill_at)) {
                Ok(rank_spoke) => rank_spoke,
                Err(error) => {
                    self.log.line(format_args!("cannot wait: {error}"));
                    break;
                }
            };
            self.reap();
            self.kill_when_due();
            // The socket tells, unless some other child of the rank holds a copy of its end.
            if (rank_spoke && !self.listen()) || getppid() != self.rank {
                self.log.line("the rank is gone");
                break;
            }
        }
        self.end();
    }

    /// Waits for the rank (if `for_rank`), the guest's end, or the time. Whether the rank has spoken.
    fn wait(&self, for_rank: bool, until: Option<Instant>) -> io::Result<bool> {
        let rest = until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(now()).min(LOOK_EVERY));
        // Rounded up, so as not to wake just before the time.
        let timeout = PollTimeout::try_from(rest + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
        let watched = if for_rank { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), watched),
        ];
        // Without the rank its socket is left out: a closed one would be reported for ever.
        let count = if for_rank { 2 } else { 1 };
        match poll(&mut fds[..count], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(for_rank && fds[1].any().unwrap_or(true)),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads and obeys. False when the rank is gone.
    fn listen(&mut self) -> bool {
        let alive = match self.receive() {
            Ok(0) => false,
            Ok(_) => true,
            Err(Errno::EINTR | Errno::EAGAIN) => true,
            Err(error) => {
                self.log.line(format_args!("control socket: {error}"));
                false
            }
        };
        for command in take_lines(&mut self.received) {
            match command {
                Ok(command) => self.obey(command),
                Err(error) => self.log.line(error),
            }
        }
        alive
    }

    fn receive(&mut self) -> nix::Result<usize> {
        // Descriptors are installed with the lowest free numbers (unix(7), SCM_RIGHTS): make those free which
        // the guest's command line names.
        self.placeholders.clear();
        let mut buffer = [0; 16 << 10];
        let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let (length, fds) = {
            let message = recvmsg::<()>(
                self.control.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::MSG_DONTWAIT,
            )?;
            let mut fds = Vec::new();
            for part in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(rights) = part {
                    fds.extend(rights);
                }
            }
            (message.bytes, fds)
        };
        self.received.extend_from_slice(&buffer[..length]);
        self.received_fds.extend(fds);
        if self.received_fds.is_empty() {
            self.placeholders = placeholders();
        }
        Ok(length)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Configure { wrap_log } => {
                if let Some(path) = wrap_log {
                    self.log.open(Path::new(&path));
                    self.log.line(format_args!(
                        "keeper {} for rank process {}",
                        std::process::id(),
                        self.rank
                    ));
                }
            }
            Command::Guard { leftovers } => {
                for leftover in leftovers {
                    self.log.line(format_args!("to be removed at the end: {leftover:?}"));
                    if !self.leftovers.contains(&leftover) {
                        self.leftovers.push(leftover);
                    }
                }
                let count = self.leftovers.len();
                self.tell(&Event::Guarding { count });
            }
            Command::Launch { argv, env, fds, has_input, deaf } => {
                match self.launch(&argv, env, fds, has_input, deaf) {
                    Ok(pid) => {
                        self.log.line(format_args!("started {pid}: {argv:?}"));
                        self.tell(&Event::Launched { pid });
                    }
                    Err(error) => {
                        self.log.line(format_args!("cannot start {argv:?}: {error}"));
                        self.tell(&Event::LaunchFailed { error: error.to_string() });
                    }
                }
            }
            Command::PoweringDown { grace_ms } => {
                if let Some(guest) = &mut self.guest {
                    guest.powers_down_until = Some(now() + Duration::from_millis(grace_ms));
                }
            }
            Command::Terminate { grace_ms } => self.terminate(Duration::from_millis(grace_ms)),
            Command::Kill => self.kill(),
            Command::Finish => self.done = true,
        }
    }

    fn launch(
        &mut self,
        argv: &[OsString],
        env: Vec<(OsString, OsString)>,
        fds: u32,
        has_input: bool,
        deaf: bool,
    ) -> io::Result<i32> {
        let mut received = std::mem::take(&mut self.received_fds);
        let input = check_numbers(&received, fds).and_then(|()| {
            let last = if has_input { received.pop() } else { None };
            last.map(take_input).transpose()
        });
        let result = input.and_then(|input| self.spawn(argv, env, input, deaf));
        // The guest has them; here they would keep its sockets open after its end.
        for fd in received {
            let _ = close(fd);
        }
        let process = result?;
        let pid = i32::try_from(process.id()).map_err(io::Error::other)?;
        let end_signal = if deaf { Signal::SIGINT } else { Signal::SIGTERM };
        let group = Pid::from_raw(pid);
        self.guest = Some(Running { process, group, kill_at: None, powers_down_until: None, end_signal });
        // So that the rank sees the end of the console when the guest ends.
        let null = File::options().write(true).open("/dev/null")?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        Ok(pid)
    }

    fn spawn(
        &mut self,
        argv: &[OsString],
        env: Vec<(OsString, OsString)>,
        input: Option<File>,
        deaf: bool,
    ) -> io::Result<Child> {
        if self.guest.is_some() {
            return Err(io::Error::other("a guest runs already"));
        }
        // Own process group: a wrapper's children are stopped with it.
        Process::new("/proc/self/exe")
            .arg0("mvpnet")
            .arg(super::EXEC)
            .arg(std::process::id().to_string())
            .arg(if deaf { super::DEAF } else { super::HEARS })
            .args(argv)
            .envs(env)
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .process_group(0)
            .spawn()
    }

    fn terminate(&mut self, grace: Duration) {
        let Some(guest) = &mut self.guest else { return };
        // An error means that it ended meanwhile.
        let _ = killpg(guest.group, guest.end_signal);
        guest.kill_at = Some(now() + grace);
        self.log.line(format_args!("{}, SIGKILL follows in {} ms", guest.end_signal, grace.as_millis()));
        self.tell(&Event::Terminating);
    }

    fn kill(&mut self) {
        let Some(guest) = &mut self.guest else { return };
        let _ = killpg(guest.group, Signal::SIGKILL);
        guest.kill_at = None;
        self.log.line("SIGKILL");
        self.tell(&Event::Killing);
    }

    fn kill_when_due(&mut self) {
        if self.guest.as_ref().and_then(|guest| guest.kill_at).is_some_and(|due| due <= now()) {
            self.kill();
        }
    }

    /// Looks whether the guest has ended.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        let Some(guest) = &mut self.guest else { return };
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let end = match waitid(Id::Pid(guest.group), flags) {
            Ok(WaitStatus::Exited(_, code)) => ProcessEnd::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => ProcessEnd::Signal(signal as i32),
            _ => return,
        };
        // What a wrapper left. Before the leader is reaped its number cannot be anybody else's.
        let _ = killpg(guest.group, Signal::SIGKILL);
        let _ = guest.process.wait();
        self.guest = None;
        self.log.line(format_args!("the guest ended: {end}"));
        self.tell(&Event::Ended { end });
    }

    /// Stops the guest if it runs, removes what is guarded.
    fn end(&mut self) {
        if self.done {
            self.kill()
        } else {
            self.await_power_down();
            self.terminate(ORPHAN_GRACE)
        }
        let give_up = now() + ORPHAN_GRACE + KILL_WAIT;
        while self.guest.is_some() && now() < give_up {
            let until = self.guest.as_ref().and_then(|guest| guest.kill_at).unwrap_or(give_up);
            if self.wait(false, Some(until)).is_err() {
                self.kill();
                break;
            }
            self.reap();
            self.kill_when_due();
        }
        let rank = if self.done { leftovers::Rank::Alive } else { leftovers::Rank::Gone };
        let failures = leftovers::remove_all(&self.leftovers, rank);
        for failure in &failures {
            self.log.line(failure);
        }
        self.log.line("done");
        self.tell(&Event::Finished { failures });
    }

    /// Lets a guest whose rank died in the middle of its shutdown complete it.
    fn await_power_down(&mut self) {
        let Some(until) = self.guest.as_ref().and_then(|guest| guest.powers_down_until) else { return };
        let until = until.min(now() + ORPHAN_POWERDOWN);
        while self.guest.is_some() && now() < until && self.wait(false, Some(until)).is_ok() {
            self.reap();
        }
    }

    fn tell(&mut self, event: &Event) {
        // A rank that is gone is noticed when reading.
        let _ = (&self.control).write_all(&line(event));
    }
}

fn check_numbers(received: &[RawFd], fds: u32) -> io::Result<()> {
    let expected: Vec<RawFd> = (0..fds).map(|n| (GuestFd::FIRST + n).cast_signed()).collect();
    if received == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("descriptors {received:?} came instead of {expected:?}")))
}

/// Opens the pipe that came as `fd` anew, so that it is closed at the right time, and gives up the number.
fn take_input(fd: RawFd) -> io::Result<File> {
    let input = File::open(format!("/proc/self/fd/{fd}"));
    let _ = close(fd);
    input
}

// Supervision waits for real processes.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
