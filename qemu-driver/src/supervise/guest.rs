//! A running guest, as its rank sees it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::time::{Instant, timeout};

use super::end::GuestEnd;
use super::ladder::{StopLadder, StopReport, StopStep};
use super::leftovers::Leftover;
use super::link::{Keeper, SuperviseError};
use super::protocol::{Command, ProcessEnd};
use crate::agent::ChannelEnds;
use crate::console::{Console, ConsoleInput};
use crate::image::CopyHold;
use crate::qmp::Qmp;
use crate::spec::{GuestChannels, GuestFd};

/// How long the monitor may take to come up before a stop goes on without it. qemu takes a fraction of a second;
/// a program in its place never does.
const MONITOR_TIME: Duration = Duration::from_secs(2);
/// How long the last output may take to arrive after the guest's end.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// How long a killed process may take to go.
const KILL_TIME: Duration = Duration::from_secs(10);

/// What is needed to start a guest.
#[derive(Debug)]
pub struct Launch {
    /// The program and its arguments, from [`crate::argv()`].
    pub argv: Vec<OsString>,
    /// Environment variables to be set in addition to the rank's.
    pub env: Vec<(OsString, OsString)>,
    /// The descriptors that the command line speaks of.
    pub fds: GuestFds,
}

/// Descriptors that a guest inherits, each with the number that it will have there.
#[derive(Debug, Default)]
pub struct GuestFds {
    theirs: Vec<OwnedFd>,
    /// What is to be the guest's standard input.
    input: Option<OwnedFd>,
    ours: OurEnds,
}

/// The rank's ends of what the guest inherits the other ends of.
#[derive(Debug, Default)]
pub(super) struct OurEnds {
    qmp: Option<UnixStream>,
    channels: Option<ChannelEnds>,
    input: Option<OwnedFd>,
}

impl OurEnds {
    /// Whether the guest's monitor can be told things.
    pub(super) fn has_monitor(&self) -> bool {
        self.qmp.is_some()
    }
}

/// What a launch hands over, and the ends that stay here.
#[derive(Debug)]
pub(super) struct GuestEnds {
    /// With the guest's standard input last, if there is one.
    pub(super) theirs: Vec<OwnedFd>,
    pub(super) has_input: bool,
    pub(super) ours: OurEnds,
}

/// A guest that has been started. Dropping it stops it and tidies up behind it.
#[derive(Debug)]
pub struct Guest {
    keeper: Keeper,
    pid: u32,
    qmp: Option<Qmp>,
    channels: Mutex<Option<ChannelEnds>>,
    input: Option<ConsoleInput>,
}

impl GuestFds {
    /// None yet.
    pub fn new() -> GuestFds {
        GuestFds::default()
    }

    /// Hands over a descriptor. A guest can have eight.
    pub fn add(&mut self, fd: impl Into<OwnedFd>) -> GuestFd {
        self.theirs.push(fd.into());
        GuestFd::nth(u32::try_from(self.theirs.len() - 1).expect("a process has fewer descriptors"))
    }

    /// Makes the monitor's socket; the other end of it becomes [`Guest::qmp`].
    pub fn add_qmp(&mut self) -> io::Result<GuestFd> {
        let (ours, theirs) = UnixStream::pair()?;
        self.ours.qmp = Some(ours);
        Ok(self.add(theirs))
    }

    /// Makes the sockets of the guest's channels, `exec` says whether our own agent's too; the other ends of them are
    /// [`Guest::take_channels`].
    pub fn add_channels(&mut self, exec: bool) -> io::Result<GuestChannels> {
        let (guest_agent, theirs) = UnixStream::pair()?;
        let exec_pair = exec.then(UnixStream::pair).transpose()?;
        let guest_agent_fd = self.add(theirs);
        let (exec, exec_fd) = exec_pair.map(|(ours, theirs)| (ours, self.add(theirs))).unzip();
        self.ours.channels = Some(ChannelEnds { guest_agent, exec });
        Ok(GuestChannels { guest_agent: guest_agent_fd, exec: exec_fd })
    }

    /// Makes the pipe by which the guest's console is typed at; the other end of it becomes
    /// [`Guest::console_input`]. Without it the guest's standard input is empty.
    pub fn add_console_input(&mut self) -> io::Result<()> {
        let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        self.input = Some(theirs);
        self.ours.input = Some(ours);
        Ok(())
    }

    pub(super) fn into_ends(self) -> GuestEnds {
        let GuestFds { mut theirs, input, ours } = self;
        let has_input = input.is_some();
        theirs.extend(input);
        GuestEnds { theirs, has_input, ours }
    }
}

impl Guest {
    pub(super) fn new(keeper: Keeper, pid: i32, ours: OurEnds) -> io::Result<Guest> {
        let OurEnds { qmp, channels, input } = ours;
        let qmp = qmp.map(Qmp::start).transpose()?;
        let input = input.map(ConsoleInput::new).transpose()?;
        Ok(Guest { keeper, pid: pid.unsigned_abs(), qmp, channels: Mutex::new(channels), input })
    }

