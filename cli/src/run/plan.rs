//! From one rank's options to what its node is to do. Everything that can be found wrong before a guest is
//! started is found here.

use std::path::{Path, PathBuf};

use mvpnet_node::job::{ApplicationPlan, Children, GuestPlan, Numbers, Problem};
use mvpnet_qemu_driver::accel::{Accel, KvmProbe};
use mvpnet_qemu_driver::image::{self, ImageSpec, Overlays, PlanContext};
use mvpnet_qemu_driver::names::socket_path;
use mvpnet_qemu_driver::readiness::ReadyTimes;
use mvpnet_qemu_driver::spec::{DirectBoot, Machine, UserNet};
use mvpnet_qemu_driver::supervise::{KeeperSpec, Leftover, StopLadder};
use mvpnet_switch::{Config, Rank, Topology, World};

use super::keys::{Briefing, home};
use super::link;
use super::problem::{unable, usage, wrong};
use super::seed::Configuration;
use super::share::{SharePlan, shares};
use crate::args::{RankOptions, Shared, check};
use crate::logs::file_in;

/// A rank's parts, planned.
pub struct RankPlan {
    pub guest: GuestPlan,
    /// Rank 0's only.
    pub application: Option<ApplicationPlan>,
    /// Rank 0's only, if any guest is configured by it.
    pub briefing: Option<Briefing>,
    /// What the user should know, although nothing is wrong.
    pub notes: Vec<String>,
}

/// Where a rank is in its job and in the guests' network.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Its place in the job.
    pub me: Rank,
    /// The job.
    pub world: World,
    /// How the job's ranks are numbered in the network.
    pub numbers: Numbers,
    /// Where the switch sends frames.
    pub topology: Topology,
}

impl Seat {
    /// In a job that has its network for itself.
    pub fn alone(me: Rank, world: World) -> Self {
        Self { me, world, numbers: Numbers::whole(world), topology: Topology::Tree }
    }

    /// The rank's number in the network.
    pub fn number(&self) -> Rank {
        self.numbers.of(self.me)
    }
}

/// The switch that `options` ask for.
pub fn switch_config(options: &RankOptions, seat: Seat) -> Config {
    let mut config = Config::new(seat.number(), seat.numbers.network());
    config.topology = seat.topology;
    if let Topology::Tunnel(_) = seat.topology {
        // The path is full with an untagged packet.
        config.tag_room = 0;
    }
    config.mtu = options.shared.mtu();
    config.shutdown_by_arp = !options.shared.ignore_shutdown_address;
    config.mac_policy = options.shared.mac_policy;
    config
}

/// Plans a rank; `leftovers` are what else has to go with it.
pub fn plan(options: &RankOptions, seat: Seat, leftovers: Vec<Leftover>) -> Result<RankPlan, Problem> {
    let path = std::env::var_os("PATH");
    let path = path.as_deref();
    let shared = &options.shared;
    let (me, world) = (seat.number(), seat.numbers.network());
    options.make_directories().map_err(usage)?;
    let is_chief = seat.me.index() == 0;
    if is_chief {
        // Only this rank's host needs to have it.
        check::application(shared, path).map_err(|error| Problem { of_job: true, ..usage(error) })?;
    }
    let qemu = check::qemu(shared, path).map_err(usage)?;
    let accel =
        Accel::choose(shared.accel, &KvmProbe::of_this_host()).map_err(|error| unable(error.to_string()))?;
    let children = Children {
        me,
        world,
        job: shared.job.clone(),
        user: shared.user.clone(),
        log_dir: shared.log_dir.clone(),
        ssh_config: None,
    };
    let configuration = Configuration::of(options, me, world)?;
    let is_told = matches!(configuration, Configuration::Ours(_));
    let (image, seed) = match configuration {
        Configuration::None => (None, None),
        Configuration::Image(path) => (Some(path), None),
        Configuration::Ours(recipe) => (None, Some(recipe.host_seed())),
    };
    let machine = Machine {
        job: shared.job.clone(),
        qemu,
        wrapper: shared.wrapper.as_ref().and_then(|wrapper| check::find_program(wrapper, path).ok()),
        accel,
        cpu: options.cpu.clone(),
        smp: options.smp.clone(),
        memory_mib: options.memory_mib,
        seed: image,
        direct_boot: direct_boot(options)?,
        mtu: u16::try_from(shared.mtu())
            .map_err(|_| wrong(format!("--mtu {} is more than a NIC has", shared.mtu())))?,
        user_net: UserNet {
            ssh_port: None,
            dns_search: shared.domains.clone(),
            tftp: shared.tftp_dir.clone(),
        },
        shares: shares(options)?.into_iter().map(SharePlan::for_host).collect(),
        console_log: options.console_log.then(|| log_file(options, "con")),
        ..Machine::new(me, world)
    };
    let guest = GuestPlan {
        link: link::kind(shared, &machine.qemu, accel, machine.mtu),
        machine,
        seed,
        images: images(options, me)?,
        no_exec: !shared.guests.exec,
        tap: None,
        socket_dir: shared.socket_dir.clone(),
        ready_when: options.ready.clone(),
        ready_times: shared
            .ssh_timeout
            .map_or_else(|| ReadyTimes::default_for(accel), ReadyTimes::with_overall),
        ladder: StopLadder { powerdown_grace: shared.grace(accel), ..StopLadder::default_for(accel) },
        keeper: KeeperSpec {
            wrap_log: options.wrapper_log.then(|| log_file(options, "wrap")),
            ..KeeperSpec::default()
        },
        children: children.clone(),
        leftovers,
    };
    check_sockets(&guest)?;
    let (briefing, notes) = match is_chief && options.anybody_is_told {
        true => {
            let found = Briefing::find(shared.user.as_deref(), &shared.guests, home().as_deref());
            found.map(|(found, notes)| (Some(found), notes))?
        }
        false => (None, Vec::new()),
    };
    let notes = if is_told { notes } else { Vec::new() };
    let application = is_chief.then(|| application(options, children)).flatten();
    Ok(RankPlan { guest, application, briefing, notes })
}

