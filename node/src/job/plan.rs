//! What is known of a rank's guest before anything of it is started.

use std::path::PathBuf;

use mvpnet_qemu_driver::image::ImagePlan;
use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_qemu_driver::readiness::{ReadyTimes, ReadyWhen};
use mvpnet_qemu_driver::spec::Machine;
use mvpnet_qemu_driver::supervise::{KeeperSpec, Leftover, StopLadder};

use super::children::Children;

/// Everything that decides how a guest is run.
#[derive(Clone, Debug)]
pub struct GuestPlan {
    /// The machine, its disks and forwarded port left out: they follow from the plan when it is carried out.
    pub machine: Machine,
    /// The disks.
    pub images: Vec<ImagePlan>,
    /// How frames are framed on the guest's link.
    pub link: LinkKind,
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
