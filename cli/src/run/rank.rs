//! One rank of a job, over whatever transport: its frame loop with the capture, and its control plane.

use std::time::Duration;

use mvpnet_node::capture::{self, Capture, Destination, Tap};
use mvpnet_node::clock::Clock;
use mvpnet_node::control::{DirectoryError, JobDirectory};
use mvpnet_node::frame_loop::{CapturedFrames, Event, LoopEnd, LoopHandle, Progress, RankLoop, mailbox};
use mvpnet_node::job::{Chief, EndWish, HostTap, Notice, Problem, RankSetup};
use mvpnet_qemu_driver::supervise::Leftover;
use mvpnet_switch::{Rank, Switch, World};
use mvpnet_transports::Transport;
use tokio::sync::mpsc;

use super::keys::Briefing;
use super::plan::{Seat, images, plan, switch_config};
use super::problem::unable;
use super::ssh_files::SSH_CONFIG;
use super::{complain, room, writers};
use crate::args::{self, RankOptions, check};

/// How long a capture may take to be written out at the end.
const CAPTURE_END: Duration = Duration::from_secs(5);

/// A rank before its threads start.
pub struct RankParts {
    options: RankOptions,
    seat: Seat,
    tap: Option<Tap>,
    capture: Option<Capture>,
    mailbox: mvpnet_node::frame_loop::Mailbox,
    handle: LoopHandle,
    events: mpsc::UnboundedReceiver<Event>,
    problem: Option<Problem>,
    plan: Option<super::plan::RankPlan>,
}

/// What stays with the thread of the frame loop.
pub struct LoopPart {
    switch: Switch,
    tap: Option<Tap>,
    capture: Option<Capture>,
    mailbox: mvpnet_node::frame_loop::Mailbox,
    waiting: Progress,
    captured_frames: CapturedFrames,
    /// What people call the rank.
    number: Rank,
}

impl RankParts {
    /// Plans the rank; what is wrong is kept to be told to rank 0. The first rank of a host has all ranks of
    /// the host as its `housemates`, and looks for what they need together; the others have none. What was
    /// `found` wrong before comes first.
    pub fn prepare(
        options: RankOptions,
        seat: Seat,
        transport: &str,
        leftovers: Vec<Leftover>,
        housemates: &[RankOptions],
        found: Option<Problem>,
    ) -> std::io::Result<Self> {
        let (handle, mailbox, events) = mailbox()?;
        let planned = found.map_or(Ok(()), Err).and_then(|()| plan(&options, seat, leftovers));
        let planned = planned.and_then(|plan| {
            check_host(housemates, seat.numbers.network())?;
            Ok(plan)
        });
        let (plan, mut problem) = match planned {
            Ok(plan) => (Some(plan), None),
            Err(problem) => (None, Some(problem)),
        };
        if seat.me.index() == 0
            && let Some(warning) =
                check::wrapper_warning(&options.shared, std::env::var_os("PATH").as_deref())
        {
            complain(&warning);
        }
        let started = if plan.is_some() { start_capture(&options, seat, transport) } else { Ok(None) };
        let (tap, capture) = match started {
            Ok(started) => started.unzip(),
            Err(text) => {
                problem = Some(Problem { text, usage: true, of_job: false });
                (None, None)
            }
        };
        Ok(Self { options, seat, tap, capture, mailbox, handle, events, problem, plan })
    }

    /// Has the kernel carry the guest's frames.
    pub fn with_tap(mut self, tap: Option<HostTap>) -> Self {
        if let Some(plan) = &mut self.plan {
            plan.guest.tap = tap;
        }
        self
    }

    /// What rank 0 tells all ranks, if this is rank 0.
    pub fn briefing(&self) -> Option<&Briefing> {
        self.plan.as_ref()?.briefing.as_ref()
    }

    /// What the user should know before the guests are up.
    pub fn notes(&self) -> Vec<String> {
        self.plan.as_ref().map(|plan| plan.notes.clone()).unwrap_or_default()
    }