fn application(options: &RankOptions, children: Children) -> Option<ApplicationPlan> {
    let shared = &options.shared;
    (!shared.application.is_empty()).then(|| ApplicationPlan {
        argv: shared.application.clone(),
        children,
        show_output: shared.app_output,
        keeper: KeeperSpec::default(),
    })
}

/// `KIND[.JOB].RANK.log` in the log directory.
fn log_file(options: &RankOptions, kind: &str) -> PathBuf {
    file_in(&options.shared.log_dir, kind, options.shared.job.as_deref(), options.rank, "log")
}

/// The plans of a rank's images, each checked by itself.
pub fn images(options: &RankOptions, me: Rank) -> Result<Vec<image::ImagePlan>, Problem> {
    let plans = unchecked_images(options, me)?;
    plans.iter().try_for_each(image::ImagePlan::check).map_err(|error| wrong(error.to_string()))?;
    Ok(plans)
}

/// The same, without a look at any file.
pub fn unchecked_images(options: &RankOptions, me: Rank) -> Result<Vec<image::ImagePlan>, Problem> {
    let shared = &options.shared;
    let overlay_dir = image::overlay_dir(shared.run_dir.as_deref());
    let qemu_img = qemu_img(shared);
    let plan = |(disk, spec): (usize, &ImageSpec)| {
        let overlays = Overlays {
            by_default: shared.overlay,
            dir: Some(&overlay_dir),
            keep_in: shared.persist.as_deref(),
            size: options.disk_size.filter(|_| disk == 0),
            qemu_img: qemu_img.as_deref(),
        };
        let run_dir = shared.run_dir.as_deref();
        let context = PlanContext { run_dir, job: shared.job.as_deref(), rank: me, disk, overlays };
        image::plan(spec, context).map_err(|error| wrong(error.to_string()))
    };
    options.images.iter().enumerate().map(plan).collect()
}

/// qemu-img: the one beside a qemu that was named by its path, else the one on PATH.
fn qemu_img(shared: &Shared) -> Option<PathBuf> {
    const NAME: &str = "qemu-img";
    let beside = Path::new(&shared.qemu).parent().filter(|dir| !dir.as_os_str().is_empty());
    let beside = beside.and_then(|dir| check::find_program(dir.join(NAME).as_os_str(), None).ok());
    beside.or_else(|| check::find_program(NAME.as_ref(), std::env::var_os("PATH").as_deref()).ok())
}

fn direct_boot(options: &RankOptions) -> Result<Option<DirectBoot>, Problem> {
    let Some(kernel) = &options.kernel else { return Ok(None) };
    readable("--kernel", kernel)?;
    if let Some(initrd) = &options.initrd {
        readable("--initrd", initrd)?;
    }
    let append = options.append.as_ref().map(Into::into);
    Ok(Some(DirectBoot { kernel: kernel.clone(), initrd: options.initrd.clone(), append }))
}

fn readable(flag: &str, path: &Path) -> Result<(), Problem> {
    std::fs::File::open(path).map(drop).map_err(|error| wrong(format!("{flag} {}: {error}", path.display())))
}

/// The longest socket name must fit before anything is started.
fn check_sockets(guest: &GuestPlan) -> Result<(), Problem> {
    let Some(dir) = &guest.socket_dir else { return Ok(()) };
    socket_path(dir, "switch", guest.machine.job.as_deref(), guest.machine.rank)
        .map(drop)
        .map_err(|error| wrong(error.to_string()))
}
