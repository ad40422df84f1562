//! What is known of a rank's guest before anything of it is started.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mvpnet_qemu_driver::image::ImagePlan;
use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_qemu_driver::links::vhost_user::Offers;
use mvpnet_qemu_driver::readiness::{ReadyTimes, ReadyWhen};
use mvpnet_qemu_driver::spec::Machine;
use mvpnet_qemu_driver::supervise::{KeeperSpec, Leftover, StopLadder};

use super::children::Children;
use super::messages::Offloads;

/// A tap interface for a guest.
#[derive(Clone)]
pub struct HostTap {
    /// Its name.
    pub interface: String,
    /// Makes it, with what belongs to it, before the guest's first boot; it blocks. What it makes is among
    /// [`GuestPlan::leftovers`], which are guarded by then.
    pub make: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for HostTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTap").field("interface", &self.interface).finish_non_exhaustive()
    }
}

/// Makes a guest's configuration from rank 0's briefing, in the directory of the process's part of the job: where it is then.
pub type MakeSeed = dyn Fn(&str, &Path) -> Result<PathBuf, String> + Send + Sync;

/// What a guest's configuration is made with: for an own disk, at the time at which rank 0 has said what all guests are
/// to know.
#[derive(Clone)]
pub struct HostSeed {
    /// Makes its image, in the directory of the process's part of the job, from rank 0's briefing; it blocks.
    pub make: Arc<MakeSeed>,
}

impl fmt::Debug for HostSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSeed").finish_non_exhaustive()
    }
}

/// What a guest's task is told when the guests are to be started.
#[derive(Clone, Debug)]
pub(super) struct Briefing {
    /// Ranks on the host that has most of them.
    pub(super) fullest_host_ranks: u32,
    /// What guests may leave to the receivers of their frames.
    pub(super) offloads: Offloads,
    /// From rank 0, for [`HostSeed`].
    pub(super) text: Option<String>,
    /// The directory of the process's part of the job.
    pub(super) directory: Option<PathBuf>,
}

impl Briefing {
    /// The guest's link, whose driver is offered what every rank takes.
    pub(super) fn agreed(&self, link: LinkKind) -> LinkKind {
        let Offloads { checksum, segmentation } = self.offloads;
        match link {
            LinkKind::VhostUser(offers) => LinkKind::VhostUser(Offers { checksum, segmentation, ..offers }),
            LinkKind::Stream | LinkKind::Dgram => link,
        }
    }
}

impl GuestPlan {
    /// What may be left to be done to frames that come to the guest. What its link does not take, the switch does.
    pub(super) fn takes(&self) -> Offloads {
        match self.link {
            LinkKind::VhostUser(Offers { checksum, segmentation, .. }) => Offloads { checksum, segmentation },
            LinkKind::Stream | LinkKind::Dgram => Offloads::ALL,
        }
    }
}

/// Everything that decides how a guest is run.
#[derive(Clone, Debug)]
pub struct GuestPlan {
    /// The machine, its disks and forwarded port left out: they follow from the plan when it is carried out.
    pub machine: Machine,
    /// What makes the machine's configuration, in place of the one that it has.
    pub seed: Option<HostSeed>,
    /// The disks.
    pub images: Vec<ImagePlan>,
    /// Whether commands from outside are kept out of the guest: it has no channel for them, and they are refused.
    pub no_exec: bool,
    /// How frames are framed on the guest's link.
    pub link: LinkKind,
    /// The host's interface that takes the place of the link, for a guest whose frames the kernel carries.
    pub tap: Option<HostTap>,
    /// Where the link's sockets go; without one the guest inherits its end.
    pub socket_dir: Option<PathBuf>,
    /// What makes the guest count as booted.
    pub ready_when: ReadyWhen,
    /// How long that may take.
    pub ready_times: ReadyTimes,
    /// How the guest is stopped.
    pub ladder: StopLadder,
    /// How the guest's keeper is started.
    pub keeper: KeeperSpec,
    /// What qemu is told in its environment.
    pub children: Children,
    /// What else has to go when the rank ends, such as the shared memory of the transport.
    pub leftovers: Vec<Leftover>,
}