    /// Splits the rank into what its loop's thread and what its control plane needs.
    pub fn split(
        self,
        host: String,
        wishes: mpsc::UnboundedReceiver<EndWish>,
        notices: Option<mpsc::UnboundedSender<Notice>>,
    ) -> (LoopPart, RankSetup) {
        let Self { options, seat, tap, capture, mailbox, handle, events, problem, plan } = self;
        let switch = Switch::new(switch_config(&options, seat));
        let briefing = plan.as_ref().and_then(|plan| plan.briefing.as_ref()).map(Briefing::text);
        let (guest, application) = plan.map(|plan| (plan.guest, plan.application)).unzip();
        let chief = notices.map(|notices| Chief { application: application.flatten(), notices, briefing });
        let guest = if problem.is_some() { None } else { guest };
        let Seat { me, world, numbers, .. } = seat;
        let answers = chief.is_some();
        let setup = RankSetup {
            me,
            world,
            numbers,
            host,
            problem,
            guest,
            handle,
            events,
            wishes,
            answers,
            chief,
            directory: None,
            briefed: None,
            lifeline: false,
        };
        let (waiting, captured_frames) = (options.shared.waiting, options.shared.captured_frames);
        let number = seat.number();
        (LoopPart { switch, tap, capture, mailbox, waiting, captured_frames, number }, setup)
    }
}

/// Gives a rank the directory of its process's part of the job. That there is none matters to guests that are configured
/// from there.
pub fn placed(setup: RankSetup, directory: &Result<JobDirectory, DirectoryError>) -> RankSetup {
    match directory {
        Ok(directory) => setup.with_directory(directory.path(), &directory.path().join(SSH_CONFIG)),
        Err(error) if setup.guest.as_ref().is_some_and(|guest| guest.seed.is_some()) => {
            let problem = setup.problem.or_else(|| Some(unable(error.to_string())));
            RankSetup { guest: None, problem, ..setup }
        }
        Err(error) => {
            tracing::warn!("`mvpnet ssh` will not work: {error}");
            setup
        }
    }
}

impl LoopPart {
    /// Runs the frame loop on this thread, until its control plane stops it; then completes the capture.
    pub fn run<T: Transport>(self, transport: T) -> LoopEnd<T> {
        let Self { switch, tap, capture, mailbox, waiting, captured_frames, number } = self;
        let frame_loop = RankLoop::new(switch, transport, Clock::start(), mailbox, tap);
        let mut end = frame_loop.with_progress(waiting).with_captured_frames(captured_frames).run();
        drop(end.tap.take());
        if let Err(imbalance) = end.switch.counters().check() {
            tracing::error!("the counters do not balance: {imbalance}");
        }
        if let Some(capture) = capture {
            let report = capture.finish(CAPTURE_END);
            if report.is_complete() {
                tracing::info!("{report}");
            } else {
                complain(&format!("rank {number}: {report}"));
            }
        }
        end
    }
}

/// Checks what the ranks of a host need together.
fn check_host(housemates: &[RankOptions], world: World) -> Result<(), Problem> {
    let mut plans = Vec::new();
    for options in housemates {
        let Ok(rank) = world.rank(options.rank) else { continue };
        match images(options, rank) {
            Ok(its) => plans.extend(its.into_iter().map(|plan| (rank, plan))),
            // A rank whose images are wrong says so itself, and one trouble at a time is enough.
            Err(_) => return Ok(()),
        }
    }
    writers::check(&plans)?;
    room::check(plans.iter().map(|(_, plan)| plan))
}

fn start_capture(
    options: &RankOptions,
    seat: Seat,
    transport: &str,
) -> Result<Option<(Tap, Capture)>, String> {
    let (me, world) = (seat.number(), seat.numbers.network());
    let job = options.shared.job.as_deref();
    let destination = match &options.capture {
        None => return Ok(None),
        Some(args::Capture::Stdout) => Destination::Stdout,
        Some(args::Capture::Path(path)) => {
            Destination::new(path, job, me).map_err(|error| format!("--capture: {error}"))?
        }
    };
    let options = capture::Options {
        destination,
        me,
        world,
        transport: transport.to_owned(),
        job: job.map(str::to_owned),
        pool: capture::Pool::default(),
    };
    capture::start(&options).map(Some).map_err(|error| format!("--capture: {error}"))
}