    /// The id of the guest's process, or of its wrapper's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The keeper's process id.
    pub fn keeper_pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// The guest's console.
    pub fn console(&self) -> &Console {
        self.keeper.console()
    }

    /// The way to type at the guest's console, if it was given one.
    pub fn console_input(&self) -> Option<&ConsoleInput> {
        self.input.as_ref()
    }

    /// What the guest's process writes to its standard error.
    pub fn stderr(&self) -> &Console {
        self.keeper.stderr()
    }

    /// The monitor, if the guest was given one.
    pub fn qmp(&self) -> Option<&Qmp> {
        self.qmp.as_ref()
    }

    /// The ends of the guest's channels, if it was given any: to be had once, for [`crate::agent::Agents::start`].
    pub fn take_channels(&self) -> Option<ChannelEnds> {
        // A place for a value is whole whatever panicked.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has more things removed at the end. To be called before they are made.
    pub async fn guard(&self, leftovers: Vec<Leftover>) -> Result<(), SuperviseError> {
        self.keeper.guard(leftovers).await
    }

    /// Whether the guest has ended, and how.
    pub fn end(&self) -> Option<GuestEnd> {
        let view = self.keeper.view();
        let view = view.borrow();
        (view.ended.is_some() || view.lost).then(|| self.end_of(view.ended))
    }

    /// Waits for the guest's end, by itself or not. Its last output has arrived by then.
    pub async fn ended(&self) -> GuestEnd {
        let mut view = self.keeper.view();
        // A channel whose sender is gone counts as lost.
        let process = match view.wait_for(|view| view.ended.is_some() || view.lost).await {
            Ok(view) => view.ended,
            Err(_) => None,
        };
        let _ = timeout(LAST_OUTPUT, async {
            self.console().closed().await;
            self.stderr().closed().await;
            if let Some(qmp) = &self.qmp {
                qmp.closed().await;
            }
        })
        .await;
        self.end_of(process)
    }

    /// Stops the guest step by step, and says which step did it.
    pub async fn shutdown(&self, ladder: &StopLadder) -> StopReport {
        let started = Instant::now();
        let report = |step, end| StopReport { step, end, elapsed: started.elapsed() };
        if self.end().is_some() {
            return report(StopStep::AlreadyEnded, self.ended().await);
        }
        if let Some(end) = self.power_down(ladder).await {
            let killed = self.keeper.view().borrow().killing;
            return report(if killed { StopStep::Kill } else { StopStep::PowerDown }, end);
        }
        let grace_ms = u64::try_from(ladder.terminate_grace.as_millis()).unwrap_or(u64::MAX);
        // If the keeper is gone, so is the guest, and `ended` knows.
        let _ = self.keeper.send(&Command::Terminate { grace_ms }, &[]).await;
        // The keeper itself goes on to SIGKILL.
        let end = timeout(ladder.terminate_grace + KILL_TIME, self.ended()).await;
        let killed = self.keeper.view().borrow().killing;
        let end = end.unwrap_or_else(|_| self.end_of(None));
        report(if killed { StopStep::Kill } else { StopStep::Terminate }, end)
    }

    /// Kills the guest. A shutdown that is under way ends with it.
    pub async fn kill(&self) -> Result<(), SuperviseError> {
        self.keeper.send(&Command::Kill, &[]).await
    }

    /// Has the keeper tidy up and waits until it is gone, see [`Keeper::finish`]. A guest that still runs is
    /// killed.
    pub async fn finish(&self, holds: Vec<CopyHold>) -> Vec<String> {
        self.keeper.finish(holds).await
    }

    /// Presses the power button until the guest ends or the time is over.
    async fn power_down(&self, ladder: &StopLadder) -> Option<GuestEnd> {
        let qmp = self.qmp.as_ref().filter(|_| !ladder.powerdown_grace.is_zero())?;
        let pressing = async {
            qmp.ready(MONITOR_TIME).await.ok()?;
            let grace_ms = u64::try_from(ladder.powerdown_grace.as_millis()).unwrap_or(u64::MAX);
            // If the keeper is gone, so is the guest.
            let _ = self.keeper.send(&Command::PoweringDown { grace_ms }, &[]).await;
            while qmp.system_powerdown().await.is_ok() {
                if let Ok(end) = timeout(ladder.powerdown_every, self.ended()).await {
                    return Some(end);
                }
            }
            // The monitor is closed: qemu ends.
            timeout(LAST_OUTPUT, self.ended()).await.ok()
        };
        timeout(ladder.powerdown_grace, pressing).await.ok().flatten()
    }

    fn end_of(&self, process: Option<ProcessEnd>) -> GuestEnd {
        GuestEnd { process, cause: self.qmp.as_ref().and_then(|qmp| qmp.state().shutdown) }
    }
}
