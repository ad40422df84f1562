//! What a job is: what stays the same of what it says of itself.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mvpnet_qemu_driver::process::{Process, Realm};
use mvpnet_qemu_driver::spec::Drive;
use mvpnet_qemu_driver::{Leftover, names};
use mvpnet_switch::Rank;

use super::numbers::Numbers;
use super::plan::GuestPlan;
use crate::control::{JobInfo, JobState, Record};

/// A job, known to its rank 0.
#[derive(Clone, Debug)]
pub(super) struct About {
    info: JobInfo,
    begun: Instant,
}

impl Default for About {
    /// A job of which nothing is known.
    #[allow(clippy::disallowed_methods, reason = "people want to know how long it runs in their time")]
    fn default() -> Self {
        Self { info: JobInfo::default(), begun: Instant::now() }
    }
}

impl About {
    /// A job that begins now, with this process as its rank 0's.
    #[allow(clippy::disallowed_methods, reason = "people want to know when it began in their time")]
    pub(super) fn new(ranks: u32, numbers: Numbers, guest: Option<&GuestPlan>) -> Self {
        let realm = Realm::here();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let process = std::process::id();
        let info = JobInfo {
            // A process that gets the same number begins at another time.
            id: format!("{}-{process}-{}", realm.host, since.as_millis()),
            name: guest.and_then(|plan| plan.children.job.clone()),
            process,
            host: realm.host,
            through: process,
            ranks,
            first_rank: numbers.first(),
            started: since.as_secs(),
            image: guest.and_then(boots),
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            ..JobInfo::default()
        };
        Self { info, begun: Instant::now() }
    }

    pub(super) fn note(&mut self, state: JobState, hosts: u32) {
        (self.info.state, self.info.hosts) = (state, hosts);
    }

    /// What it says of itself now.
    pub(super) fn info(&self) -> JobInfo {
        JobInfo { age: self.begun.elapsed().as_secs(), ..self.info.clone() }
    }
}

/// What a guest boots: its first disk, or its kernel.
fn boots(plan: &GuestPlan) -> Option<String> {
    let disk = plan.images.first().map(|image| match (&image.source, &image.drive) {
        (Some(source), _) | (None, Drive::Image { file: source, .. }) => shown(source),
        (None, Drive::Verbatim(text)) => text.to_string_lossy().into_owned(),
    });
    disk.or_else(|| plan.machine.direct_boot.as_ref().map(|boot| shown(&boot.kernel)))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What rank `me`, as people call it, notes down of itself in `job`.
pub(super) fn record(job: &JobInfo, me: Rank, plan: &GuestPlan) -> Record {
    // Whether a source was to be removed only the keeper can tell: it may be another file by now.
    let images = plan.images.iter().flat_map(|image| {
        let source = image.source.clone().map(Leftover::File);
        image.leftovers().into_iter().filter(move |leftover| Some(leftover) != source.as_ref())
    });
    let run_dir = plan.images.iter().find_map(|image| image.copy.as_ref()?.to.parent().map(Path::to_owned));
    Record {
        id: job.id.clone(),
        name: job.name.clone(),
        ranks: job.ranks,
        chief: job.process,
        rank: me.index(),
        process: Process::this(),
        realm: Realm::here(),
        started: job.started,
        command: job.command.clone(),
        image: boots(plan).or_else(|| job.image.clone()),
        run_dir,
        leftovers: plan.leftovers.iter().cloned().chain(images).chain(sockets(plan)).collect(),
    }
}

/// The sockets with names that the guest's link will have.
fn sockets(plan: &GuestPlan) -> Vec<Leftover> {
    let Some(directory) = &plan.socket_dir else { return Vec::new() };
    let (job, rank) = (plan.machine.job.as_deref(), plan.machine.rank);
    let paths = ["stream", "switch", "guest"].map(|kind| names::socket_path(directory, kind, job, rank));
    paths.into_iter().flatten().map(Leftover::File).collect()
}
